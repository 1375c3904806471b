"""Exported networks against ours."""

import dataclasses

import numpy as np
import pytest

import mixit
from common.training.checkpoint import CheckpointError
from common.weights.export_command import sound, write
from mixit import light
from mixit.config import PRESETS
from mixit.export import export, export_network, graph
from mixit.model import Tdcn

SMALL = dataclasses.replace(
    PRESETS["tiny"].model, num_dilations=2, num_repeats=2, bottleneck=6, conv_channels=8
)
SHAPES = [
    {"basis": "learned", "norm": "instance_norm", "skip_connections": True},
    {"basis": "learned", "norm": "layer_norm", "num_mics": 2, "mask": "relu"},
    {"basis": "stft", "norm": "global_layer_norm", "num_mics": 2},
    {"basis": "stft", "front_padding": True, "mixture_consistency": "magsq"},
    {"basis": "stft", "mixture_consistency": "uniform"},
    {"basis": "stft", "window_samples": 33, "hop_samples": 8},
    {"basis": "learned", "mixture_consistency": "none"},
]


@pytest.mark.parametrize("samples", [100, 1234])
@pytest.mark.parametrize("shape", SHAPES)
def test_graph_equals_the_network(run_onnx, shape, samples):
    network = Tdcn(dataclasses.replace(SMALL, **shape))
    random = np.random.default_rng(0)
    for weight in network.trainable_variables:
        weight.assign(weight + random.normal(0.0, 0.05, weight.shape))
    mixture = random.uniform(-1, 1, [2, network.config.num_mics, samples])
    mixture = mixture.astype(np.float32)
    expected = network.images(mixture).numpy()
    actual = run_onnx(graph(network), mixture)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.one_lane
def test_bundled_model_separates_without_tensorflow(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "out"
    assert write(export("mini"), "onnx", folder) <= 1e-5
    mixture = sound(2, 8000, 3.0)
    options = {"segment_seconds": 1.0, "overlap": 0.5}
    expected = mixit.load("mini", **options)(mixture)
    actual = light.load(folder, **options)(mixture)
    peak = max(abs(each).max() for each in expected.values())
    for name, estimate in expected.items():
        np.testing.assert_allclose(actual[name], estimate, atol=1e-5 * peak)


def test_half_precision_and_the_stft_of_tflite_are_refused(tmp_path):
    pytest.importorskip("onnx")
    network = Tdcn(dataclasses.replace(SMALL, basis="stft"), precision="bfloat16")
    made = export_network(network)
    with pytest.raises(CheckpointError, match="computes in bfloat16"):
        write(made, "onnx", tmp_path / "out")
    with pytest.raises(
        CheckpointError, match=r"tflite cannot hold .*; use --format onnx or"
    ):
        write(made, "tflite", tmp_path / "out")
