"""A miniature that is built in a moment, and networks that are trained in one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from common.synthetic import miniature
from unmix.config import TINY, Network, UnmixConfig, resolved

MICRO = Network(
    sample_rate=8000,
    window_samples=128,
    hop_samples=64,
    hidden_size=8,
    layers=2,
    bandwidth=4000.0,
)


@pytest.fixture
def folder(tmp_path):
    """A folder of one target as the original writes it."""
    golden = Path(__file__).parents[1] / "golden" / "unmix" / "original_micro"
    path = tmp_path / "original"
    path.mkdir()
    for name in ("vocals.pth", "vocals.json", "separator.json"):
        shutil.copyfile(golden / name, path / name)
    return path


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """A MUSDB18 folder of 3 + 1 tracks of one second."""
    folder = tmp_path_factory.mktemp("corpus") / "musdb"
    return miniature.write_musdb(
        folder, sample_rate=MICRO.sample_rate, seconds=1.0, train=3, test=1
    )


@pytest.fixture
def config(music, tmp_path) -> UnmixConfig:
    """The configuration of a run of two epochs of three steps."""
    schedule = replace(
        TINY.train, epochs=2, steps_per_epoch=3, checkpoint_steps=2, log_steps=1
    )
    config = replace(
        TINY,
        model=MICRO,
        train=schedule,
        target=("vocals",),
        data_root=str(music),
        output=str(tmp_path / "run"),
        segment_seconds=0.5,
        batch_size=2,
    )
    return resolved(config)
