"""The notebook runs from its first cell to its last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import audio

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((REPOSITORY / "docs/walkthrough.ipynb").read_text("utf-8"))
CELLS = [
    "".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"
]


def test_cells_are_stored_without_results():
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert not [cell for cell in cells if cell["outputs"] or cell["execution_count"]]


@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, cell in enumerate(CELLS):
        exec(compile(cell, f"cell {number}", "exec"), names)
    # The Wiener filter leaves a little of the mixture out.
    assert names["difference"] < 0.05 * np.abs(names["mixture"]).max()
    voice, rate = audio.read("vocals.wav")
    assert (voice.shape, rate) == (names["mixture"].shape, names["rate"])
    assert np.isfinite(voice).all()
    assert np.abs(voice).max() > 0
    assert (tmp_path / "separated/mixture/vocals.wav").exists()
