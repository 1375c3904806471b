"""The models that learned from recordings separate offline, once installed."""

import json

import numpy as np
import pytest

import unmix
from common.weights import bundled

NAMES = {
    "singing": ("vocals", "accompaniment"),
    "enhance": ("speech", "noise"),
    "music4": ("vocals", "drums", "bass", "other"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_stems_of_a_second_are_its_sum(name):
    separator = unmix.load(name)
    assert separator.sources == NAMES[name]
    rng = np.random.default_rng(0)
    mixture = rng.uniform(-0.1, 0.1, (1, separator.sample_rate)).astype(np.float32)
    stems = separator(mixture)
    rest = mixture - sum(stems.values())
    assert np.square(rest).mean() < 0.01 * np.square(mixture).mean()
    powers = [np.square(stem).mean() for stem in stems.values()]
    assert max(powers) > 1.5 * min(powers) > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_small_with_a_card_and_without_paths(name):
    folder = bundled.folder_of("unmix") / name
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6_000_000
    for path in files:
        if path.name == "config.json":
            assert '"output": null' in path.read_text()
            assert 'root": null' in path.read_text()
    (score, *_) = json.loads((folder / "card.json").read_text())["scores"]
    assert score["recorded"]
    text = (folder / "README.md").read_text()
    for value in score["values"].values():
        assert f"{value:.1f}" in text
