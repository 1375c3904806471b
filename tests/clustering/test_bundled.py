"""The network in the package separates, offline and from any installation."""

import json
from dataclasses import replace

import numpy as np
import pytest

import clustering
from clustering import corpus, evaluate, separate
from clustering.config import ClusteringConfig
from clustering.convert import bundle
from clustering.models.network import network
from clustering.presets import PRESETS
from common.config import ConfigError, save
from common.config import load as load_config
from common.synthetic import miniature
from common.training.checkpoint import CheckpointError, save_network
from common.weights import bundled


def test_it_separates_held_out_sounds(tmp_path):
    separator = clustering.load("mini")
    model = bundled.folder_of("clustering") / "mini"
    config = load_config(ClusteringConfig, model / "config.json")
    output = miniature.write_musdb(
        tmp_path / "new", seed=77, sample_rate=16000, train=1, test=4
    )
    tracks = corpus.tracks(config, output, "test")
    means = evaluate.evaluate(separator, tracks).summary
    assert means["vocals"]["si_sdr_improvement"] > 4
    assert means["drums+bass+other"]["si_sdr_improvement"] > 1
    assert means["all"]["si_sdr_improvement"] > 3


def test_small_complete_and_without_paths():
    folder = bundled.folder_of("clustering") / "mini"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    text = (folder / "config.json").read_text()
    assert '"output": null' in text
    assert '"root": null' in text
    card = (folder / "README.md").read_text()
    assert "Apache-2.0" in card
    assert " dB" in card


def test_a_run_is_bundled_and_its_card_is_kept(config, tmp_path):
    net = network(config)
    run, output = tmp_path / "run", tmp_path / "model"
    run.mkdir()
    save_network(run, net)
    save(replace(config, initial=str(tmp_path)), run / "config.json")
    bundle(run, output)
    for name in ("README.md", "learning.png", "old"):
        (output / name).write_text(name)
    bundle(run, output)
    assert str(tmp_path) not in (output / "config.json").read_text()
    actual = {path.name for path in output.iterdir()}
    kept = {"README.md", "card.json", "learning.png"}
    assert actual == kept | {"config.json", "weights.safetensors"}
    mixture = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 4000)).astype(np.float32)
    expected, got = (separate.load(folder)(mixture) for folder in (run, output))
    for name, estimate in expected.items():
        np.testing.assert_array_equal(got[name], estimate)


def test_a_large_model_is_not_bundled(tmp_path):
    config = replace(PRESETS["dpcl"], output=str(tmp_path))
    save(config, tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        bundle(tmp_path, tmp_path / "other")
    save_network(tmp_path, network(config))
    with pytest.raises(ConfigError, match="model has at most 1500000"):
        bundle(tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_speech2_makes_two_estimates_that_nearly_add_up_to_a_second():
    separator = clustering.load("speech2")
    rng = np.random.default_rng(0)
    mixture = rng.uniform(-0.1, 0.1, (1, separator.sample_rate)).astype(np.float32)
    estimates = separator(mixture)
    assert list(estimates) == ["source0", "source1"]
    rest = mixture - sum(estimates.values())
    assert np.square(rest).mean() < 0.1 * np.square(mixture).mean()


def test_the_card_of_speech2_states_scores_on_recordings():
    folder = bundled.folder_of("clustering") / "speech2"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6_000_000
    assert '"output": null' in (folder / "config.json").read_text()
    (score, *_) = json.loads((folder / "card.json").read_text())["scores"]
    assert score["recorded"]
    for value in score["values"].values():
        assert f"{value:.1f}" in (folder / "README.md").read_text()
