"""The model in the package separates, offline and from any installation."""

import json
from dataclasses import replace

import numpy as np
import pytest

import mixit
from common import audio
from common.config import ConfigError, save
from common.corpora import fuss
from common.synthetic import miniature
from mixit import weights
from mixit.config import FUSS
from mixit.convert import bundle


def test_two_sounds_are_separated(tmp_path):
    separator = mixit.load("mini")
    corpus = miniature.write_fuss(
        tmp_path / "fuss", seed=5, seconds=4.0, train=1, validation=1, eval=12
    )
    gains = []
    for track in fuss.tracks(corpus, "eval"):
        sources = np.stack([audio.read(path)[0][0] for path in track.sources.values()])
        if len(sources) < 2:
            continue
        mixture = sources.sum(0)
        outputs = [out[0] for out in separator(mixture[np.newaxis]).values()]
        for source in sources:
            best = max(_si_sdr(source, output) for output in outputs)
            gains.append(best - _si_sdr(source, mixture))
    assert len(gains) >= 12
    assert np.mean(gains) > 3


def _si_sdr(reference, estimate):
    scaled = reference * (reference @ estimate) / (reference @ reference)
    return 10 * np.log10((scaled @ scaled) / np.square(estimate - scaled).sum())


def test_small_and_without_paths():
    folder = weights.locate("mini").path
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 3_000_000
    assert '"output": null' in (folder / "config.json").read_text()


def test_a_run_is_bundled(run, tmp_path):
    bundle(run, tmp_path / "other")
    mixture = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 4000)).astype(np.float32)
    expected, got = (
        mixit.load(folder)(mixture) for folder in (run, tmp_path / "other")
    )
    for name, estimate in expected.items():
        np.testing.assert_array_equal(got[name], estimate)


def test_a_large_model_is_not_bundled(tmp_path):
    save(replace(FUSS, output="x"), tmp_path / "config.json")
    with pytest.raises(ConfigError, match="9067009 weights; a bundled model has at"):
        bundle(tmp_path, tmp_path / "other")


@pytest.mark.parametrize(("name", "count"), [("mini", 4), ("universal", 3)])
def test_the_outputs_add_up_to_a_second_of_sound(name, count):
    separator = mixit.load(name)
    rng = np.random.default_rng(0)
    mixture = rng.uniform(-0.1, 0.1, (2, separator.sample_rate)).astype(np.float32)
    outputs = separator(mixture)
    assert len(outputs) == count
    np.testing.assert_allclose(sum(outputs.values()), mixture, atol=1e-5)
    powers = [np.square(output).mean() for output in outputs.values()]
    assert max(powers) > 2 * min(powers)


def test_the_card_of_universal_states_scores_on_recordings():
    folder = weights.locate("universal").path
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 6_000_000
    assert '"output": null' in (folder / "config.json").read_text()
    assert '"data_root": null' in (folder / "config.json").read_text()
    (score, *_) = json.loads((folder / "card.json").read_text())["scores"]
    assert score["recorded"]
    for value in score["values"].values():
        assert f"{value:.1f}" in (folder / "README.md").read_text()
