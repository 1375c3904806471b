"""Export of a network of one weight."""

import json

import numpy as np
import pytest
import tensorflow as tf

from common.layers.precision import Product, set_precision
from common.separation.separator import Separator
from common.training.checkpoint import CheckpointError
from common.weights import export_command
from common.weights.export_command import Export, command, core_module, require_float32

PRECISE = 0.5


class Gain(tf.Module):
    """A gain of both sources."""

    def __init__(self):
        super().__init__()
        self.gain = tf.Variable(PRECISE)

    def __call__(self, mixture):
        return tf.stack([self.gain * mixture, self.gain * mixture], 1)


def separator(gain):
    def network(mixture):
        return np.stack([gain * mixture, gain * mixture], 1)

    return Separator(network, ["a", "b"], 8000)


def export(gain=PRECISE, **options):
    network = Gain()
    spec = tf.TensorSpec([None, 1, None], tf.float32)
    return Export(
        "mixit",
        separator(PRECISE),
        core_module(network, network, spec),
        export_command.sound(1, 8000)[np.newaxis],
        lambda folder: (folder / "model.onnx").write_bytes(b"graph"),
        lambda folder: separator(gain),
        **options,
    )


@pytest.mark.parametrize("form", ["savedmodel", "onnx", "tflite"])
def test_prints_how_far_the_export_is_from_the_network(form, tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = ["model", "--format", form, "--output", str(folder)]
    assert command("x.export", None, lambda *_: export(), arguments) == 0
    assert "largest difference from the network 0 (" in capsys.readouterr().out
    config = json.loads((folder / "config.json").read_text())
    assert (config["package"], config["format"]) == ("mixit", form)
    assert config["separator"]["sources"] == ["a", "b"]
    assert config["files"]


def test_the_saved_model_computes_the_same_bits(tmp_path):
    made = export()
    export_command.write(made, "savedmodel", tmp_path / "out")
    again = tf.saved_model.load(str(tmp_path / "out"))
    expected = made.core.separate(made.example)
    np.testing.assert_array_equal(again.separate(made.example), expected)


def test_nothing_is_written_where_the_stems_differ(tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = ["model", "--output", str(folder)]
    assert command("x.export", None, lambda *_: export(0.501), arguments) == 1
    assert "differs from the network by 0.002" in capsys.readouterr().err
    assert not folder.exists()


def test_an_existing_folder_is_kept_without_the_option(tmp_path, capsys):
    folder = tmp_path / "out"
    export_command.write(export(), "onnx", folder)
    (folder / "model.onnx").write_bytes(b"mine")
    arguments = ["model", "--output", str(folder)]
    assert command("x.export", None, lambda *_: export(), arguments) == 1
    assert "is not empty; choose another" in capsys.readouterr().err
    assert (folder / "model.onnx").read_bytes() == b"mine"
    arguments.append("--overwrite")
    assert command("x.export", None, lambda *_: export(), arguments) == 0
    assert (folder / "model.onnx").read_bytes() == b"graph"


def test_formats_are_refused_by_name(tmp_path):
    made = export(refused={"tflite": "it has no LSTM"})
    with pytest.raises(
        CheckpointError, match=r"^tflite cannot hold .*: it has no LSTM"
    ):
        export_command.write(made, "tflite", tmp_path / "out")


def test_half_precision_is_refused():
    network = tf.Module()
    network.product = Product(name="dense")
    require_float32(network)
    set_precision(network, "bfloat16")
    with pytest.raises(CheckpointError, match="dense computes in bfloat16"):
        require_float32(network)
