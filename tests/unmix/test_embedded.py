"""The networks in the package separate, offline and from any installation."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import unmix
from common import audio
from common.config import ConfigError, override, save
from common.corpora import musdb
from common.synthetic import miniature
from common.training.checkpoint import CheckpointError, save_network
from unmix import convert, embedded
from unmix.config import TINY
from unmix.model import OpenUnmix

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A piece that no training has heard."""
    folder = tmp_path_factory.mktemp("new") / "musdb"
    corpus = miniature.write_musdb(folder, seed=77, sample_rate=16000, train=1, test=1)
    (track,) = musdb.tracks(corpus, "test")
    return track


def test_it_separates_what_it_never_heard(song):
    separator = unmix.load("mini")
    assert separator.sources == musdb.SOURCES
    mixture = audio.read(song.mixture)[0]
    for name, estimate in separator(mixture).items():
        source = audio.read(song.sources[name])[0]
        gain = _sdr(source, estimate) - _sdr(source, mixture)
        assert gain > (5 if name in ("vocals", "drums") else 3), name


def _sdr(reference, estimate):
    noise = np.square(reference - estimate).sum()
    return 10 * np.log10(np.square(reference).sum() / noise)


def test_small_complete_and_without_paths():
    folder = embedded.find("mini")
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
    assert embedded.find("maxi") is None
    assert embedded.find("") is None


def test_it_is_checked_like_any_other(capsys):
    assert convert.main(["mini", "--check", "--targets", "bass"]) == 0
    assert "bass: largest difference" in capsys.readouterr().out


def make_run(folder, **changes):
    """A run of two targets as the training leaves it, without its training."""
    config = override(TINY, {"target": "drums,bass", "root": "/music", **changes})
    networks = {}
    for target in config.target:
        place = folder / target
        networks[target] = OpenUnmix(config.model)
        for variable in networks[target].trainable_variables:
            variable.assign_add(0.01 * np.ones(variable.shape))
        place.mkdir(parents=True)
        save_network(place, networks[target])
        values = {"target": target, "output": str(place)}
        save(override(config, values), place / "config.json")
    save(config, folder / "config.json")
    return networks


def test_a_run_is_embedded_in_the_place_of_another(tmp_path):
    networks = make_run(tmp_path / "run", **{"model.hidden_size": 8})
    place = tmp_path / "model"
    place.mkdir()
    (place / "README.md").write_text("card")
    (place / "old").write_text("old")
    embedded.embed(tmp_path / "run", place)
    assert {path.name for path in place.iterdir()} == {
        "README.md",
        "config.json",
        "bass",
        "drums",
    }
    found = convert.load(place)
    assert list(found) == ["drums", "bass"]
    for target, network in found.items():
        assert network.config == networks[target].config
        for ours, theirs in zip(
            network.variables, networks[target].variables, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert "music" not in (place / "bass" / "config.json").read_text()


def test_a_large_one_is_not_embedded(tmp_path, capsys):
    make_run(tmp_path / "run", **{"model.hidden_size": 256})
    with pytest.raises(ConfigError, match="an embedded model has at most 730000"):
        embedded.embed(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert embedded.main([str(tmp_path / "none")]) == 1
    assert "none holds no config.json; expected the run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        embedded.main([])


def test_a_target_without_weights_leaves_the_old_model(tmp_path):
    make_run(tmp_path / "run", **{"model.hidden_size": 8})
    for path in (tmp_path / "run" / "bass" / "best").iterdir():
        path.unlink()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("card")
    with pytest.raises(CheckpointError, match="bass holds no checkpoint"):
        embedded.embed(tmp_path / "run", tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "model"}
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["README.md"]


@pytest.mark.slow
def test_a_file_is_separated_offline_from_a_clone(song, tmp_path):
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--no-hardlinks", str(REPOSITORY), str(clone)]
    subprocess.run(command, check=True)
    command = [sys.executable, "-m", "unmix.separate", str(song.mixture)]
    command += ["--model", "mini", "--output", str(tmp_path / "stems")]
    # Nothing answers at this port, and there is no cache.
    offline = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")
    home = {"HOME": str(tmp_path), "SEPARATION_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command,
        cwd=clone,
        env={**os.environ, **offline, **home, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {path.stem for path in (tmp_path / "stems").rglob("*.wav")}
    assert written == set(musdb.SOURCES)
