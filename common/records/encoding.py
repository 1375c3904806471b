"""Choose the smallest lossless encoding of records, where the caller names none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from common.audio import plain_wav
from common.corpora import reading
from common.corpora.track import Channel, Sound, Sum

AUTO = "auto"
EXACT = ("PCM_16", "PCM_S8", "PCM_U8")
"""Encodings of files that 16-bit records keep bit for bit."""


def lossless(sounds: Iterable[Sound], sample_rate: int, channels: int) -> str:
    """Return the smallest encoding in which records keep every sample exactly.

    Args:
        sounds: All sounds to write.
        sample_rate: Rate of the records in Hz.
        channels: Number of channels of the records.

    Returns:
        ``"pcm16"`` if every file has at most 16 bits and none is resampled, mixed down
        or added to another one, else ``"float32"``.
    """
    files: dict[Path, bool] = {}
    for sound in sounds:
        # A sum of 16-bit files may exceed full scale.
        if isinstance(sound, np.ndarray | Sum):
            return "float32"
        file = sound.file if isinstance(sound, Channel) else sound
        files[file] = files.get(file, True) and isinstance(sound, Channel)
    exact = partial(_exact, sample_rate=sample_rate, channels=channels)
    rows = list(files.items())
    return "pcm16" if all(reading.in_batches(exact, rows)) else "float32"


def folder_of(folder: Path, encoding: str, default: str) -> Path:
    """Return the folder of records, with a suffix for any encoding but the default.

    >>> folder_of(Path("records/train"), "flac", "pcm16").name
    'train-flac'
    >>> folder_of(Path("records/train"), "pcm16", "pcm16").name
    'train'
    """
    return folder if encoding == default else Path(f"{folder}-{encoding}")


def _exact(
    rows: Sequence[tuple[Path, bool]], sample_rate: int, channels: int
) -> list[bool]:
    """Return whether 16 bits keep all files; some are read for a single channel."""
    formats = ((*_format(file), is_single) for file, is_single in rows)
    exact = (
        encoding in EXACT and rate == sample_rate and (single or count <= channels)
        for encoding, rate, count, single in formats
    )
    return [all(exact)]


def _format(file: Path) -> tuple[str, int, int]:
    """Return encoding, rate in Hz and channels, or ``""`` if libsndfile knows none."""
    head = plain_wav.read(file)
    if head is not None:
        return head.encoding, head.sample_rate, head.channels
    try:
        info = soundfile.info(file)
    except soundfile.LibsndfileError:
        return "", 0, 0
    return info.subtype, info.samplerate, info.channels
