"""A TasNet of asteroid as our network, which gives its estimates."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering import convert, weights
from clustering.foreign.float64 import waveform_reference
from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from common.weights.locate import locate_model

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering" / "asteroid_lstmtasnet.npz"
ARGUMENTS = {"fb_name": "FreeFB", "n_filters": 16, "kernel_size": 16, "n_src": 2}
ARGUMENTS |= {"n_layers": 2, "hid_size": 10, "dropout": 0.0, "sample_rate": 8000}


def write(path, **changes):
    with np.load(GOLDEN) as file:
        tensors = {n[2:]: file[n] for n in file.files if n.startswith("w/")}
    tensors = {n: tensor for n, tensor in tensors.items() if "window" not in n}
    args = ARGUMENTS | changes
    content = {"model_name": "LSTMTasNet", "model_args": args, "state_dict": tensors}
    torch_file.write(path, content)
    return path


def test_estimates_are_those_of_asteroid(tmp_path):
    path = write(tmp_path / "model.pth")
    model = weights.read(locate_model(path, weights.MODELS))
    with np.load(GOLDEN) as file:
        mixture, expected = file["in/mix"], file["eval/out"]
    atol = 2e-6 * np.abs(expected).max()
    for output in (
        model.network(tf.constant(mixture)),
        waveform_reference(model, mixture),
    ):
        np.testing.assert_allclose(output[..., ::5], expected, rtol=0, atol=atol)
    assert convert.check(model) < 1e-5


def test_one_direction_is_normalised_over_the_frames_so_far(tmp_path):
    path = write(tmp_path / "model.pth", bidirectional=False)
    content = torch_file.read(path)
    state = {
        name: tensor[:, :10] if name.endswith(("weight_ih_l1", "1.weight")) else tensor
        for name, tensor in content["state_dict"].items()
        if "reverse" not in name
    }
    torch_file.write(path, {**content, "state_dict": state})
    model = weights.read(locate_model(path, weights.MODELS))
    assert model.network.config.norm == "cgLN"
    assert convert.check(model) < 1e-5


def test_a_run_folder_is_written(tmp_path, capsys):
    path = write(tmp_path / "model.pth")
    assert convert.main([str(path), str(tmp_path / "run")]) == 0
    assert "tasnet, 8000 Hz, frames of 16 every 8" in capsys.readouterr().out
    net, config = weights.restore(tmp_path / "run")
    assert (net.config.norm, config.kind) == ("gLN", "tasnet")


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ({"depth": 3}, "it has the unknown argument depth"),
        ({"dropout": "0"}, "dropout=0; expected a fraction"),
        ({"stride": "8"}, "stride=8; expected a number of samples"),
        ({"sample_rate": float("inf")}, "sample_rate=inf; expected a number of Hz"),
        ({"hid_size": 0}, "hid_size=0; expected a whole number above 0"),
        (
            {"mask_act": "softmax"},
            "mask_act=softmax; expected linear or relu or sigmoid",
        ),
        ({"encoder_activation": "tanh"}, "encoder_activation=tanh; expected None"),
        ({"bidirectional": False}, "extra masker.masker.0.rnn.weight_ih_l0_reverse"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, args, match):
    with pytest.raises(CheckpointError, match=match):
        weights.restore(write(tmp_path / "model.pth", **args))
