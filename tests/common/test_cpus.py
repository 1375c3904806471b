"""Numbers of threads that commands are given."""

import pytest

from clustering import mix
from common.corpora import mixing
from mixit.augment import __main__ as augment
from mixit.yfcc import __main__ as yfcc

COMMANDS = {
    "mixing": (mixing.main, ["."]),
    "mix": (mix.main, ["."]),
    "augment": (augment.main, ["--sources", "."]),
    "yfcc": (yfcc.main, ["--videos", "."]),
}


@pytest.mark.parametrize("jobs", ["0", "-1"])
@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_below_one_are_refused_in_one_sentence(
    name, jobs, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    command, words = COMMANDS[name]
    assert command([*words, "--output", "out", "--jobs", jobs]) == 1
    said = capsys.readouterr().err
    assert said.endswith(f"--jobs is {jobs}; expected at least 1\n")
    assert not (tmp_path / "out").exists()
