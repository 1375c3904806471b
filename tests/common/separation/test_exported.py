"""Folders of exported networks, and that nothing on their way is heavy."""

import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from common.files import digest
from common.separation import exported
from common.separation.exported import Exported, ExportError, opened

REPOSITORY = Path(__file__).resolve().parents[3]
BLOCKED = """
import importlib, sys
class Block:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {banned}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block)
for pillar in ("mixit", "unmix", "adversarial", "clustering"):
    importlib.import_module(pillar + ".light")
"""
HEAVY = ["tensorflow", "tf_keras", "keras", "scipy", "librosa", "museval", "sacred"]


def config(folder, **changes):
    values = {"version": 1, "package": "mixit", "format": "onnx", "separator": {}}
    values |= {"settings": {}, "files": {}}
    (folder / "config.json").write_text(json.dumps(values | changes))
    return folder


def test_the_light_commands_import_nothing_heavy():
    code = BLOCKED.format(banned=set(HEAVY))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


@pytest.mark.parametrize("pillar", ["mixit", "unmix", "adversarial", "clustering"])
def test_other_processes_can_load_a_light_model(pillar, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        exported.separation, "command", lambda load, *_, **__: given.append(load)
    )
    importlib.import_module(f"{pillar}.light").main([])
    load = pickle.loads(pickle.dumps(given[0]))
    with pytest.raises(ExportError, match=r"holds no config\.json"):
        load(str(tmp_path))
    with pytest.raises(ExportError, match="leave latest out"):
        load(str(tmp_path), "latest")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"package": "unmix"}, "a network of unmix as onnx; expected a folder"),
        ({"format": "tflite"}, "a network of mixit as tflite"),
        ({"version": 2}, "has version 2 and this program reads up to 1"),
    ],
)
def test_other_folders_are_refused(tmp_path, changes, message):
    with pytest.raises(ExportError, match=message):
        opened(config(tmp_path, **changes), "mixit")


def test_run_folders_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model": {}}')
    with pytest.raises(ExportError, match=r"python -m mixit.export MODEL"):
        opened(tmp_path, "mixit")


def test_damaged_graphs_are_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    files = {"model.onnx": "0123456789"}
    exported = opened(config(tmp_path, files=files), "mixit")
    with pytest.raises(ExportError, match="is damaged: its SHA-256 begins with"):
        exported.session("model")


def test_a_missing_onnxruntime_is_reported_with_the_cure(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"graph")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    files = {"model.onnx": digest(tmp_path / "model.onnx")}
    with pytest.raises(ExportError, match="pip install onnxruntime"):
        opened(config(tmp_path, files=files), "mixit").session("model")


def test_missing_graphs_are_refused(tmp_path):
    with pytest.raises(ExportError, match=r"model.onnx is missing"):
        Exported(tmp_path, {"files": {}}).session("model")
