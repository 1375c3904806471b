"""Exported networks against ours."""

import numpy as np
import pytest

import unmix
from common.training.checkpoint import CheckpointError
from common.weights.export_command import sound, write
from unmix import light
from unmix.export import export

OPTIONS = [
    {},
    {"niter": 0, "residual": "rest"},
    {"softmask": True, "niter": 2, "wiener_win_len": 50, "segment_seconds": 2.0},
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
    whole, other = unmix.load("mini", **options), light.load(folder, **options)
    assert (other.sources, other.complete) == (whole.sources, whole.complete)
    assert other.grid_samples == whole.grid_samples
    for channels in (1, 3):
        # The last frame ends one sample after the sound.
        mixture = sound(channels, 16000, 3.0)[:, : 93 * 512 - 1]
        expected, actual = whole(mixture), other(mixture)
        peak = max(abs(each).max() for each in expected.values())
        for name, estimate in expected.items():
            np.testing.assert_allclose(actual[name], estimate, atol=1e-5 * peak)


def test_recurrent_layers_are_refused_as_tflite(tmp_path):
    with pytest.raises(CheckpointError, match=r"tflite cannot hold .* recurrent"):
        write(export("mini"), "tflite", tmp_path / "out")
