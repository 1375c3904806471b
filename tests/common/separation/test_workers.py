"""Batches in worker processes: several at once, killed ones, and a thousand files."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from common import audio
from common.separation import report

RATE = 8000
PROGRAM = Path(__file__).with_name("overnight.py")
REPOSITORY = PROGRAM.parents[3]
SCHEMA = json.loads(report.SCHEMA.read_text("utf-8"))


def start(*words, **options):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(PROGRAM), *map(str, words)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(*words):
    """Run to the end; returns the exit code, the reports and standard error."""
    process = start(*words, "--json")
    printed, errors = process.communicate()
    lines = [json.loads(line) for line in printed.splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    return process.returncode, lines, errors


def write(path, seed, samples=400):
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (1, samples))
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, wave.astype(np.float32), RATE, "wav16")


def content(folder):
    """Bytes of all stems, and all of the reports that does not depend on time."""
    actual = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            values = json.loads(path.read_text())
            keys = "stems", "options", "model", "samples", "residual_db"
            actual[name] = {key: values[key] for key in keys}
            actual[name]["sha256"] = values["input"]["sha256"]
        elif path.is_file():
            actual[name] = path.read_bytes()
    return actual


@pytest.mark.slow
def test_several_workers_write_the_files_of_one(tmp_path):
    for number in range(12):
        write(tmp_path / "in" / f"{number}.wav", number)
    (tmp_path / "in" / "bad.wav").write_bytes(b"no sound")
    deadly = np.full((1, 400), 0.75, np.float32)
    for number in range(3):
        audio.write(tmp_path / "in" / f"deadly{number}.wav", deadly, RATE)
    words = tmp_path / "in", "--output", tmp_path / "out", "--jobs", "3"
    code, lines, errors = run(*words)
    assert code == 1
    failed = {
        Path(line["input"]["path"]).name: line["error"]
        for line in lines
        if line["status"] == "failed"
    }
    assert set(failed) == {"bad.wav", *(f"deadly{number}.wav" for number in range(3))}
    assert "ended by signal 9, perhaps for want of memory" in failed["deadly1.wav"]
    assert errors.endswith("separate: 12 of 16 files are done, 4 failed\n")
    assert not list((tmp_path / "out").glob(".*"))
    for path in (tmp_path / "in").glob("deadly*"):
        path.unlink()
    assert run(tmp_path / "in", "--output", tmp_path / "alone")[0] == 1
    assert content(tmp_path / "out") == content(tmp_path / "alone")
    code, lines, _ = run(*words, "--skip-done")
    assert [line["status"] for line in lines].count("skipped") == 12


@pytest.mark.slow
def test_a_model_that_is_missing_is_reported_in_one_sentence_in_any_process(tmp_path):
    for number in range(2):
        write(tmp_path / f"{number}.wav", number)
    code, lines, errors = run(tmp_path, "--model", "missing", "--jobs", "2")
    assert (code, lines) == (1, [])
    assert errors == "separate: model 'missing' is not known; expected half\n"


@pytest.mark.slow
def test_interrupted_workers_leave_no_process_and_no_draft(tmp_path):
    for number in range(400):
        write(tmp_path / "in" / f"{number}.wav", number)
    out = tmp_path / "out"
    words = [tmp_path / "in", "--output", out, "--jobs", "2"]
    process = start(*words, start_new_session=True)
    assert process.stdout.readline().endswith("\n")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("separate: interrupted\n")
    assert not list(out.glob(".*"))
    assert has_ended(process.pid)


def has_ended(group, seconds=20):
    """Whether no process of a group is left after some time."""
    for _ in range(10 * seconds):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


FOLDERS, EACH = 50, 20


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one, as disks take long to write every file."""
    parent = Path("/dev/shm")
    if not os.access(parent, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def night(folder):
    """Write 1,000 short files in 50 folders, 7 of them bad, 3 of one name."""
    same = (21, 41, 61)
    others = [number for number in range(FOLDERS * EACH) if number not in same]
    bad = set(random.Random(0).sample(others, 7))
    for number in range(FOLDERS * EACH):
        name = "same" if number in same else f"take {number}"
        path = folder / f"disc {number // EACH}" / f"{name}.wav"
        write(path, number)
        if number in bad:
            path.write_bytes(path.read_bytes()[:100])
    return bad


@pytest.mark.slow
def test_a_thousand_files_overnight(memory):
    bad = night(memory / "in")
    words = [memory / "in", "--skip-done"]
    code, lines, errors = run(*words, "--output", memory / "whole")
    status = [line["status"] for line in lines]
    assert (code, status.count("done"), status.count("failed")) == (1, 993, 7)
    assert errors.endswith("separate: 993 of 1000 files are done, 7 failed\n")
    named = {line["input"]["path"] for line in lines if line["status"] == "failed"}
    expected = {
        str(memory / "in" / f"disc {number // EACH}" / f"take {number}.wav")
        for number in bad
    }
    assert named == expected
    assert len(list((memory / "whole").rglob("same/vocals.wav"))) == 3
    code, lines, errors = run(*words, "--output", memory / "whole")
    status = [line["status"] for line in lines]
    assert (code, status.count("skipped"), status.count("failed")) == (1, 993, 7)
    kill(words, memory / "killed", times=20)
    code, lines, _ = run(*words, "--output", memory / "killed")
    assert [line["status"] for line in lines].count("failed") == 7
    assert content(memory / "killed") == content(memory / "whole")
    assert not list((memory / "killed").glob(".*"))


def kill(words, out, times):
    """Start again and again, and kill each run some time after it has made a file."""
    for number in range(times):
        jobs = ["--jobs", "2"] * (number % 4 == 3)
        process = start(*words, "--output", out, "--json", *jobs)
        assert any('"status": "done"' in line for line in process.stdout)
        time.sleep(random.Random(number).uniform(0, 0.3))
        process.kill()
        process.communicate()
