"""Three speakers at once: the same commands as for two."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clustering import corpus, evaluate, separate
from clustering.train import build
from common import audio, training
from common.corpora.track import CorpusError
from common.synthetic import miniature


@pytest.fixture
def three(config, tmp_path):
    """A configuration of three sources on mixtures of three speakers."""
    folder = miniature.write_wsj0_3mix(tmp_path / "w", train=4, validation=2, test=1)
    return replace(
        config,
        dataset="wsj0_3mix",
        data_root=str(folder),
        spectral=replace(config.spectral, sources=3),
        cluster=replace(config.cluster, sources=3),
        tasnet=replace(config.tasnet, sources=3),
        train=replace(config.train, steps_per_epoch=1, checkpoint_steps=1),
    )


def test_three_speakers_are_loaded_trained_on_and_separated(three):
    (track,) = corpus.tracks(three, corpus.root(three), "test")
    waves = [audio.read(file)[0] for file in track.sources.values()]
    assert list(track.sources) == ["s1", "s2", "s3"]
    np.testing.assert_array_equal(sum(waves), audio.read(track.mixture)[0])
    training.train(three, build)
    mixture = audio.read(track.mixture, 0, 3000)[0]
    estimates = separate.load(three.output)(mixture)
    assert len(estimates) == 3
    assert all(each.shape == (1, 3000) for each in estimates.values())
    assert min(float(np.square(each).sum()) for each in estimates.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpcl", "mask_inference", "tasnet"])
def test_three_speakers_are_scored(three, kind):
    config = replace(three, kind=kind)
    training.train(config, build)
    assert evaluate.main([config.output]) == 0
    summary = json.loads((Path(config.output) / "evaluation/summary.json").read_text())
    assert summary["all"]["count"] == 3


def test_two_and_three_speakers_are_not_confused(three, speakers):
    two = replace(three, dataset="wsj0_2mix")
    with pytest.raises(CorpusError, match="holds s3, so its mixtures are of more"):
        corpus.tracks(two, Path(str(three.data_root)), "test")
    with pytest.raises(CorpusError, match="WSJ0-3mix"):
        corpus.tracks(three, speakers, "test")
