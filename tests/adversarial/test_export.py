"""Exported networks against ours."""

import dataclasses

import numpy as np
import pytest

import adversarial
from adversarial import light
from adversarial.config import PRESETS
from adversarial.export import export, export_network, graph
from adversarial.model import UNet
from common.separation.separator import SeparationError
from common.weights.export_command import sound, write

OPTIONS = [
    {},
    {"sample_rate": "input", "segment_seconds": 4.0},
    {"griffin_lim": 1, "tile_frames": 0},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("export") / "out"
    assert write(export("mini"), "onnx", folder) <= 1e-5
    return folder


@pytest.mark.parametrize("options", OPTIONS)
def test_bundled_model_separates_without_tensorflow(folder, options):
    mixture = sound(2, 8192, 6.0)
    expected = adversarial.load("mini", **options)
    actual = light.load(folder, **options)
    assert actual.context_samples == expected.context_samples
    expected, actual = expected(mixture), actual(mixture)
    peak = max(abs(each).max() for each in expected.values())
    for name, estimate in expected.items():
        np.testing.assert_allclose(actual[name], estimate, atol=1e-5 * peak)


def test_rows_below_the_spectrum_are_left_out_without_tensorflow_too():
    """Where the output has several rows more than the spectrum has bins."""
    tiny = PRESETS["tiny"].model_config
    sizes = {"num_fft": 400, "num_hop": 200, "num_layers": 4}
    network = UNet(dataclasses.replace(tiny, head="mask", **sizes))

    def estimate(images):
        return network(images[..., np.newaxis])[..., 0].numpy()

    options = light.Options("model", 0, 0)
    made = light.UNet(estimate, export_network(network).settings, options)
    mixture = sound(1, 8192, 1.0)[np.newaxis]
    np.testing.assert_allclose(made(mixture).sum(1), mixture, atol=1e-5)


@pytest.mark.parametrize("head", ["relu", "softplus"])
def test_graph_equals_the_network(run_onnx, head):
    config = dataclasses.replace(PRESETS["tiny"].model_config, head=head)
    network = UNet(config)
    shape = 2, network.geometry.input_bins, network.geometry.input_frames, 1
    images = np.random.default_rng(0).gamma(0.5, size=shape).astype(np.float32)
    actual = run_onnx(graph(network), images[..., 0])
    np.testing.assert_allclose(actual, network(images)[..., 0], atol=1e-5)


def test_options_out_of_range_are_refused(folder):
    with pytest.raises(SeparationError, match="griffin_lim is -1"):
        light.load(folder, griffin_lim=-1)
    with pytest.raises(SeparationError, match="sample_rate is 'half'"):
        light.load(folder, sample_rate="half")
