"""The separator of a run becomes a model that the package carries."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import adversarial
from adversarial import embedded, published, runs
from adversarial.config import TINY
from adversarial.model import Separator
from common.config import ConfigError, save
from common.corpora import musdb
from common.signal import metrics
from common.synthetic import miniature
from common.training.checkpoint import CheckpointError, save_network


def write_run(folder, phases=("sup", "semisup"), **changes):
    """A run as the training leaves it, without its training."""
    config = replace(TINY, model_config=replace(TINY.model_config, **changes))
    config = replace(config, corpora=replace(config.corpora, root="/music"))
    nets = {}
    for phase in phases:
        nets[phase] = Separator(config.model_config)
        (folder / phase).mkdir(parents=True)
        save_network(folder / phase, nets[phase])
        save(replace(config, output=str(folder)), folder / phase / "config.json")
    save(replace(config, output=str(folder)), folder / "config.json")
    return nets


def test_it_separates_what_it_never_heard(tmp_path):
    separator, gains = adversarial.load("mini"), []
    place = miniature.write_musdb(
        tmp_path / "new", seed=77, sample_rate=8192, train=0, test=4
    )
    for track in musdb.tracks(place, "test"):
        truth = {
            name: soundfile.read(file)[0].T for name, file in track.sources.items()
        }
        mixture = sum(truth.values()).astype(np.float32)
        found = separator(mixture)
        assert list(found) == ["vocals", "accompaniment"]
        wanted = truth["vocals"].mean(axis=0).astype(np.float32)
        heard = np.stack([found["vocals"].mean(axis=0), mixture.mean(axis=0)])
        after, before = metrics.si_sdr(wanted, heard).numpy()
        gains.append(after - before)
    assert np.mean(gains) > 6
    assert min(gains) > 4


def test_small_complete_and_without_paths():
    folder = embedded.find("mini")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    told = json.loads((folder / "config.json").read_text())
    assert told["output"] is None
    assert told["corpora"]["root"] is None
    assert told["corpora"]["unpaired_root"] is None
    card = (folder / "README.md").read_text()
    assert "Apache-2.0" in card
    assert " dB" in card


def test_the_later_phase_is_taken_without_paths(tmp_path, monkeypatch):
    nets = write_run(tmp_path / "run")
    place = tmp_path / "models" / "mini"
    place.mkdir(parents=True)
    (place / "README.md").write_text("- Licence: Apache-2.0\n- Score (songs): 3 dB\n")
    (place / "old").write_text("old")
    embedded.embed(tmp_path / "run", place)
    assert {path.name for path in place.iterdir()} == {
        "README.md",
        "config.json",
        "best",
    }
    told = json.loads((place / "config.json").read_text())
    assert told["output"] is None
    assert told["corpora"]["root"] is None
    monkeypatch.setattr(runs, "MODELS", tmp_path / "models")
    for ours, theirs in zip(
        runs.load("mini").variables, nets["semisup"].variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setattr(published, "MODELS", tmp_path / "models")
    (entry,) = published.entries()
    assert (entry.name, entry.licence) == ("mini", "Apache-2.0")
    assert entry.score == "3 dB (Score (songs))"


def test_a_large_one_is_not_embedded(tmp_path, capsys):
    write_run(tmp_path / "run", ("sup",), num_layers=4, initial_filters=16)
    with pytest.raises(ConfigError, match="an embedded model has at most 730000"):
        embedded.embed(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert embedded.main([str(tmp_path / "none")]) == 1
    assert "none is no run folder" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_leaves_the_old_model(tmp_path):
    (tmp_path / "run").mkdir()
    save(TINY, tmp_path / "run" / "config.json")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("card")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        embedded.embed(tmp_path / "run", tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["README.md"]
