"""Exported models in the browser, by a worker that cannot import TensorFlow."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from common import audio
from common.files import digest
from common.separation.exported import ExportError
from common.weights.card import UNSTATED
from harmony_split import __main__ as command
from harmony_split import light
from harmony_split.limits import RefusedError

REFUSED = "raise ImportError('TensorFlow is imported')"


def export(folder: Path, **changes: object) -> Path:
    """Write an export of MixIT whose graph gives two sources half of the mixture."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx onnxruntime")
    pytest.importorskip("onnxruntime")
    folder.mkdir(parents=True)
    make, float32 = onnx.helper, onnx.TensorProto.FLOAT
    initial = make.make_tensor("half", float32, [1, 2, 1, 1], [0.5, 0.5])
    sides = [
        make.make_tensor_value_info("mixture", float32, ["batch", 1, "samples"]),
        make.make_tensor_value_info("y", float32, ["batch", 2, 1, "samples"]),
    ]
    axes = make.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])
    nodes = [
        make.make_node("Unsqueeze", ["mixture", "axes"], ["row"]),
        make.make_node("Mul", ["row", "half"], ["y"]),
    ]
    graph = make.make_graph(nodes, "halves", sides[:1], sides[1:], [initial, axes])
    opset = [make.make_opsetid("", 17)]
    model = make.make_model(graph, opset_imports=opset, ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    separator = {"sources": ["one", "two"], "sample_rate": 8000, "channels": 1}
    values = {"version": 1, "package": "mixit", "format": "onnx", "settings": {}}
    values |= {"separator": separator}
    values |= {"files": {"model.onnx": digest(folder / "model.onnx")}}
    (folder / "config.json").write_text(json.dumps(values | changes), "utf-8")
    return folder


def test_bundled_models_have_their_cards_and_come_first(tmp_path):
    export(tmp_path / "mixit" / "a_run")
    export(tmp_path / "mixit" / "mini")
    export(tmp_path / "another" / "mini")
    bundled, run = light.entries(tmp_path)
    assert (bundled.pillar, bundled.name, bundled.licence) == (
        "mixit",
        "mini",
        "Apache-2.0",
    )
    assert bundled.bundled
    assert (run.name, run.licence, run.cached) == ("a_run", UNSTATED, True)
    assert not run.bundled


def test_folders_without_exports_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"unmix\.export singing"):
        light.entries(tmp_path)
    export(tmp_path / "mixit" / "mini", format="tflite")
    with pytest.raises(ExportError, match="as tflite"):
        light.entries(tmp_path)


def test_models_that_are_not_exported_are_refused(tmp_path, web, capsys):
    export(tmp_path / "mixit" / "mini")
    with pytest.raises(RefusedError, match="mixit/universal is not exported"):
        light.load(tmp_path, "mixit", "universal")
    options = [f"--light={tmp_path}", "--port=0", f"--folder={tmp_path / 'jobs'}"]
    assert command.main([*options, "--model=unmix/mini"]) == 1
    assert "expected one of mixit/mini" in capsys.readouterr().err
    assert command.main([f"--light={tmp_path / 'none'}", *options[1:]]) == 1
    assert "holds no exported models" in capsys.readouterr().err


def test_a_song_is_separated_without_tensorflow(
    spawn, tmp_path, monkeypatch, song, packed
):
    httpx = pytest.importorskip("httpx2")
    exported = export(tmp_path / "exported" / "mixit" / "halves").parents[1]
    for name in ("tensorflow", "tf_keras"):
        (tmp_path / f"{name}.py").write_text(REFUSED)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    server = spawn(tmp_path / "jobs", f"--light={exported}")
    with httpx.Client(base_url=server.address, timeout=60) as client:
        (model,) = client.get("/api/models").json()["models"]
        assert (model["name"], model["ready"]) == ("mixit/halves", True)
        id_ = client.post("/api/jobs", content=packed(song(2))).json()["id"]
        events = client.get(f"/api/jobs/{id_}/events").text
        assert '"state": "done"' in events.splitlines()[-2], events
        (tmp_path / "one.wav").write_bytes(
            client.get(f"/api/jobs/{id_}/stems/one.wav").content
        )
    sound, _ = audio.read(tmp_path / "one.wav")
    np.testing.assert_allclose(sound, 0.5 * song(2).T, atol=1e-6)
