"""Folders of the original become networks, and what does not fit is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from common.weights.torch_file import TorchFileError
from unmix import convert, weights
from unmix.config import Network
from unmix.model import OpenUnmix
from unmix.openunmix import original_folder

GOLDEN = Path(__file__).parents[2] / "golden" / "unmix"
MICRO = Network(8000, 128, 32, 2, 16, 3, True, 3200.0, 0.4)


def assert_equal(one, two):
    ours, theirs = map(original_folder.variables, (one, two))
    assert ours.keys() == theirs.keys()
    for name, variable in ours.items():
        np.testing.assert_array_equal(theirs[name], variable, err_msg=name)


def change(folder, **changes):
    """Change tensors of the file: None removes one."""
    path = folder / "vocals.pth"
    tensors = {key.replace(".", "__"): v for key, v in torch_file.read(path).items()}
    tensors = {k: v for k, v in {**tensors, **changes}.items() if v is not None}
    torch_file.write(path, {k.replace("__", "."): v for k, v in tensors.items()})


def test_folder_of_the_original(folder):
    models = weights.load(folder)
    assert list(models) == ["vocals"]
    assert models["vocals"].config == MICRO
    tensors = torch_file.read(folder / "vocals.pth")
    kernel = models["vocals"].lstm.cells[2][1].recurrent_kernel
    np.testing.assert_array_equal(kernel, tensors["lstm.weight_hh_l2_reverse"].T)
    assert convert.check(models, {"vocals": tensors}) < 1e-5


def test_legacy_file_is_the_same(folder):
    shutil.copyfile(GOLDEN / "original_micro" / "legacy.pth", folder / "bass.pth")
    shutil.copyfile(folder / "vocals.json", folder / "bass.json")
    models = weights.load(folder)
    assert list(models) == ["vocals", "bass"]
    assert_equal(models["bass"], models["vocals"])


def test_published_shapes_need_no_separator_json(tmp_path):
    config = Network(16000, 1024, 512, 1, 256, 3, True, 8000.0, 0.4)
    model = OpenUnmix(config)
    path = tmp_path / "speech_f5e0d9f9.pth"
    torch_file.write(path, original_folder.collect(model))
    loaded = weights.load(tmp_path)
    assert list(loaded) == ["speech"]
    assert loaded["speech"].config == config
    assert_equal(loaded["speech"], model)


def test_other_shapes_need_separator_json(folder):
    (folder / "separator.json").unlink()
    with pytest.raises(CheckpointError, match=r'no separator.json.*"nfft": 128'):
        weights.load(folder)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ('{"nfft": 128}', "lacks 'sample_rate'"),
        ('{"nfft": 256, "nhop": 32, "nb_channels": 2, "sample_rate": 8e3}', "nfft=256"),
        ('{"nfft": 128, "nhop": 0, "nb_channels": 2, "sample_rate": 8e3}', "nhop=0"),
        ("{", "is no JSON"),
        ("[]", "holds no JSON object"),
    ],
)
def test_separator_json_that_does_not_fit(folder, values, problem):
    (folder / "separator.json").write_text(values)
    with pytest.raises(CheckpointError, match=problem):
        weights.load(folder)


def test_buffers_of_version_1_are_ignored(folder):
    before = weights.load(folder)["vocals"]
    change(folder, stft__window=np.ones(128), sample_rate=np.array(8000))
    change(folder, transform__0__window=np.ones(128), bn1__num_batches_tracked=None)
    assert_equal(weights.load(folder)["vocals"], before)


def test_all_tensors_that_do_not_fit_are_named(folder):
    change(
        folder,
        bn2__weight=None,
        lstm__bias_hh_l1=None,
        bn3__bias=np.zeros(7, np.float32),
        fc2__weight=np.full([16, 32], np.nan, np.float32),
        attention=np.zeros(3, np.float32),
    )
    with pytest.raises(CheckpointError) as error:
        weights.load(folder)
    for problem in (
        r"vocals.pth: 5 tensors do not fit the network",
        "missing bn2.weight",
        "missing lstm.bias_hh_l1",
        "extra attention",
        "misshapen bn3.bias: (7,), expected (130,)",
        "not finite: fc2.weight",
    ):
        assert problem in str(error.value)


def test_weights_of_something_else(folder):
    torch_file.write(folder / "vocals.pth", {"conv.weight": np.ones([2, 2])})
    with pytest.raises(CheckpointError, match="lacks input_mean, output_scale"):
        weights.load(folder)


def test_damaged_file(folder):
    content = (folder / "vocals.pth").read_bytes()
    (folder / "vocals.pth").write_bytes(content[:1000])
    with pytest.raises(TorchFileError, match=r"vocals\.pth is damaged"):
        weights.load(folder)


def test_targets(folder):
    with pytest.raises(
        CheckpointError, match="no target drums; expected one of vocals"
    ):
        weights.load(folder, ["drums"])
    shutil.copyfile(folder / "vocals.pth", folder / "vocals-00000000.pth")
    assert list(weights.load(folder)) == ["vocals"]
    shutil.copyfile(folder / "vocals.pth", folder / "drums-11111111.pth")
    (folder / "vocals.json").unlink()
    assert list(weights.load(folder)) == ["vocals", "drums"]
    shutil.copyfile(folder / "vocals.pth", folder / "drums-00000000.pth")
    with pytest.raises(CheckpointError, match="both of the target drums"):
        weights.load(folder)
