"""The script for mixtures of speakers, whose trainings are recorded and not run."""

import pytest

from clustering import job


def test_without_a_corpus_it_says_so_and_runs_everything(run_script, capsys):
    assert run_script(job, "epochs=2", "--lr", "1") == 0
    out = capsys.readouterr().out
    assert "No corpus is named" in out
    training, evaluation = run_script.steps
    head, run = training.split(" output=")
    assert head == "clustering.train with tiny dataset=wsj0_2mix epochs=2 --lr 1"
    assert run.startswith("/runs/clustering/wsj0_2mix/20")
    assert evaluation == f"clustering.evaluate {run}"
    assert f"{run}/evaluation/summary.md\n" in out
    assert "python -m clustering.analyze /runs/clustering/wsj0_2mix\n" in out
    assert "(the last three in a shell" in out


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (
            ["/my talk"],
            {"WSJ0_2MIX_ROOT_DIR": "/w"},
            "dpcl dataset=wsj0_2mix data_root=/my talk",
        ),
        ([], {"WSJ0_2MIX_ROOT_DIR": "/w"}, "dpcl dataset=wsj0_2mix data_root=/w"),
        ([], {"WHAM_ROOT_DIR": "/h"}, "dpcl dataset=wham data_root=/h"),
        (["/w", "--dataset", "wham"], {}, "dpcl dataset=wham data_root=/w"),
        (["chimera", "/w"], {}, "chimera dataset=wsj0_2mix data_root=/w"),
        (
            ["with", "chimera", "--root", "/w"],
            {},
            "chimera dataset=wsj0_2mix data_root=/w",
        ),
    ],
)
def test_the_corpus_is_named_in_several_ways(run_script, arguments, environment, words):
    assert run_script(job, *arguments, RUN_DIR="/r", **environment) == 0
    training, evaluation = run_script.steps
    assert training.startswith(f"clustering.train with {words} sample_rate=8000 ")
    assert training.endswith(" output=/r")
    assert evaluation == "clustering.evaluate /r"


def test_a_folder_after_the_first_flag_is_refused(run_script, capsys):
    assert run_script(job, "--dataset", "wham", "/w") == 1
    assert "'/w' is neither a preset" in capsys.readouterr().err


def test_a_folder_without_a_slash_is_a_corpus(run_script, tmp_path, monkeypatch):
    (tmp_path / "talk").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_script(job, "talk") == 0
    assert " data_root=talk " in run_script.steps[0]
    assert run_script(job, "tolk") == 1
    assert not run_script.steps


def test_two_corpora_are_an_error(run_script, capsys):
    assert run_script(job, WHAM_ROOT_DIR="/h", WSJ0_2MIX_ROOT_DIR="/w") == 1
    assert "unset one of them" in capsys.readouterr().err
    assert not run_script.steps


def test_it_continues_a_named_run_and_prints_how(run_script, capsys):
    run_script(job, "tiny", RUN_DIR="/old run", WHAM_ROOT_DIR="/my wham")
    settings = "RUN_DIR='/old run' WHAM_ROOT_DIR='/my wham'"
    assert f"  {settings} {job.SCRIPT.path} tiny\n" in capsys.readouterr().out
    run_script(job, "--output", "/mine", RUN_DIR="/old run")
    assert run_script.steps[1] == "clustering.evaluate /mine"


def test_failing_or_checking_training_is_not_scored(run_script):
    assert run_script(job, "--check") == 0
    assert len(run_script.steps) == 1
    run_script.codes["clustering.train"] = 7
    assert run_script(job) == 7
    assert len(run_script.steps) == 1


def test_an_experiment_file_gives_the_configuration(run_script, capsys, tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text("preset: tiny_chimera\ndataset: wham\nroot: /h\n")
    options = ["-p", str(file), "lr=1"]
    assert run_script(job, *options, RUN_DIR="/r", WSJ0_2MIX_ROOT_DIR="/w") == 0
    assert f"Training on wham by {file}." in capsys.readouterr().out
    expected = f"clustering.train with mine -p {file} lr=1 output=/r"
    assert run_script.steps == [expected, "clustering.evaluate /r"]
    assert run_script(job, *options, "root=/mine", RUN_DIR="/r") == 0
    assert f" -p {file} data_root=/mine lr=1 " in run_script.steps[0]
