"""Numbers of threads that commands are given."""

import pytest

from clustering import mix
from common.corpora import mixing


@pytest.mark.parametrize(
    ("command", "words"), [(mixing.main, ["."]), (mix.main, ["."])]
)
def test_numbers_below_one_are_refused_in_one_sentence(
    command, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert command([*words, "--output", "out", "--jobs", "0"]) == 1
    assert capsys.readouterr().err.endswith("--jobs is 0; expected at least 1\n")
    assert not (tmp_path / "out").exists()
