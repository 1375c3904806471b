"""Planted errors reach the compiled code and its source, and survivors a report."""

from __future__ import annotations

import importlib
import linecache
import sys
from pathlib import Path
from types import ModuleType

import pytest
import tensorflow as tf

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("mutants")


def test_an_error_is_in_the_code_and_in_the_source_that_autograph_reads(
    mutants, monkeypatch, tmp_path
):
    text = "# A sum.\n\n\ndef total(a, b):\n    return a + b\n"
    (tmp_path / "sums.py").write_text(text)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(linecache, "updatecache", linecache.updatecache)
    monkeypatch.setattr(mutants, "TESTS", {"sums.py": "test_sums.py"})
    (mutant,) = mutants.choose(10, seed=0)
    assert mutant.change == "a + b -> a - b"
    module = ModuleType("sums")
    module.__file__ = str(tmp_path / "sums.py")
    monkeypatch.setitem(sys.modules, "sums", module)
    exec(mutants.compiled(mutant), module.__dict__)
    assert module.total(3, 2) == 1
    assert tf.function(module.total)(3, 2).numpy() == 1
    assert (tmp_path / "sums.py").read_text() == text


def test_survivors_are_reported_with_their_verdicts(mutants, monkeypatch, tmp_path):
    table = tmp_path / "verdicts.csv"
    table.write_text("file,change,verdict\na.py,1 -> 2,a tuning constant\n")
    monkeypatch.setattr(mutants, "VERDICTS", table)
    monkeypatch.setattr(mutants, "TESTS", {"a.py": "", "b.py": ""})
    kinds = [("1 -> 2", "survived"), ("a < b -> a <= b", "survived"), ("c", "killed")]
    text = mutants.report(
        [
            {"file": "a.py", "line": line, "change": change, "verdict": verdict}
            for line, (change, verdict) in enumerate(kinds, start=1)
        ]
    )
    assert "| `a.py` | 3 | 1 |" in text
    assert "b.py" not in text
    assert "33.3 % of 3 errors were detected" in text
    assert "- `a.py:1` `1 -> 2`: a tuning constant\n" in text
    assert "- `a.py:2` `a < b -> a <= b`: no verdict yet\n" in text


def test_every_verdict_is_of_a_module_that_is_tested(mutants):
    assert {file for file, _ in mutants._verdicts()} <= set(mutants.TESTS)
