"""A corpus of noise and a configuration that train in seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from adversarial.config import TINY, Corpora
from common.training.schedule import Schedule

RATE = 8192


def write_songs(folder, names, seconds=1.0):
    """Write songs of a voice that hums and an accompaniment that hisses."""
    for number, name in enumerate(names):
        draw = np.random.default_rng(number + len(str(folder)))
        time = np.arange(int(seconds * RATE)) / RATE
        voice = 0.3 * np.sin(2 * np.pi * (300 + 90 * number) * time)
        hiss = draw.normal(0, 0.1, len(time))
        root = folder / name
        root.mkdir(parents=True)
        sounds = {"vocals": voice, "accompaniment": hiss, "mixture": voice + hiss}
        for role, sound in sounds.items():
            soundfile.write(root / f"{role}.wav", sound, RATE, "FLOAT")


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    """Folders of songs of one second: with their sources, and to be used without."""
    root = tmp_path_factory.mktemp("songs")
    for split, names in {"train": "abc", "valid": "d", "test": "e"}.items():
        write_songs(root / "paired" / split, names)
    write_songs(root / "unpaired", "xyz")
    return root


@pytest.fixture
def config(songs, tmp_path, monkeypatch):
    """Networks of a few filters, of which three steps are an epoch."""
    # The records of the same songs are written once.
    monkeypatch.setenv("SEPARATION_CACHE", str(songs / "cache"))
    model = replace(
        TINY.model_config,
        num_fft=64,
        num_hop=32,
        num_layers=1,
        initial_filters=2,
        disc_filters=2,
        batch_size=2,
        epoch_it=3,
        segment_seconds=0.5,
    )
    corpora = Corpora(
        paired="track_folders",
        data_root=str(songs / "paired"),
        unpaired="track_folders",
        unpaired_root=str(songs / "unpaired"),
    )
    return replace(
        TINY,
        train=Schedule(epochs=1, checkpoint_steps=2, log_steps=1),
        model_config=model,
        corpora=corpora,
        output=str(tmp_path / "run"),
    )
