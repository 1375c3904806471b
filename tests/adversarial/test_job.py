"""The script for MUSDB18 and MoisesDB, whose trainings are recorded and not run."""

import pytest

from adversarial import job, phases
from common.config import save


def test_without_a_corpus_it_says_so_and_runs_everything(run_script, capsys):
    arguments = ["train.epochs=2", "--alpha", "1"]
    assert run_script(job, *arguments, SONG="/a song.mp3") == 0
    out = capsys.readouterr().out
    assert "MUSDB18_ROOT_DIR is not set" in out
    training, evaluation, separation = run_script.steps
    head, run = training.split(" output=")
    assert head == "adversarial.train with tiny train.epochs=2 --alpha 1"
    assert run.startswith("/runs/adversarial/musdb18_and_moisesdb/20")
    assert evaluation == f"adversarial.evaluate {run}"
    options = f"--model {run} --output {run}/separated --overwrite"
    assert separation == f"adversarial.separate /a song.mp3 {options}"
    assert f"{run}/sup/evaluation/summary.md\n" in out


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (
            [],
            {"MOISESDB_ROOT_DIR": "/my moises"},
            "musdb_moisesdb corpora.data_root=/m corpora.unpaired_root=/my moises",
        ),
        ([], {}, "musdb_moisesdb corpora.data_root=/m corpora.unpaired=none"),
        (
            ["alpha=1"],
            {},
            "musdb_moisesdb corpora.data_root=/m corpora.unpaired=none alpha=1",
        ),
        (
            ["corpora.unpaired=ccmixter"],
            {},
            "musdb_moisesdb corpora.data_root=/m corpora.unpaired=ccmixter",
        ),
    ],
)
def test_corpora_are_named_by_the_environment(
    run_script, capsys, arguments, environment, words
):
    given = {"MUSDB18_ROOT_DIR": "/m", "RUN_DIR": "/r", "SONG": "s.wav", **environment}
    assert run_script(job, *arguments, **given) == 0
    assert run_script.steps[0] == f"adversarial.train with {words} output=/r"
    out = capsys.readouterr().out
    assert ("supervised only" in out) == ("unpaired=none" in words)


def test_a_word_names_the_preset(run_script):
    run_script(job, "with", "museval", MUSDB18_ROOT_DIR="/m", SONG="s.wav")
    assert run_script.steps[0].startswith("adversarial.train with museval corpora.")


def test_corpora_may_be_named_by_arguments(run_script):
    keys = ["corpora.root=/m", "corpora.unpaired_root=/u"]
    run_script(job, *keys, MUSDB18_ROOT_DIR="/other", SONG="s.wav")
    given = "corpora.data_root=/m corpora.unpaired_root=/u"
    head = f"adversarial.train with musdb_moisesdb {given} {' '.join(keys)} "
    assert run_script.steps[0].startswith(head)


def test_unpaired_songs_alone_are_an_error(run_script, capsys):
    assert run_script(job, MOISESDB_ROOT_DIR="/m") == 1
    assert "MUSDB18_ROOT_DIR is not; set it" in capsys.readouterr().err
    assert not run_script.steps


def test_it_continues_a_named_run_and_prints_how(run_script, capsys, tmp_path):
    run = tmp_path / "old run"
    (run / "semisup").mkdir(parents=True)
    given = {"RUN_DIR": str(run), "SONG": "s.wav", "LANE": "tfio"}
    run_script(job, "tiny", MUSDB18_ROOT_DIR="/my m", **given)
    settings = f"RUN_DIR='{run}' LANE=tfio MUSDB18_ROOT_DIR='/my m' SONG=s.wav"
    out = capsys.readouterr().out
    assert f"  {settings} {job.SCRIPT.path} tiny\n" in out
    assert f"{run}/semisup/evaluation/summary.md\n" in out
    run_script(job, "--output", "/mine", RUN_DIR="/old run", SONG="s.wav")
    assert run_script.steps[1] == "adversarial.evaluate /mine"


def test_failing_or_checking_training_is_not_scored(run_script):
    assert run_script(job, "--check") == 0
    assert len(run_script.steps) == 1
    run_script.codes["adversarial.train"] = 7
    assert run_script(job) == 7
    assert len(run_script.steps) == 1


def test_the_first_song_of_the_test_is_separated(run_script, config, songs, tmp_path):
    run = tmp_path / "run"
    (run / "sup" / "best").mkdir(parents=True)
    (run / "sup" / "best" / "checkpoint").touch()
    save(config, run / "config.json")
    save(phases.part(config, "sup"), run / "sup" / "config.json")
    assert run_script(job, RUN_DIR=str(run)) == 0
    song = songs / "paired" / "test" / "e" / "mixture.wav"
    assert run_script.steps[2].startswith(f"adversarial.separate {song} --model {run} ")
