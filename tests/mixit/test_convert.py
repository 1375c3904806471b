"""Restoring TF1 checkpoints: every tensor in its place or a sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.checkpoint import CheckpointError
from mixit import convert
from mixit.model import Tdcn

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "small"


@pytest.fixture(scope="module")
def tensors():
    return convert.read(GOLDEN)


def test_architecture_from_shapes(tensors):
    shape = convert.architecture(tensors, num_dilations=3)
    assert (shape.num_sources, shape.num_coeffs, shape.window_samples) == (4, 32, 40)
    assert (shape.bottleneck, shape.conv_channels) == (32, 64)
    assert (shape.num_dilations, shape.num_repeats, shape.hop_samples) == (3, 2, 20)


def test_every_wrong_tensor_is_named(tensors):
    network = Tdcn(convert.architecture(tensors, 3))
    wrong = dict(tensors)
    wrong["stranger"] = np.zeros(3)
    del wrong["initial_dense/dense/bias"]
    wrong["dense/kernel"] = np.zeros((32, 7))
    with pytest.raises(CheckpointError) as caught:
        convert.assign(network, wrong)
    text = str(caught.value)
    assert "missing initial_dense/dense/bias" in text
    assert "extra stranger" in text
    assert "misshapen dense/kernel: (32, 7), expected (32, 128)" in text


def test_blocks_that_make_no_whole_repeats(tensors):
    with pytest.raises(CheckpointError, match="6 blocks make no whole repeats of 4"):
        convert.architecture(tensors, num_dilations=4)


def test_folder_without_checkpoint_file(tmp_path, tensors):
    for file in GOLDEN.glob("model.ckpt*"):
        shutil.copy(file, tmp_path)
    assert convert.read(tmp_path).keys() == tensors.keys()


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_truncated_checkpoint(tmp_path, part):
    for file in GOLDEN.glob("model.ckpt*"):
        shutil.copy(file, tmp_path)
    broken = tmp_path / f"model.ckpt.{part}"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        convert.read(tmp_path / "model.ckpt")


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        convert.read(tmp_path)


def test_command_writes_a_run_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    assert convert.main([str(GOLDEN), str(folder), "--num-dilations", "3"]) == 0
    assert "4 sources" in capsys.readouterr().out
    assert convert.main([str(GOLDEN), str(folder)]) == 1
    assert "holds a run already" in capsys.readouterr().err
