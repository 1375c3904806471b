"""Networks are exported, checked and taken into the package, and go back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from common.config import ConfigError, override, save
from common.training.checkpoint import CheckpointError, save_network
from common.weights import bundled, torch_file
from unmix import convert, weights
from unmix.config import TINY, Network
from unmix.model import OpenUnmix
from unmix.openunmix import original_folder

MICRO = Network(8000, 128, 32, 2, 16, 3, True, 3200.0, 0.4)


def network(bidirectional=True, layers=1, **changes):
    small = replace(MICRO, layers=layers, hidden_size=8, bidirectional=bidirectional)
    return OpenUnmix(replace(small, **changes))


def assert_equal(one, two):
    ours, theirs = map(original_folder.variables, (one, two))
    assert ours.keys() == theirs.keys()
    for name, variable in ours.items():
        np.testing.assert_array_equal(theirs[name], variable, err_msg=name)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_there_and_back(tmp_path, bidirectional, channels):
    models = {
        name: network(bidirectional, 2, channels=channels) for name in ("b", "other")
    }
    convert.export(models, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["b.json", "b.pth", "other.json", "other.pth", "separator.json"]
    back = weights.load(tmp_path / "out")
    assert list(back) == ["other", "b"]
    for target, model in back.items():
        assert model.config == models[target].config
        assert_equal(model, models[target])
    assert list(weights.load(tmp_path / "out", ["b"])) == ["b"]


def test_export_is_what_the_original_writes(folder, tmp_path):
    convert.export(weights.load(folder), tmp_path / "out")
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


@pytest.mark.one_lane
def test_check_refuses_other_weights(folder):
    models = weights.load(folder)
    models["vocals"].fc2.kernel.assign(1.01 * models["vocals"].fc2.kernel)
    tensors = {"vocals": torch_file.read(folder / "vocals.pth")}
    with pytest.raises(CheckpointError, match="was not restored"):
        convert.check(models, tensors)


def test_export_writes_all_or_nothing(folder, tmp_path, monkeypatch):
    models = weights.load(folder)
    with pytest.raises(CheckpointError, match="exists; name a folder that does not"):
        convert.export(models, folder)
    with pytest.raises(CheckpointError, match="several rates or transforms"):
        convert.export({**models, "b": network(hop_samples=64)}, tmp_path / "out")
    monkeypatch.setattr(convert, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert.export(models, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


@pytest.mark.one_lane
def test_command(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert convert.main([str(folder), "--check", "--export", out]) == 0
    printed = capsys.readouterr().out
    assert "vocals: 8000 Hz, 2 channels, frames of 128 every 32, 16 wide" in printed
    assert "vocals: largest difference" in printed
    assert convert.main([out, "--check", "--targets", "vocals"]) == 0
    capsys.readouterr()
    assert convert.main([str(folder)]) == 1
    assert "name a DEST, or give --check" in capsys.readouterr().err
    assert convert.main([str(folder), "--check", "--targets", "drums"]) == 1
    assert "no target drums" in capsys.readouterr().err


def test_command_reports_what_the_original_cannot_load(tmp_path, capsys):
    convert.export({"vocals": network(False)}, tmp_path / "one")
    assert convert.main([str(tmp_path / "one"), "--export", str(tmp_path / "two")]) == 0
    assert "the original's loader knows networks of three" in capsys.readouterr().out


def test_check_compares_names_that_hold_a_digest(folder, capsys):
    (folder / "vocals.pth").rename(folder / "vocals-00000000.pth")
    assert convert.main([str(folder), "--check"]) == 1
    assert "expected 00000000...; it is damaged" in capsys.readouterr().err


def test_the_bundled_model_is_small_complete_and_without_paths():
    folder = bundled.folder_of("unmix") / "mini"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    configs = [path for path in files if path.name == "config.json"]
    assert len(configs) == 5
    for path in configs:
        assert '"output": null' in path.read_text()
        assert '"root": null' in path.read_text()
    card = (folder / "README.md").read_text()
    assert "Apache-2.0" in card
    assert " dB" in card


def test_the_bundled_model_is_checked_like_any_other(capsys):
    assert convert.main(["mini", "--check", "--targets", "bass"]) == 0
    assert "bass: largest difference" in capsys.readouterr().out


def make_run(folder, **changes):
    """A run of two targets as the training leaves it, without its training."""
    config = override(TINY, {"target": "drums,bass", "data_root": "/music", **changes})
    networks = {}
    for target in config.target:
        output = folder / target
        networks[target] = OpenUnmix(config.model)
        for variable in networks[target].trainable_variables:
            variable.assign_add(0.01 * np.ones(variable.shape))
        output.mkdir(parents=True)
        save_network(output, networks[target])
        values = {"target": target, "output": str(output)}
        save(override(config, values), output / "config.json")
    save(config, folder / "config.json")
    return networks


def test_a_run_is_bundled_in_place_of_another(tmp_path):
    networks = make_run(tmp_path / "run", **{"model.hidden_size": 8})
    output = tmp_path / "model"
    convert.bundle(tmp_path / "run", output)
    (output / "README.md").write_text("card")
    (output / "old").write_text("old")
    convert.bundle(tmp_path / "run", output)
    assert {path.name for path in output.iterdir()} == {
        "README.md",
        "card.json",
        "config.json",
        "bass",
        "drums",
    }
    actual = weights.load(output)
    assert list(actual) == ["drums", "bass"]
    for target, network in actual.items():
        assert network.config == networks[target].config
        for ours, theirs in zip(
            network.variables, networks[target].variables, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert "music" not in (output / "bass" / "config.json").read_text()


def test_a_large_run_is_not_bundled(tmp_path, capsys):
    make_run(tmp_path / "run", **{"model.hidden_size": 512})
    with pytest.raises(ConfigError, match="a bundled model has at most 1500000"):
        convert.bundle(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    words = [str(tmp_path / "none"), str(tmp_path / "new"), "--bundle"]
    assert convert.main(words) == 1
    assert "none holds no config.json; expected a run folder" in capsys.readouterr().err


def test_a_target_without_weights_leaves_the_old_model(tmp_path):
    make_run(tmp_path / "run", **{"model.hidden_size": 8})
    for path in (tmp_path / "run" / "bass" / "best").iterdir():
        path.unlink()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("card")
    with pytest.raises(CheckpointError, match="bass holds no checkpoint"):
        convert.bundle(tmp_path / "run", tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "model"}
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["README.md"]
