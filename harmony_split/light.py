"""Exported models as a worker uses them: run by onnxruntime, without TensorFlow.

Each lies in ``FOLDER/PILLAR/NAME``, written by ``python -m PILLAR.export NAME --output
FOLDER/PILLAR/NAME``. Their stems equal those of `harmony_split.separation` to 1e-5 of
the peak.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from common.separation.exported import CONFIG, opened
from common.weights import bundled, registry
from common.weights.card import NOT_MEASURED, UNSTATED
from common.weights.entry import Entry, File
from harmony_split.limits import RefusedError
from harmony_split.separation import Model

WARM_SECONDS = 1
"""Nothing is compiled at the first run."""


def entries(folder: Path) -> list[Entry]:
    """Describe the exported models of a folder, by the cards of the bundled ones.

    Args:
        folder: Folder with a folder ``PACKAGE/NAME`` for each.

    Raises:
        ExportError: One of them is not an ONNX export of its package.
        FileNotFoundError: The folder has no exported models.
    """
    paths = sorted(path.parent for path in folder.glob(f"*/*/{CONFIG}"))
    models = [_entry(path) for path in paths if path.parent.name in registry.PILLARS]
    if not models:
        raise FileNotFoundError(
            f"{folder} holds no exported models; write one by 'python -m unmix.export "
            f"singing --output {folder / 'unmix' / 'singing'}'"
        )
    return sorted(models, key=lambda entry: not entry.bundled)


def _entry(path: Path) -> Entry:
    pillar, name = path.parent.name, path.name
    opened(path, pillar)
    for entry in bundled.entries(pillar):
        if entry.name == name:
            return entry
    exported = [File(path, path.absolute().as_uri())]
    source = "exported on this machine"
    return Entry(name, pillar, source, UNSTATED, NOT_MEASURED, True, exported)


def load(folder: Path, pillar: str, name: str) -> Model:
    """Load an exported model through the module ``light`` of its pillar.

    Args:
        folder: Folder with a folder ``PACKAGE/NAME`` for each.
        pillar: Name of the package.
        name: Name of the model within it.

    Raises:
        RefusedError: It is not there.
    """
    for entry in entries(folder):
        if (entry.pillar, entry.name) == (pillar, name):
            light = importlib.import_module(f"{pillar}.light")
            return Model(light.load(folder / pillar / name), WARM_SECONDS)
    raise RefusedError(
        "model_missing",
        f"The model {pillar}/{name} is not exported on this machine; choose another.",
    )
