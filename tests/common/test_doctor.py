"""The doctor recognises the lanes and reports what is missing or does not work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import common
from common import audio, doctor

ROOT = Path(common.__file__).parents[1]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("tensorflow", "tf_keras", "tensorflow_io", "lane", "faults"),
    [
        ("2.21.0", "2.21.0", None, "current: ", []),
        ("2.16.2", "2.16.0", "0.37.1", "tfio: ", []),
        ("2.16.2", "2.16.0", None, "neither .* no tensorflow-io", []),
        ("2.18.1", "2.18.0", None, "neither .* 2.18.1", []),
        ("2.21.0", "2.21.0", "0.37.1", "current: ", ["tensorflow-io .* cannot load"]),
        ("2.21.0", "2.16.0", None, "current: ", ["tf-keras 2.16.0 does not fit"]),
        ("2.21.0", None, None, "current: ", []),
        ("2.15.0", "2.15.0", None, "neither", ["2.15.0 is outside the range"]),
        ("2.22.0rc1", "2.22.0", None, "neither", ["2.22.0rc1 is outside"]),
        (None, None, None, "none: TensorFlow is not installed", []),
    ],
)
def test_lanes(tensorflow, tf_keras, tensorflow_io, lane, faults):
    problems = []
    actual = doctor.check_lane(tensorflow, tf_keras, tensorflow_io, problems)
    assert len(problems) == len(faults)
    assert re.match(lane, actual)
    for what, problem in zip(faults, problems, strict=True):
        assert re.search(what, problem.what)
        assert problem.cure.startswith("pip ")
        assert problem.needed == ("tensorflow-io" not in what)


def test_a_missing_package_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    problems = []
    assert doctor._load("soxr", None, problems) is None
    (problem,) = problems
    assert problem.what == "soxr is not installed"
    assert problem.cure.startswith("pip install soxr")
    assert problem.needed


def test_a_package_that_does_not_load_is_no_crash(monkeypatch):
    def broken(module):
        raise RuntimeError("no ffmpeg\nand more")

    monkeypatch.setattr(doctor, "_import", broken)
    monkeypatch.setenv("PATH", "")
    problems = []
    assert doctor._load("museval", "0.4.1", problems) is None
    (problem,) = problems
    assert problem.what == "museval 0.4.1 does not load (RuntimeError: no ffmpeg)"
    assert "install ffmpeg" in problem.cure
    assert not problem.needed


def test_formats_are_tried(monkeypatch):
    problems = []
    assert set(doctor.formats(True, problems)) >= set(audio.FORMATS)
    assert not problems
    real = audio.write

    def silent(path, waveform, rate, name):
        real(path, waveform * (name != "mp3"), rate, name)

    monkeypatch.setattr(audio, "write", silent)
    results = doctor.formats(True, problems)
    assert (results["mp3"], results["ogg"]) == ("fails", "reads and writes")
    assert [p.what for p in problems] == [
        "mp3 files do not work (came back as [1, 8000] at 16000 Hz)"
    ]


def test_no_ffmpeg(monkeypatch):
    monkeypatch.setenv("PATH", "")
    problems = []
    assert doctor.ffmpeg(problems) is None
    assert "apt install ffmpeg" in problems[0].cure
    assert "m4a" not in doctor.formats(True, problems)


def test_a_gpu_has_to_compute():
    import tensorflow as tf

    problems = []
    assert doctor.multiply(tf, "/device:CPU:0", problems) == "/device:CPU:0: computes"
    assert doctor.multiply(tf, "/device:GPU:7", problems) == "/device:GPU:7: fails"
    assert "CUDA_VISIBLE_DEVICES" in problems[0].cure
    assert "the product came from" in problems[0].what
    wrong = SimpleNamespace(
        device=tf.device, ones=tf.ones, reduce_sum=lambda x: 2 * np.sum(x)
    )
    assert doctor.multiply(wrong, "/device:CPU:0", problems) == "/device:CPU:0: fails"
    assert "a wrong product" in problems[1].what


def test_a_foreign_common(monkeypatch):
    problems = []
    assert doctor._suite(problems).startswith("tf-separation-suite 0.")
    monkeypatch.setattr(common, "__suite__", "another")
    assert doctor._suite(problems).startswith("not tf-separation-suite")
    assert problems[-1].needed


def test_a_disk_that_is_nearly_full(monkeypatch):
    problems = []
    usage = SimpleNamespace(free=1_200_000_000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    assert doctor._free(".", problems) == "1.2 GB free"
    assert problems[0].what.startswith("only 1.2 GB are free in /")


def test_the_cache_is_found_and_may_be_written(tmp_path, monkeypatch):
    problems = []
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "new" / "cache"))
    assert doctor.cache(problems) == str(tmp_path / "new" / "cache")
    assert not problems
    (tmp_path / "new").write_text("")  # a file is no folder
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path == tmp_path)
    doctor.cache(problems)
    monkeypatch.delenv("SEPARATION_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(doctor.Path, "home", fail)
    assert doctor.cache(problems) is None
    assert [problem.what.split(",")[0] for problem in problems] == [
        f"the cache {tmp_path / 'new' / 'cache'}",
        "there is no home folder to keep records and downloads in",
    ]
    assert all("SEPARATION_CACHE" in problem.cure for problem in problems)


def fail():
    raise RuntimeError("no home")


@pytest.mark.parametrize("needed", [True, False])
def test_the_exit_code_and_the_last_lines(monkeypatch, capsys, needed):
    facts = {
        "packages": {"tensorflow": None},
        "gpus": ["/GPU:0: computes"],
        "problems": [doctor.Problem("tensorflow is not installed", "install", needed)],
    }
    monkeypatch.setattr(doctor, "examine", lambda: dict(facts))
    assert doctor.main([]) == int(needed)
    kind = "needed" if needed else "optional"
    assert capsys.readouterr().out.splitlines() == [
        "packages  tensorflow       not installed",
        "gpus      /GPU:0: computes",
        "",
        "problems",
        f"- tensorflow is not installed [{kind}]: install",
    ]
    assert doctor.main(["--json"]) == int(needed)
    out = json.loads(capsys.readouterr().out)
    assert out["problems"][0] == {
        "what": "tensorflow is not installed",
        "cure": "install",
        "needed": needed,
    }


def test_only_tensorflow_is_checked(monkeypatch, capsys):
    assert doctor.compute() == 0
    assert re.match(r"TensorFlow 2\.\d+\.\d+ on CPU\n", capsys.readouterr().out)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert doctor.compute() == 1
    assert re.match(r"tensorflow .* does not load", capsys.readouterr().err)


def test_a_crash_of_tensorflow_is_a_sentence(monkeypatch, capfd):
    monkeypatch.setattr(doctor.sys, "executable", "/bin/false")
    assert doctor.main(["--tensorflow"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"TensorFlow cannot run an operation in {sys.prefix}: ")


@pytest.mark.slow
def test_this_environment_is_healthy(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "common.doctor", "--json"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    facts = json.loads(result.stdout)
    assert not [p for p in facts["problems"] if p["needed"]]
    assert result.returncode == 0
    assert facts["lane"].startswith(("current: ", "tfio: "))
    assert facts["formats"]["flac"] == "reads and writes"
    assert all(facts["packages"][name] for name in ("tensorflow", "soxr", "sacred"))


@pytest.mark.slow
def test_without_tensorflow_and_ffmpeg(tmp_path):
    """Neither keeps the rest from being examined."""
    program = """
import sys
for name in ("tensorflow", "tf_keras", "soundfile"):
    sys.modules[name] = None
from common import doctor
version = doctor._version
doctor._version = lambda name: None if "tensorflow" in name else version(name)
sys.exit(doctor.main([]))
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "PATH": str(tmp_path)},
    )
    assert result.returncode == 1
    assert result.stderr == ""
    out = result.stdout
    assert "lane      none: TensorFlow is not installed" in out
    assert "- tensorflow is not installed [needed]: pip install tensorflow" in out
    assert "does not load (ModuleNotFoundError" in out  # soundfile, tf-keras
    assert "museval 0.4" in out
    assert "[optional]: install ffmpeg, which museval asks for" in out
    assert "apt install ffmpeg" in out
