"""Compact waveform and spectrogram of a stem, for the page to draw."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from common import audio

COLUMNS = 1200
"""Columns of the waveform; a shorter sound has one for each sample."""

FRAMES = 600
BANDS = 96
WINDOW_SAMPLES = 4096
LOWEST_HERTZ = 40.0
FLOOR_DB = -80.0
BLOCK_SAMPLES = 1 << 18


def overview(path: Path) -> dict[str, Any]:
    """Compute the waveform and the spectrogram of a stem.

    Args:
        path: A wav, float [channels, samples].

    Returns:
        ``peaks``: largest absolute sample of each column, 0 to 1 or above;
        ``spectrogram``: base64 of uint8 [frames, bands], 0 at -80 dB of full scale or
        below, 255 at 0 dB, bands spaced by the logarithm of frequency from the lowest;
        ``frames`` and ``bands``.
    """
    info = audio.probe(path)
    starts = _starts(info.samples)
    edges = _edges(info.sample_rate)
    columns = min(COLUMNS, info.samples)
    peaks = np.zeros(columns)
    levels = np.zeros([len(starts), BANDS])
    position, tail = 0, np.zeros(0, np.float32)
    for block in audio.blocks(path, BLOCK_SAMPLES):
        _raise_peaks(peaks, block, position, info.samples)
        # Frames may reach back into the block before.
        mono = np.concatenate([tail, block.mean(0)])
        first = position - len(tail)
        position += block.shape[1]
        last = position == info.samples
        for index in np.flatnonzero((starts >= first) & (starts < position)):
            frame = mono[starts[index] - first :][:WINDOW_SAMPLES]
            if len(frame) == WINDOW_SAMPLES or last:
                levels[index] = _bands(frame, edges)
        tail = mono[-WINDOW_SAMPLES:]
    decibels = 10 * np.log10(np.maximum(levels, 1e-12))
    shades = np.clip((decibels - FLOOR_DB) / -FLOOR_DB, 0, 1) * 255
    return {
        "peaks": np.round(peaks, 4).tolist(),
        "frames": len(starts),
        "bands": BANDS,
        "spectrogram": base64.b64encode(shades.astype(np.uint8).tobytes()).decode(),
    }


def _starts(samples: int) -> np.ndarray:
    """First sample of each frame, spread over the sound."""
    last = max(0, samples - WINDOW_SAMPLES)
    return np.unique(np.linspace(0, last, FRAMES).astype(int))


def _edges(sample_rate: int) -> np.ndarray:
    """Bins at which the bands begin and end, each at least one bin wide."""
    hertz = np.geomspace(LOWEST_HERTZ, sample_rate / 2, BANDS + 1)
    bins = np.round(hertz * WINDOW_SAMPLES / sample_rate).astype(int)
    return np.clip(bins, 0, WINDOW_SAMPLES // 2)


def _bands(frame: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Largest power of each band; a full-scale sine has 1."""
    window = np.hanning(len(frame) + 2)[1:-1]
    spectrum = np.abs(np.fft.rfft(frame * window, WINDOW_SAMPLES)) / (window.sum() / 2)
    return np.maximum.reduceat(np.square(spectrum), edges[:-1])


def _raise_peaks(
    peaks: np.ndarray, block: np.ndarray, position: int, samples: int
) -> None:
    """Raise the columns that a block covers, in place."""
    first = position * len(peaks) // samples
    last = (position + block.shape[1] - 1) * len(peaks) // samples
    columns = np.arange(first, last + 1)
    begin = -(-columns * samples // len(peaks)) - position
    highest = np.maximum.reduceat(np.abs(block).max(0), np.maximum(begin, 0))
    peaks[columns] = np.maximum(peaks[columns], highest)
