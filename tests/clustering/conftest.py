"""A corpus and a configuration that train in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from clustering.config import Clustering
from clustering.models.network import network
from clustering.models.shapes import ConvTasnet, Features, Filterbank, Recurrent, Tasnet
from clustering.presets import TINY
from common.config import save
from common.synthetic import miniature
from common.training.checkpoint import save_network
from common.training.schedule import Schedule

STACK = Recurrent(hidden=8, layers=1, dropout=0.0)


@pytest.fixture(scope="session")
def speakers(tmp_path_factory):
    """A folder of mixtures of two speakers."""
    root = tmp_path_factory.mktemp("speakers") / "corpus"
    return miniature.WRITERS["wsj0_2mix"](root, train=6, validation=2, test=2)


@pytest.fixture
def config(speakers, tmp_path, monkeypatch):
    """The small network in miniature, of which four steps are an epoch."""
    # The records of the same mixtures are written once.
    monkeypatch.setenv("SEPARATION_CACHE", str(speakers.parent / "cache"))
    return replace(
        TINY,
        train=Schedule(epochs=1, steps_per_epoch=4, checkpoint_steps=2, log_steps=2),
        spectral=replace(TINY.spectral, features=Features(bins=33), recurrent=STACK),
        tasnet=Tasnet(Filterbank(16, 40, 20), STACK),
        conv_tasnet=ConvTasnet(
            Filterbank(16, 16, 8), bottleneck=8, hidden=8, skip=8, blocks=2, repeats=1
        ),
        cluster=Clustering(percentile=80.0, mask="binary"),
        window_samples=64,
        hop_samples=16,
        data_root=str(speakers),
        output=str(tmp_path / "run"),
        segment_seconds=0.1,
        batch_size=2,
    )


@pytest.fixture
def save_run():
    """Function that writes the run folder of an untrained network."""

    def write(config):
        folder = Path(config.output)
        folder.mkdir(parents=True, exist_ok=True)
        save(config, folder / "config.json")
        save_network(folder, network(config))
        return folder

    return write


@pytest.fixture
def run(config, save_run):
    """A run folder of an untrained network."""
    return save_run(config)
