"""Write corpora: 16-bit sources whose mixture is exactly their sum."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

HEADROOM = 0.98
"""Largest peak of a source or a mixture, full scale 1."""


def quantise(sources: np.ndarray) -> np.ndarray:
    """Round sources to 16 bits so that neither they nor their sum can clip.

    All sources are scaled down by one factor if a peak would exceed 0.98, which keeps
    their relative levels. The mixture is the integer sum, so it is exact.

    Args:
        sources: [sources, samples] or [sources, channels, samples], full scale +-1.

    Returns:
        int16 of the same shape.

    >>> quantise(np.array([[0.5, 1.0], [0.5, 1.0]])).sum(axis=0).tolist()
    [16056, 32112]
    """
    peak = max(np.max(np.abs(sources)), np.max(np.abs(sources.sum(axis=0))))
    gain = min(1.0, HEADROOM / peak) if peak > 0 else 1.0
    return np.round(sources * (gain * 32767)).astype(np.int16)


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write 16-bit integers unchanged to a wav file; folders are made as needed.

    :mod:`common.audio` takes floating point, but here a file must hold exactly the
    integers that add up to the mixture.

    Args:
        path: The file.
        waveform: int16 [samples] or [channels, samples].
        sample_rate: In Hz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.atleast_2d(waveform).T.astype("<i2")
    with path.open("wb") as file, wave.open(file, "wb") as writer:
        writer.setnchannels(frames.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(frames.tobytes())
