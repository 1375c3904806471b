"""The model that comes with the package, and its replacement by that of a run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import adversarial
from adversarial import convert, phases
from adversarial.config import TINY
from adversarial.model import UNet
from common.config import ConfigError, save
from common.corpora import musdb
from common.signal import metrics
from common.synthetic import miniature
from common.training.checkpoint import CheckpointError, save_network
from common.weights import bundled, card, registry
from common.weights.card import Card, Score


def write_run(folder, phases=("sup", "semisup"), **changes):
    """A run as the training leaves it, without its training."""
    config = replace(TINY, model_config=replace(TINY.model_config, **changes))
    config = replace(config, corpora=replace(config.corpora, data_root="/music"))
    nets = {}
    for phase in phases:
        nets[phase] = UNet(config.model_config)
        (folder / phase).mkdir(parents=True)
        save_network(folder / phase, nets[phase])
        save(replace(config, output=str(folder)), folder / phase / "config.json")
    save(replace(config, output=str(folder)), folder / "config.json")
    return nets


def test_new_songs_are_separated(tmp_path):
    separator, gains = adversarial.load("mini"), []
    output = miniature.write_musdb(
        tmp_path / "new", seed=77, sample_rate=8192, train=0, test=4
    )
    for track in musdb.tracks(output, "test"):
        references = {
            name: soundfile.read(file)[0].T for name, file in track.sources.items()
        }
        mixture = sum(references.values()).astype(np.float32)
        estimates = separator(mixture)
        assert list(estimates) == ["vocals", "accompaniment"]
        vocals = references["vocals"].mean(axis=0).astype(np.float32)
        sounds = np.stack([estimates["vocals"].mean(axis=0), mixture.mean(axis=0)])
        after, before = metrics.si_sdr(vocals, sounds).numpy()
        gains.append(after - before)
    assert np.mean(gains) > 6
    assert min(gains) > 4


def test_the_bundled_model_is_small_and_holds_no_paths():
    folder = bundled.find("adversarial", "mini")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    config = json.loads((folder / "config.json").read_text())
    assert config["output"] is None
    assert config["corpora"]["root"] is None
    assert config["corpora"]["unpaired_root"] is None
    card = (folder / "README.md").read_text()
    assert "Apache-2.0" in card
    assert " dB" in card


def test_the_semi_supervised_phase_is_bundled_without_paths(tmp_path, monkeypatch):
    nets = write_run(tmp_path / "run")
    output = tmp_path / "adversarial" / "bundled" / "mini"
    output.mkdir(parents=True)
    (output / "README.md").write_text("A small network.")
    score = Score("SDR", "dB", "songs", True, {"vocals": 3.0})
    card.write(Card("Small", ("a",), 1, 1, "Apache-2.0", scores=(score,)), output)
    (output / "old").write_text("old")
    about = convert.bundle(tmp_path / "run", output)
    assert (about.sources, about.channels) == (("vocals", "accompaniment"), 1)
    assert {path.name for path in output.iterdir()} == {
        "README.md",
        "card.json",
        "config.json",
        "weights.safetensors",
    }
    config = json.loads((output / "config.json").read_text())
    assert config["output"] is None
    assert config["corpora"]["data_root"] is None
    monkeypatch.setattr(bundled, "folder_of", lambda pillar: output.parent)
    for ours, theirs in zip(
        phases.restore("mini").variables, nets["semisup"].variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setattr(registry, "PILLARS", ("adversarial",))
    (entry,) = registry.entries()
    assert (entry.name, entry.licence) == ("mini", "Apache-2.0")
    assert entry.score == "SDR vocals 3.0 dB (songs)"


def test_a_large_network_is_not_bundled(tmp_path, capsys):
    write_run(tmp_path / "run", ("sup",), num_layers=5, initial_filters=16)
    with pytest.raises(ConfigError, match="a bundled model has at most 1500000"):
        convert.bundle(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert (
        convert.main([str(tmp_path / "none"), str(tmp_path / "model"), "--bundle"]) == 1
    )
    assert "none does not exist; expected a run folder" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_leaves_the_bundled_model(tmp_path):
    (tmp_path / "run").mkdir()
    save(TINY, tmp_path / "run" / "config.json")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("card")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        convert.bundle(tmp_path / "run", tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["README.md"]
