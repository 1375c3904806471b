"""Every call that changes a file fails once, and the same command goes on.

A library in front of libc fails call after call of an operation: by a kill before it,
by a kill when half of it is done, by a full disk from then on, and by an error of the
disk. What was there before stays or is replaced as a whole, an error is one sentence
with exit code 1, and the same command ends with the bytes of an undisturbed run.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = shutil.which("cc")
KILLS = 20
"""Kills of each training; ``kills.py`` takes any number."""

LEAST = 20
"""Faults that any operation meets, and kills and errors of disks among them."""

pytestmark = pytest.mark.skipif(
    not (COMPILER and sys.platform == "linux"),
    reason="the library that fails calls needs Linux and a C compiler",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Library that stands in front of libc."""
    path = tmp_path_factory.mktemp("faults") / "interposer.so"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(path)]
    subprocess.run([COMPILER, *options, HERE / "interposer.c", "-ldl"], check=True)
    return path


def trials(library, every, module, folder=HERE):
    """Fail calls of the operations of a module; returns what came of each."""
    results = library.with_suffix(".json")
    program = [sys.executable, str(HERE / "trials.py"), str(results), str(every)]
    path = os.pathsep.join([str(folder), str(HERE.parents[1])])
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": path}
    subprocess.run([*program, module], env=environment, check=True)
    return json.loads(results.read_text("utf-8"))


def expect_all_borne(found):
    for name, result in found.items():
        assert result["problems"] == [], name
        assert result["killed"] >= LEAST // 2, name
        assert result["refused"] >= LEAST // 4, name


def test_files_are_whole_or_absent_at_any_fault(library):
    expect_all_borne(trials(library, 3, "file_operations"))


@pytest.mark.slow
@pytest.mark.parametrize("module", ["file_operations", "network_operations"])
def test_each_call_of_each_operation_fails(library, module):
    expect_all_borne(trials(library, 1, module))


@pytest.mark.slow
@pytest.mark.parametrize("pillar", ["adversarial", "clustering", "mixit", "unmix"])
def test_random_kills_end_with_the_same_bits(tmp_path, pillar):
    results = tmp_path / "kills.json"
    program = [sys.executable, str(HERE / "kills.py"), str(results), str(KILLS), "1"]
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([*program, pillar], env=environment, check=True)
    found = json.loads(results.read_text("utf-8"))[pillar]
    assert found["problems"] == []
    # A run may end before its time to be killed has come.
    assert found["killed"] >= KILLS


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("out.write_text('half')", "is neither that of before nor the new one"),
        ("draft.write_text('x'); draft.replace(out)", "has its name before its bytes"),
        ("open(out, 'a').write('x')", "restart gave other results"),
        ("unkind(out)", "exit code 99"),
    ],
)
def test_careless_programs_are_noticed(library, tmp_path, program, sentence):
    (tmp_path / "careless.py").write_text(CARELESS.format(program=program), "utf-8")
    found = trials(library, 1, "careless", tmp_path)["careless"]
    assert any(sentence in problem for problem in found["problems"])


CARELESS = """
import sys
from operation import OUT, Operation

def unkind(path):
    try:
        path.write_text("x")
    except OSError as error:
        raise TypeError from error

def run(folder):
    draft, out = folder / OUT / ".draft", folder / OUT / "text"
    draft.parent.mkdir(exist_ok=True)
    try:
        {program}
    except OSError as error:
        sys.stderr.write(str(error) + chr(10))
        return 1
    return 0

OPERATIONS = {{"careless": Operation(lambda folder: None, run)}}
"""
