"""Folders of the original and of our runs become networks, and go back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import config as configuration
from common.training.checkpoint import CheckpointError, save_network
from common.weights import torch_file
from common.weights.torch_file import TorchFileError
from unmix import convert, tensors
from unmix.config import TINY, Network
from unmix.model import OpenUnmix

GOLDEN = Path(__file__).parents[1] / "golden" / "unmix"
MICRO = Network(8000, 128, 32, 2, 16, 3, True, 3200.0, 0.4)


@pytest.fixture
def folder(tmp_path):
    """A folder of one target as the original writes it."""
    place = tmp_path / "original"
    place.mkdir()
    for name in ("vocals.pth", "vocals.json", "separator.json"):
        shutil.copyfile(GOLDEN / "original_micro" / name, place / name)
    return place


def network(bidirectional=True, layers=1, **changes):
    small = replace(MICRO, layers=layers, hidden_size=8, bidirectional=bidirectional)
    return OpenUnmix(replace(small, **changes))


def weights(model):
    return {name: variable.numpy() for name, variable in tensors.names(model).items()}


def assert_equal(one, two):
    assert weights(one).keys() == weights(two).keys()
    for name, value in weights(one).items():
        np.testing.assert_array_equal(weights(two)[name], value, err_msg=name)


def change(folder, **changes):
    """Change tensors of the file: None removes one."""
    path = folder / "vocals.pth"
    found = {key.replace(".", "__"): v for key, v in torch_file.read(path).items()}
    found = {k: v for k, v in {**found, **changes}.items() if v is not None}
    torch_file.write(path, {k.replace("__", "."): v for k, v in found.items()})


def test_folder_of_the_original(folder):
    models = convert.load(folder)
    assert list(models) == ["vocals"]
    assert models["vocals"].config == MICRO
    found = torch_file.read(folder / "vocals.pth")
    kernel = models["vocals"].lstm.cells[2][1].recurrent_kernel
    np.testing.assert_array_equal(kernel, found["lstm.weight_hh_l2_reverse"].T)
    assert convert.check(models["vocals"], found) < 1e-5


def test_legacy_file_is_the_same(folder):
    shutil.copyfile(GOLDEN / "original_micro" / "legacy.pth", folder / "bass.pth")
    shutil.copyfile(folder / "vocals.json", folder / "bass.json")
    models = convert.load(folder)
    assert list(models) == ["vocals", "bass"]
    assert_equal(models["bass"], models["vocals"])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_there_and_back(tmp_path, bidirectional, channels):
    models = {
        name: network(bidirectional, 2, channels=channels) for name in ("b", "other")
    }
    convert.export(models, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["b.json", "b.pth", "other.json", "other.pth", "separator.json"]
    back = convert.load(tmp_path / "out")
    assert list(back) == ["other", "b"]
    for target, model in back.items():
        assert model.config == models[target].config
        assert_equal(model, models[target])
    assert list(convert.load(tmp_path / "out", ["b"])) == ["b"]


def test_export_is_what_the_original_writes(folder, tmp_path):
    convert.export(convert.load(folder), tmp_path / "out")
    ours, theirs = (
        torch_file.read(f / "vocals.pth") for f in (tmp_path / "out", folder)
    )
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(ours[name], value)
    for name in ("separator.json", "vocals.json"):
        ours, theirs = (
            json.loads((f / name).read_text()) for f in (tmp_path / "out", folder)
        )
        assert theirs.get("args", theirs).items() - {("seq_dur", 6.0)} <= (
            ours.get("args", ours).items()
        )


def test_published_shapes_need_no_separator_json(tmp_path):
    config = Network(16000, 1024, 512, 1, 256, 3, True, 8000.0, 0.4)
    model = OpenUnmix(config)
    path = tmp_path / "speech_f5e0d9f9.pth"
    torch_file.write(path, tensors.collect(model))
    loaded = convert.load(tmp_path)
    assert list(loaded) == ["speech"]
    assert loaded["speech"].config == config
    assert_equal(loaded["speech"], model)


def test_other_shapes_need_separator_json(folder):
    (folder / "separator.json").unlink()
    with pytest.raises(CheckpointError, match=r'no separator.json.*"nfft": 128'):
        convert.load(folder)


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
        convert.load(folder)


def test_buffers_of_version_1_are_ignored(folder):
    before = convert.load(folder)["vocals"]
    change(folder, stft__window=np.ones(128), sample_rate=np.array(8000))
    change(folder, transform__0__window=np.ones(128), bn1__num_batches_tracked=None)
    assert_equal(convert.load(folder)["vocals"], before)


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
        convert.load(folder)
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
        convert.load(folder)


def test_damaged_file(folder):
    content = (folder / "vocals.pth").read_bytes()
    (folder / "vocals.pth").write_bytes(content[:1000])
    with pytest.raises(TorchFileError, match=r"vocals\.pth is damaged"):
        convert.load(folder)


def test_targets(folder):
    with pytest.raises(
        CheckpointError, match="no target drums; expected one of vocals"
    ):
        convert.load(folder, ["drums"])
    shutil.copyfile(folder / "vocals.pth", folder / "vocals-00000000.pth")
    assert list(convert.load(folder)) == ["vocals"]
    shutil.copyfile(folder / "vocals.pth", folder / "drums-11111111.pth")
    (folder / "vocals.json").unlink()
    assert list(convert.load(folder)) == ["vocals", "drums"]
    shutil.copyfile(folder / "vocals.pth", folder / "drums-00000000.pth")
    with pytest.raises(CheckpointError, match="both of the target drums"):
        convert.load(folder)


def test_nothing_to_load(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds neither config\.json nor"):
        convert.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"does not exist; expected .* umxhq"):
        convert.load(tmp_path / "none")


def test_run_folder(tmp_path):
    model = network(dropout=0.4, layers=2)
    config = replace(TINY, model=model.config, target=("vocals",))
    save_network(tmp_path, model)
    configuration.save(config, tmp_path / "config.json")
    loaded = convert.load(tmp_path)
    assert loaded["vocals"].config == model.config
    assert_equal(loaded["vocals"], model)


def test_run_folders_of_several_targets(tmp_path):
    models = {"drums": network(), "choir": network(), "vocals": network()}
    for target, model in models.items():
        save_network(tmp_path / target, model)
        config = replace(TINY, model=model.config, target=(target,))
        configuration.save(config, tmp_path / target / "config.json")
    loaded = convert.load(tmp_path)
    assert list(loaded) == ["vocals", "drums", "choir"]
    for target, model in loaded.items():
        assert_equal(model, models[target])


def test_run_folder_of_targets_trained_together(tmp_path):
    models = {"vocals": network(), "drums": network()}
    together = keras.Model()
    together.network = models
    tf.train.Checkpoint(network=together.network).save(str(tmp_path / "best" / "step"))
    config = replace(TINY, model=network().config, target=("vocals", "drums"))
    configuration.save(config, tmp_path / "config.json")
    loaded = convert.load(tmp_path)
    for target, model in models.items():
        assert_equal(loaded[target], model)


def test_start_from(folder):
    model = OpenUnmix(replace(MICRO, dropout=0.0, bandwidth=3210.0))
    convert.start_from(model, folder, "vocals")
    assert_equal(model, convert.load(folder)["vocals"])
    wider = OpenUnmix(replace(MICRO, hidden_size=32, hop_samples=64))
    with pytest.raises(
        CheckpointError,
        match=r"model\.hop_samples=32, model\.hidden_size=16, expected 64, 32",
    ):
        convert.start_from(wider, folder, "vocals")


def test_check_refuses_other_weights(folder):
    model = convert.load(folder)["vocals"]
    model.fc2.kernel.assign(1.01 * model.fc2.kernel)
    with pytest.raises(CheckpointError, match="was not restored"):
        convert.check(model, torch_file.read(folder / "vocals.pth"))


def test_export_writes_all_or_nothing(folder, tmp_path, monkeypatch):
    models = convert.load(folder)
    with pytest.raises(CheckpointError, match="exists; name a folder that does not"):
        convert.export(models, folder)
    with pytest.raises(CheckpointError, match="several rates or transforms"):
        convert.export({**models, "b": network(hop_samples=64)}, tmp_path / "out")
    monkeypatch.setattr(convert, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert.export(models, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


def test_command(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert convert.main([str(folder), "--check", "--export", out]) == 0
    printed = capsys.readouterr().out
    assert "vocals: 8000 Hz, 2 channels, frames of 128 every 32, 16 wide" in printed
    assert "vocals: largest difference" in printed
    assert convert.main([out, "--check", "--targets", "vocals"]) == 0
    capsys.readouterr()
    assert convert.main([str(folder)]) == 1
    assert "nothing to do; give --check or --export OUT" in capsys.readouterr().err
    assert convert.main([str(folder), "--check", "--targets", "drums"]) == 1
    assert "no target drums" in capsys.readouterr().err


def test_command_tells_what_the_original_cannot_load(tmp_path, capsys):
    convert.export({"vocals": network(False)}, tmp_path / "one")
    assert convert.main([str(tmp_path / "one"), "--export", str(tmp_path / "two")]) == 0
    assert "the original's loader knows networks of three" in capsys.readouterr().out


def test_check_compares_names_that_hold_a_digest(folder, capsys):
    (folder / "vocals.pth").rename(folder / "vocals-00000000.pth")
    assert convert.main([str(folder), "--check"]) == 1
    assert "expected 00000000... by its name" in capsys.readouterr().err
