"""Records ahead of the training: the command, bad recordings, a killed pipeline."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from common import beam, records
from common.records import plan, writer
from common.synthetic import miniature
from mixit import data, write_records
from mixit.config import FUSS

RATE = 8000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A FUSS folder of 6 + 2 examples of half a second."""
    folder = tmp_path_factory.mktemp("corpus") / "fuss"
    return miniature.write_fuss(folder, seconds=0.5, train=6, validation=2, eval=2)


def words(corpus, output, *more):
    output = ["--output", str(output), "--sample-rate", str(RATE)]
    return ["--data", str(corpus), *output, *more]


def content(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def in_this_process(arguments):
    """Stand for a pipeline."""
    if arguments is None:
        return None
    return lambda work, jobs: [work(job) for job in reversed(jobs)]


def test_a_training_opens_what_the_command_wrote(corpus, tmp_path, capsys, monkeypatch):
    assert write_records.main(words(corpus, tmp_path)) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"train: 6 recordings, 0.00 hours, 1 shards: {tmp_path / 'train'}"
    assert second.startswith("validation: 2 recordings")
    monkeypatch.setattr(writer, "_write_locked", None)  # nothing is written again
    model = replace(FUSS.model, sample_rate=RATE)
    config = replace(FUSS, data_root=str(corpus), records=str(tmp_path), model=model)
    assert len(data.load_records(config, data.root(config), "train")) == 6


def test_a_pipeline_writes_the_same_bytes(corpus, tmp_path, monkeypatch):
    assert write_records.main(words(corpus, tmp_path / "threads")) == 0
    monkeypatch.setattr(beam, "spread", in_this_process)
    assert write_records.main(words(corpus, tmp_path / "beam", "--beam")) == 0
    assert content(tmp_path / "beam") == content(tmp_path / "threads")


@pytest.mark.parametrize("pipeline", [[], ["--beam"]])
def test_bad_recordings_give_code_1_or_are_listed(
    corpus, tmp_path, monkeypatch, capsys, pipeline
):
    monkeypatch.setattr(beam, "spread", in_this_process)
    copy = shutil.copytree(corpus, tmp_path / "corpus")
    names = ["example00001", "example00003", "example00004"]
    missing, broken, cut = [
        next((copy / "train").glob(f"{name}_sources/background*")) for name in names
    ]
    missing.unlink()
    broken.write_bytes(b"no sound")
    cut.write_bytes(cut.read_bytes()[:-100])
    arguments = words(copy, tmp_path / "out", "--splits", "train")
    assert write_records.main([*arguments, *pipeline]) == 1
    assert "source files are missing" in capsys.readouterr().err
    assert write_records.main([*arguments, "--skip", *pipeline]) == 0
    assert "train: 3 recordings, 0.00 hours, 1 shards, 3 left out" in (
        capsys.readouterr().out
    )
    index = records.load_index(tmp_path / "out" / "train")
    assert [bad.name for bad in index.skipped] == names
    assert missing.name in index.skipped[0].reason


def test_records_of_roomsim_are_no_work_for_a_pipeline(tmp_path, capsys):
    (tmp_path / "train.tfrecord").touch()
    assert write_records.main(words(tmp_path, tmp_path / "out", "--beam")) == 1
    assert "which one machine converts; leave out --beam" in capsys.readouterr().err


KILLED = """
import sys
from common.records import plan
from mixit.write_records import main

plan.SHARD_BYTES = 2**20
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def start(arguments, folder):
    """Start the command in a session of its own, to be killed with all its workers."""
    script = folder / "command.py"
    script.write_text(KILLED)
    root = str(Path(write_records.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env=environment,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Beam is not installed"
)
@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_a_killed_pipeline_resumes_to_the_same_bytes(tmp_path, monkeypatch, mode):
    corpus = miniature.write_fuss(
        tmp_path / "fuss", seconds=10.0, train=30, validation=1, eval=1
    )
    monkeypatch.setattr(plan, "SHARD_BYTES", 2**20)  # as in the script
    arguments = words(corpus, tmp_path / "beam", "--splits", "train")
    options = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    arguments += ["--beam", "--runner=DirectRunner", *options]
    process = start(arguments, tmp_path)
    folder = tmp_path / "beam" / "train"
    while process.poll() is None:
        finished = [p for p in folder.glob("*.json") if ".job" not in p.name]
        if finished:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "index.json").exists()
    assert start(arguments, tmp_path).wait() == 0
    local = words(corpus, tmp_path / "threads", "--splits", "train")
    assert write_records.main(local) == 0
    assert content(tmp_path / "beam") == content(tmp_path / "threads")
