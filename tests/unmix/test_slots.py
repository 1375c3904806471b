"""Tracks too short for an excerpt: left out and told, or refused in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora.track import CorpusError
from unmix import data
from unmix.config import Network, UnmixConfig

CONFIG = UnmixConfig(
    model=Network(sample_rate=800, window_samples=16, hop_samples=8),
    dataset="trackfolder_fix",
    target_file="x.wav",
    interferer_files=("y.wav",),
    seq_dur=0.25,
)


def write(root: Path, *seconds: float) -> UnmixConfig:
    for split in ("train", "valid"):
        for place, length in enumerate(seconds):
            folder = root / split / f"song {place}"
            folder.mkdir(parents=True)
            for name in "xy":
                wave = np.full((round(length * 800), 2), 0.1)
                soundfile.write(folder / f"{name}.wav", wave, 800)
    return replace(CONFIG, root=str(root))


def test_short_tracks_are_left_out_and_named(tmp_path, capsys):
    train, valid = data.load(write(tmp_path, 0.25, 0.2, 0.3, 0.1))
    assert (train.rows, valid.rows) == (2, 4)
    assert (
        "leaving out 2 of 4 tracks of the split 'train', shorter than seq_dur (0.25 s),"
        " such as song 1 (0.20 s)"
    ) in capsys.readouterr().out


def test_only_short_tracks_are_an_error(tmp_path):
    with pytest.raises(
        CorpusError,
        match=r"no track is left: 2 of 2 .*shorter than seq_dur \(0.25 s\).*song 1, "
        r"lasts 0.20 s; lower seq_dur",
    ):
        data.load(write(tmp_path, 0.1, 0.2))


def test_only_short_sounds_of_one_source_are_an_error(tmp_path):
    for split in ("train", "valid"):
        for source, seconds in (("voice", 1.0), ("noise", 0.2)):
            folder = tmp_path / split / source
            folder.mkdir(parents=True)
            soundfile.write(folder / "a.wav", np.full((round(seconds * 800)), 0.1), 800)
    config = replace(
        CONFIG,
        dataset="sourcefolder",
        root=str(tmp_path),
        target_dir="voice",
        interferer_dirs=("noise",),
    )
    with pytest.raises(CorpusError, match="no track with noise is left: 1 of 2"):
        data.load(config)
