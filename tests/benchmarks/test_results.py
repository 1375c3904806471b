"""What results.py makes of the figures of the benchmarks, and how they get there."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("results")


@pytest.fixture
def folder(results, tmp_path):
    """Figures of one benchmark, the failure of one, and nothing of all others."""
    (tmp_path / "peers.json").write_text(json.dumps({"nussl": "torch 1.2.3"}))
    (tmp_path / "bss_eval.md").write_text("# BSS Eval\n\n## One song\n\ntext\n")
    (tmp_path / "bss_eval.done").touch()
    (tmp_path / "network.md").write_text("# half")
    (tmp_path / "against_nussl.failed").write_text("nussl cannot be installed here: x")
    return tmp_path


def test_a_comparison_is_recorded_turn_by_turn(results, folder, monkeypatch):
    monkeypatch.setenv(results.turns.RECORD, str(folder / "bss_eval.jsonl"))
    ours = [{"wall": 2.0, "cpu": 1.0, "peak": 10.0}] * 3
    other = [{"wall": w, "cpu": c, "peak": 25.0} for w, c in ((2, 2), (6, 5), (4, 3))]
    table = results.turns.table("Work", {"ours": ours, "peer": other})
    assert "| peer / ours | x 2.00 | x 3.00 | x 2.00 | x 2.50 |" in table
    text = results.text(folder, quick=True)
    cells = "x 3.00 (2.00 to 5.00) | x 2.00 (1.00 to 3.00) | x 2.50 | 3 |"
    assert f"| Work | peer / ours | {cells}" in text
    assert "#### One song" in text
    assert "torch 1.2.3" in text


def test_nothing_is_recorded_without_a_file(results, folder, monkeypatch):
    monkeypatch.delenv(results.turns.RECORD, raising=False)
    results.turns.record("Work", {"ours": [{"cpu": 1.0}]})
    assert not list(folder.glob("*.jsonl"))


def test_a_benchmark_that_did_not_run_is_named(results, folder):
    text = results.text(folder, quick=False)
    assert "### `against_nussl.py`" in text
    assert "**No complete result: nussl cannot be installed here: x**" in text
    assert "it was stopped before its end" in text
    assert text.count("it was not started") == len(results.BENCHMARKS) - 3


def test_every_benchmark_is_run_or_named_as_a_training(results):
    parts = {"commands", "flops", "mir1k_rows", "mir1k_scores", "mir1k_table", "peers"}
    parts |= {"duel_data", "duel_ours", "duel_theirs", "mutants"}
    parts |= {"music4_corpus", "music4_machines"}
    parts |= {"peer_environments", "results", "scaling", "tables", "turns"}
    files = {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")}
    assert files - parts == {*results.BENCHMARKS, *results.TRAININGS}


def test_every_benchmark_has_a_quick_form(results):
    for name in results.BENCHMARKS:
        text = (REPOSITORY / "benchmarks" / f"{name}.py").read_text("utf-8")
        assert '"--quick"' in text or "peers.main(" in text, name


def test_a_peer_that_cannot_be_installed_is_named(results, tmp_path, monkeypatch):
    module = importlib.import_module("peer_environments")
    missing = module.Peer(("no-such-folder/x.whl",), "", "import nothing_such", ())
    monkeypatch.setattr(module, "PEERS", {"nussl": missing})
    monkeypatch.setattr(
        module, "run", lambda *words: "no such file" if "install" in words else ""
    )
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path / "peers"), str(tmp_path)])
    assert module.main() == 0
    sentence = "nussl cannot be installed here: no such file\n"
    assert (tmp_path / "nussl.missing").read_text() == sentence
    assert json.loads((tmp_path / "peers.json").read_text()) == {}
