"""The main job, whose trainings are recorded and not run."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mixit import job

SMALL = (
    "model.num_repeats=1",
    "model.num_dilations=2",
    "model.conv_channels=8",
    "model.bottleneck=8",
    "segment_seconds=0.5",
    "batch_size=2",
    "validation_examples=4",
)


def test_without_fuss_it_says_so_and_runs_everything(run_script, capsys):
    assert run_script(job, "epochs=2", "seed=3") == 0
    out = capsys.readouterr().out
    assert "FUSS_ROOT_DIR is not set: this trains on a miniature" in out
    training, evaluation = run_script.steps
    head, run = training.split(" output=")
    assert head == "mixit.train with tiny epochs=2 seed=3"
    assert run.startswith("/runs/mixit/fuss/20")
    options = f"--model {run} --split eval --output {run}/evaluation --draw 1"
    assert evaluation == f"mixit.evaluate {options}"
    assert f"Run folder: {run}\n" in out
    assert f"Scores                     {run}/evaluation/summary.md\n" in out


def test_fuss_trains_the_published_preset(run_script):
    run_script(job, FUSS_ROOT_DIR="/data/my fuss", ROOT_DIR="/r")
    training, _ = run_script.steps
    head = "mixit.train with fuss data_root=/data/my fuss output=/r/mixit/fuss/"
    assert training.startswith(head)


def test_a_published_preset_without_a_corpus_announces_no_miniature(run_script, capsys):
    run_script(job, "fuss", RUN_DIR="/r")
    assert "miniature" not in capsys.readouterr().out
    assert run_script.steps[0] == "mixit.train with fuss output=/r"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {"RUN_DIR": "/old run"}),
        (["output=/old run"], {}),
        (["--output", "/old run"], {}),
        (["--output=/old run"], {"RUN_DIR": "/other"}),
        (["--model_dir", "/old run"], {"RUN_DIR": "/other"}),
    ],
)
def test_it_continues_a_named_run(run_script, arguments, environment):
    run_script(job, *arguments, **environment)
    training, evaluation = run_script.steps
    assert training.endswith(" output=/old run")
    assert "--model /old run --" in evaluation


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["tiny"], ""),
        (["with", "tiny"], ""),
        (["tiny", "tiny"], ""),
        (["--preset", "tiny"], "--preset tiny "),
    ],
)
def test_a_word_names_the_preset(run_script, words, passed):
    run_script(job, *words, "epochs=1", FUSS_ROOT_DIR="/f", RUN_DIR="/r")
    expected = f"mixit.train with tiny data_root=/f {passed}epochs=1 output=/r"
    assert run_script.steps[0] == expected


@pytest.mark.parametrize(
    "words", [["data_root=/mine"], ["--data-root", "/mine"], ["-dd", "/mine"]]
)
def test_data_named_by_argument_are_as_good_as_the_variable(run_script, capsys, words):
    run_script(job, *words, FUSS_ROOT_DIR="/f")
    assert "Training on FUSS in /mine." in capsys.readouterr().out
    training = run_script.steps[0]
    assert training.startswith("mixit.train with fuss data_root=/mine ")


def test_examples_that_were_drawn_are_named(run_script, capsys, tmp_path):
    drawn = tmp_path / "evaluation" / "example1"
    drawn.mkdir(parents=True)
    (drawn / "picture.png").touch()
    run_script(job, RUN_DIR=str(tmp_path))
    out = capsys.readouterr().out
    assert f"One mixture, separated     {drawn}\n" in out
    assert f"The same, drawn            {drawn}/picture.png\n" in out


@pytest.mark.slow
def test_an_interrupt_reaches_the_training(tmp_path):
    words = [*SMALL, "train.epochs=1000", f"output={tmp_path}/run"]
    # A test run in the background ignores SIGINT, and so would the training.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "mixit.job"]
    process = subprocess.Popen(
        [*command, "tiny", *words],
        env={**os.environ, "SEPARATION_CACHE": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "run" / "scalars.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.endswith("mixit.train: interrupted\n")
