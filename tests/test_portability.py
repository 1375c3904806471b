"""Import and separation on systems without Linux's modules, and without heavy ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]
PILLARS = ("mixit", "unmix", "adversarial", "clustering")

FOREIGN = """
import os, sys, signal, time, types

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for name in LACKING:
    for module in (os, signal):
        if hasattr(module, name):
            delattr(module, name)
"""
UNIX = ("fcntl", "resource", "pwd", "grp", "termios")
"""Modules that Windows lacks."""
FUNCTIONS = (
    "sched_getaffinity",
    "sysconf",
    "register_at_fork",
    "preadv",
    "pread",
    "fork",
    "getuid",
    "geteuid",
    "getloadavg",
    "O_DIRECTORY",
    "SIGHUP",
    "SIGKILL",
)
"""What the modules os and signal of Windows or macOS lack."""
HEAVY = (
    "librosa",
    "numba",
    "sklearn",
    "museval",
    "musdb",
    "sacred",
    "pandas",
    "matplotlib",
    "tensorboard",
)
"""Packages for training, evaluation and pictures."""


def run(code, absent=(), lacking=(), **options):
    """Run code in a process without these modules and functions of os."""
    head = FOREIGN.replace("ABSENT", repr(absent)).replace("LACKING", repr(lacking))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), **options.pop("env", {})}
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        environment["PYTHONPATH"] += os.pathsep + inherited
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FILES = """
from pathlib import Path
from common import files, child_processes, cpus

folder = Path.cwd()
assert len(child_processes.FORWARDED) == 2
for text in ("one", "two"):
    files.write_text(folder / "a.txt", text)
    with files.replacing_folder(folder / "b", overwrite=True) as work:
        (work / "c.txt").write_text(text)
with files.locked(folder / "d"):
    pass
assert (folder / "a.txt").read_text() == (folder / "b" / "c.txt").read_text() == "two"
assert cpus.count() >= 1
print(sorted(path.name for path in folder.iterdir()))
"""


def test_files_are_written_without_fcntl(tmp_path):
    actual = run(FILES, UNIX, FUNCTIONS, cwd=tmp_path)
    assert actual == "['a.txt', 'b']\n"


LOCKS = """
calls = []

class Locking:
    LK_NBLCK = 2

    @staticmethod
    def locking(handle, mode, size):
        calls.append((mode, size))
        if len(calls) in (2, 3):
            raise OSError(13, "held")

sys.modules["msvcrt"] = Locking
time.sleep = lambda seconds: calls.append("sleep")
from common import files
files.lock(5)
try:
    files.lock(5, wait=False)
except BlockingIOError as error:
    print(error)
files.lock(5)
print(calls)
"""


def test_windows_locks_by_its_own_module():
    error, calls = run(LOCKS, UNIX, FUNCTIONS).splitlines()
    assert error == "[Errno 13] another process holds the lock"
    assert calls == str([(2, 1), (2, 1), (2, 1), "sleep", (2, 1)])


SEPARATION = """
import importlib
for pillar in PILLARS:
    separate = importlib.import_module(f"{pillar}.separate")
    words = ["noise.wav", "--model", "mini", "--output", f"stems/{pillar}"]
    assert separate.main(words) == 0
"""
TRAINING = """
for pillar in PILLARS:
    importlib.import_module(f"{pillar}.train")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("absent", "lacking", "more"),
    [(UNIX, FUNCTIONS, TRAINING), (HEAVY, (), "")],
    ids=["foreign", "light"],
)
def test_all_pillars_separate(tmp_path, absent, lacking, more):
    noise = 0.1 * np.random.default_rng(0).standard_normal((8000, 1))
    soundfile.write(tmp_path / "noise.wav", noise, 8000)
    code = (SEPARATION + more).replace("PILLARS", repr(PILLARS))
    run(code, absent, lacking, cwd=tmp_path)
    for pillar in PILLARS:
        stems = list((tmp_path / "stems" / pillar).rglob("*.wav"))
        assert len(stems) > 1
        assert {soundfile.info(stem).frames for stem in stems} == {8000}
