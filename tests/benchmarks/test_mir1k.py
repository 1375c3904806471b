"""The table of MIR-1K as ``run_table.sh mir1k`` starts it."""

import argparse
import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def mir1k(monkeypatch):
    """The program, which imports its neighbours."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("mir1k")


def test_a_folder_without_the_corpus_is_one_sentence(mir1k, tmp_path, capsys):
    words = ["--root", str(tmp_path / "none"), "--output", str(tmp_path / "table")]
    assert mir1k.main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("run_table.sh: MIR-1K: the folder ")
    assert not list(tmp_path.iterdir())


def test_a_call_without_a_corpus_names_the_script(mir1k, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        mir1k.main(["--output", str(tmp_path)])
    assert "run_table.sh mir1k: error: name the folder" in capsys.readouterr().err


def test_added_words_go_to_the_training_and_a_finished_run_keeps_its_own(
    mir1k, tmp_path, monkeypatch
):
    options, calls = argparse.Namespace(tiny=False, train=["lr=2"]), []
    monkeypatch.setattr(mir1k.commands, "train", lambda *words: calls.append(words))
    mir1k.train("unmix", 3, tmp_path / "corpus", tmp_path, options)
    (module, words, run) = calls.pop()
    assert (module, words[-1], run) == ("unmix", "lr=2", tmp_path / "unmix-3")
    run.mkdir()
    (run / "done").write_text(json.dumps({"command": f"-m {' '.join(words)}"}))
    mir1k.train("unmix", 3, tmp_path / "corpus", tmp_path, options)
    options.train = ["lr=3"]
    with pytest.raises(ValueError, match=r"unmix-3 was trained without lr=3; name"):
        mir1k.train("unmix", 3, tmp_path / "corpus", tmp_path, options)
    assert len(calls) == 1
