"""The script for MUSDB18, whose trainings are recorded and not run."""

import pytest

from unmix import job

FOUR = "target=vocals,drums,bass,other"


def test_without_a_corpus_it_says_so_and_runs_everything(run_script, capsys):
    assert run_script(job, "epochs=2", "--target", "bass") == 0
    out = capsys.readouterr().out
    assert "No corpus is named" in out
    assert "miniature of synthetic music, made here" in out
    training, evaluation = run_script.steps
    head, run = training.split(" output=")
    assert head == f"unmix.train with tiny {FOUR} epochs=2 --target bass"
    assert run.startswith("/runs/unmix/musdb18/20")
    assert evaluation == f"unmix.evaluate --model {run} --evaldir {run}/evaluation"
    assert f"{run}/evaluation/summary.md\n" in out


def test_a_published_preset_without_a_corpus_announces_no_miniature(run_script, capsys):
    run_script(job, "umx")
    assert "miniature" not in capsys.readouterr().out
    assert run_script.steps[0].startswith("unmix.train with umx target")


def test_previews_train_and_evaluate_on_the_previews(run_script):
    run_script(job, "previews")
    training, evaluation = run_script.steps
    assert training.startswith("unmix.train with umx ")
    assert " data_root=previews " in training
    assert " --root=previews " in evaluation


@pytest.mark.parametrize(
    ("arguments", "environment", "root"),
    [
        (["/data/my music"], {"MUSDB18_ROOT_DIR": "/other"}, "/data/my music"),
        (["some-music"], {}, "some-music"),
        ([], {"MUSDB18_ROOT_DIR": "/my music", "MUSDB_PATH": "/other"}, "/my music"),
        ([], {"MUSDB_PATH": "/music"}, "/music"),
        (["--root", "/music"], {"MUSDB18_ROOT_DIR": "/other"}, "/music"),
        (["--data_dir", "/music"], {"MUSDB18_ROOT_DIR": "/other"}, "/music"),
        (["root=/a=b"], {}, "/a=b"),
        (["umx", "/music"], {}, "/music"),
        (["with", "/music", "umx"], {}, "/music"),
    ],
)
def test_the_corpus_is_named_in_several_ways(
    run_script, capsys, arguments, environment, root
):
    run_script(job, *arguments, **environment)
    assert f"Training on MUSDB18 in {root}." in capsys.readouterr().out
    training, evaluation = run_script.steps
    assert training.startswith(f"unmix.train with umx {FOUR} data_root={root} ")
    assert f" --root={root} --evaldir " in evaluation


def test_a_configuration_file_may_name_corpus_and_run(run_script, tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text("root: /music\noutput: /old run\nlr: 0.5\n")
    run_script(job, str(file), MUSDB18_ROOT_DIR="/other")
    training, evaluation = run_script.steps
    expected = f"unmix.train with umx {FOUR} data_root=/music {file} output=/old run"
    assert training == expected
    assert evaluation.startswith("unmix.evaluate --model /old run --root=/music ")


def test_wav_files_are_named_as_the_published_row(run_script, tmp_path):
    stem = tmp_path / "hq" / "train" / "a - b" / "vocals.wav"
    stem.parent.mkdir(parents=True)
    stem.touch()
    run_script(job, str(tmp_path / "hq"))
    assert " with umxhq " in run_script.steps[0]
    run_script(job, str(tmp_path / "hq"), "umx_2019")
    assert " with umx_2019 " in run_script.steps[0]


def test_speech_enhancement_reads_musdb18_only_in_training(run_script):
    run_script(job, "umxse", "/music", RUN_DIR="/r")
    training, evaluation = run_script.steps
    assert f"with umxse {FOUR} data_root=/music dataset=musdb " in training
    expected = "unmix.evaluate --model /r --root=/music --evaldir /r/evaluation"
    assert evaluation == expected


@pytest.mark.parametrize("words", [["--seeds", "4"], ["--seeds=4"]])
def test_several_seeds_keep_the_best_of_each_target(run_script, words):
    arguments = ["/m", "epochs=3", *words, "--lr", "1"]
    assert run_script(job, *arguments, RUN_DIR="/old run") == 0
    *trainings, best, evaluation = run_script.steps
    head = f"unmix.train with umx {FOUR} data_root=/m epochs=3 --lr 1 output=/old run/"
    assert trainings == [f"{head}seed{n} train.seed={n}" for n in (42, 43, 44, 45)]
    assert best == "unmix.seeds /old run"
    assert "--model /old run/best --root=/m --evaldir /old run/eval" in evaluation


@pytest.mark.parametrize(
    "words", [["--seeds", "x"], ["--seeds=0"], ["--seeds=10"], ["--seeds"]]
)
def test_seeds_without_a_number_are_an_error(run_script, capsys, words):
    assert run_script(job, *words) == 1
    printed = capsys.readouterr()
    assert "expected how many seeds to train, 1 to 9" in printed.err
    assert "Run folder" not in printed.out
    assert not run_script.steps


def test_it_continues_a_named_run_and_prints_how(run_script, capsys):
    run_script(job, "tiny", "--seeds", "2", RUN_DIR="/old run", LANE="tfio")
    script = job.SCRIPT.path
    expected = f"  RUN_DIR='/old run' LANE=tfio {script} tiny --seeds 2\n"
    assert expected in capsys.readouterr().out
    run_script(job, "--output", "/mine", RUN_DIR="/old run")
    training, evaluation = run_script.steps
    assert training.endswith(" --output /mine output=/mine")
    assert evaluation.startswith("unmix.evaluate --model /mine ")


def test_failing_training_ends_the_seeds(run_script):
    run_script.codes["unmix.train"] = 7
    assert run_script(job, "--seeds", "3") == 7
    assert len(run_script.steps) == 1


def test_check_stops_after_the_check(run_script):
    assert run_script(job, "--check", "--seeds", "4") == 0
    (training,) = run_script.steps
    assert "--check" in training
    assert "--seeds" not in training


def test_flags_of_the_original_reach_the_training(run_script, capsys):
    flags = ["--quiet", "--no-cuda", "--unidirectional", "--nb-workers", "4"]
    assert run_script(job, "/m", *flags, RUN_DIR="/r") == 0
    assert capsys.readouterr().out.count("--nb-workers has no effect") == 1
    words = "--quiet --no-cuda model.bidirectional=false output=/r"
    assert run_script.steps[0] == f"unmix.train with umx {FOUR} data_root=/m {words}"
