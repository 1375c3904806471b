"""Write corpora: 16-bit sources whose mixture is exactly their sum, and JAMS files."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HEADROOM = 0.98
"""Largest peak of a source or a mixture, full scale 1."""


class Event(NamedTuple):
    """Event of a soundscape, as long as the soundscape.

    Attributes:
        label: Its label.
        source_file: File that it was cut from.
        source_seconds: Its start in that file.
        snr_db: Its level against the first event, in dB.
    """

    label: str
    source_file: str
    source_seconds: float = 0.0
    snr_db: float = 0.0


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
    return to_int16(sources, headroom_gain(sources))


def headroom_gain(sources: np.ndarray) -> float:
    """Return the factor, at most 1, that keeps sources and their sum below 0.98.

    >>> headroom_gain(np.array([[0.25], [0.25]])), headroom_gain(np.array([[1.96]]))
    (1.0, 0.5)
    """
    peak = max(np.max(np.abs(sources)), np.max(np.abs(sources.sum(axis=0))))
    return float(min(1.0, HEADROOM / peak)) if peak > 0 else 1.0


def to_int16(sources: np.ndarray, gain: float) -> np.ndarray:
    """Return sources times a gain, rounded to 16 bits."""
    return np.round(sources * (gain * 32767)).astype(np.int16)


def write_sum(
    folder: Path,
    pattern: str,
    mixture: str,
    sources: Mapping[str, np.ndarray],
    sample_rate: int,
) -> None:
    """Write sources and their exact sum as 16-bit files below one folder.

    Args:
        folder: The folder; made as needed.
        pattern: Name of a file, with ``{}`` for the name of the source.
        mixture: Name of the mixture in ``pattern``.
        sources: Each [samples] or [channels, samples], full scale +-1.
        sample_rate: In Hz.
    """
    pcm = quantise(np.stack(list(sources.values())))
    # The sum fits 16 bits: quantise leaves room for it.
    waveforms = [pcm.sum(axis=0), *pcm]
    for name, waveform in zip((mixture, *sources), waveforms, strict=True):
        write_wav(folder / pattern.format(name), waveform, sample_rate)


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


def jams(
    events: Sequence[Event], seconds: float, paths: Mapping[str, object]
) -> dict[str, Any]:
    """Return the content of a JAMS file that Scaper writes about a soundscape.

    Args:
        events: The foreground events.
        seconds: Length of the soundscape and of its events.
        paths: Files of the soundscape and of its isolated events, as Scaper names them.
    """
    data = [
        {
            "time": 0.0,
            "duration": seconds,
            "value": {
                "label": event.label,
                "role": "foreground",
                "source_file": event.source_file,
                "source_time": event.source_seconds,
                "event_time": 0.0,
                "event_duration": seconds,
                "snr": event.snr_db,
                "pitch_shift": None,
                "time_stretch": None,
            },
            "confidence": 1.0,
        }
        for event in events
    ]
    labels = sorted({event.label for event in events})
    sandbox = {"scaper": {"fg_labels": labels, **paths}}
    scaper = {"namespace": "scaper", "data": data, "sandbox": sandbox}
    about = {"duration": seconds, "title": "", "jams_version": "0.3.4"}
    return {"annotations": [scaper], "file_metadata": about, "sandbox": {}}
