"""Read sound files of any format, and write them whole or not at all.

libsndfile (soundfile) reads the formats that it supports fully, and ffmpeg through a
pipe all others (m4a, mp4, stems, wma, ...). Arrays are float32 [channels, samples],
full scale +-1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.audio.decoding import Sound, codec, decode, inspect, open_file
from common.audio.encoding import CHUNK_SAMPLES, FORMATS, Writer
from common.audio.headers import AudioError

Name = str | os.PathLike[str]
STEPS_PER_SECOND = 2
"""Positions in a second at which the loudest excerpt may begin."""

SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au"),
    *(".snd", ".caf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a"),
    *(".m4b", ".aac", ".ac3", ".eac3", ".dts", ".wma", ".wv", ".ape", ".tta", ".mka"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp"),
)
"""Suffixes of files that may hold sound; others in a folder are left out."""

CONTAINERS = {"WAVEX": "WAV", "RF64": "WAV"}
NAMES = {
    (file_format.container, file_format.subtype): name
    for name, file_format in FORMATS.items()
} | {
    ("WAV", "PCM_U8"): "wav16",
    ("FLAC", "PCM_S8"): "flac16",
    ("AIFF", "PCM_S8"): "aiff16",
    ("AIFF", "PCM_U8"): "aiff16",
    ("OGG", "OPUS"): "opus",
}
DEEPEST = {"WAV": "wav", "AIFF": "aiff32"}
"""Formats for all other samples in a container."""

CODECS = {"mp3": "mp3", "vorbis": "ogg", "opus": "opus", "aac": "m4a"}


class AudioInfo(NamedTuple):
    """Sample rate in Hz, number of channels and length in samples of a sound file."""

    sample_rate: int
    channels: int
    samples: int


def probe(path: Name, *, stream: int = 0) -> AudioInfo:
    """Return rate, channels and length of a sound file.

    Files that need ffmpeg are decoded once to count their samples, because their
    containers state only an approximate length.

    Args:
        path: The file.
        stream: Index of the audio stream in a container with several.

    Returns:
        Sample rate in Hz, channels and samples; at least one sample.

    Raises:
        AudioError: The file is missing, not audio, cut short or without a sample.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> write(file, np.zeros((2, 100), np.float32), 8000)
    >>> probe(file)
    AudioInfo(sample_rate=8000, channels=2, samples=100)
    """
    sound = inspect(Path(path), stream)
    return AudioInfo(sound.sample_rate, sound.channels, count(sound))


def count(sound: Sound) -> int:
    """Return the samples of a sound, which is decoded if its file does not state them.

    >>> count(Sound(Path("a.wav"), 8000, 2, 100, 0))
    100
    """
    if sound.samples is not None:
        return sound.samples
    return sum(chunk.shape[1] for chunk in decode(sound, CHUNK_SAMPLES, 0, None))


def read(
    path: Name, start: int = 0, samples: int | None = None, *, stream: int = 0
) -> tuple[np.ndarray, int]:
    """Read a sound file, or an excerpt of it, into memory.

    Args:
        path: The file.
        start: First sample, counted from 0.
        samples: Largest number of samples; None reads to the end.
        stream: Index of the audio stream in a container with several.

    Returns:
        Float32 [channels, samples] and the sample rate in Hz. Fewer samples than asked
        for come only where the file ends.

    Raises:
        AudioError: As `blocks`.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> write(file, np.full((1, 100), 0.5, np.float32), 8000)
    >>> read(file, start=10, samples=2)
    (array([[0.5, 0.5]], dtype=float32), 8000)
    """
    _check_range(path, start, samples)
    sound = inspect(Path(path), stream)
    chunks = decode(sound, CHUNK_SAMPLES, start, samples)
    if sound.samples is None:
        return np.concatenate(list(chunks), axis=1), sound.sample_rate
    there = max(0, sound.samples - start)
    waveform = np.empty((sound.channels, min(there, samples or there)), np.float32)
    filled = 0
    for chunk in chunks:
        waveform[:, filled : filled + chunk.shape[1]] = chunk
        filled += chunk.shape[1]
    return waveform[:, :filled], sound.sample_rate


def blocks(
    path: Name,
    block_samples: int,
    start: int = 0,
    samples: int | None = None,
    *,
    stream: int = 0,
) -> Iterator[np.ndarray]:
    """Read a sound file block by block, in the memory of one block.

    The joined blocks equal one long `read`, bit for bit.

    Args:
        path: The file.
        block_samples: Length of every block but the last.
        start: First sample, counted from 0.
        samples: Largest number of samples in all; None reads to the end.
        stream: Index of the audio stream in a container with several.

    Yields:
        Float32 [channels, at most block_samples], at least one of them.

    Raises:
        AudioError: The file is missing, not audio, damaged, cut short, without a sample
            from `start` on, holds NaN or infinite samples, or needs ffmpeg where there
            is none.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> write(file, np.zeros((2, 100), np.float32), 8000)
    >>> [block.shape for block in blocks(file, 64)]
    [(2, 64), (2, 36)]
    """
    _check_range(path, start, samples)
    if block_samples < 1:
        raise AudioError(f"block_samples is {block_samples}; it must be 1 or more.")
    yield from decode(inspect(Path(path), stream), block_samples, start, samples)


def _check_range(path: Name, start: int, samples: int | None) -> None:
    if start < 0 or (samples is not None and samples < 1):
        raise AudioError(
            f"{path} has no excerpt with start={start} and samples={samples}; "
            "start counts from 0 and samples is 1 or more."
        )


def write(
    path: Name,
    waveform: np.ndarray,
    sample_rate: int,
    format: str = "wav",  # noqa: A002
) -> None:
    """Write a sound file, whole or not at all.

    Args:
        path: The file, with the suffix of the format; replaced if it exists.
        waveform: Float [channels, samples], full scale +-1.
        sample_rate: In Hz.
        format: A key of `FORMATS`.

    Raises:
        AudioError: As `Writer`.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.flac")
    >>> write(file, np.zeros((1, 100), np.float32), 8000, "flac")
    >>> probe(file).samples
    100
    """
    channels = len(np.atleast_1d(waveform))
    with Writer(path, sample_rate, channels, format) as writer:
        writer.write(waveform)


def format_of(path: Name) -> str:
    """Return the key of `FORMATS` of a file's container and bit depth.

    A bit depth that cannot be written becomes the next higher one.

    Args:
        path: A sound file.

    Raises:
        AudioError: The file is not audio, or of a container that is not written.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> write(file, np.zeros((1, 100), np.float32), 8000, "wav24")
    >>> format_of(file)
    'wav24'
    """
    file = open_file(Path(path))
    if file is None:
        name = codec(Path(path))
        chosen, what = CODECS.get(name, ""), f"holds {name}"
    else:
        container = CONTAINERS.get(str(file.format), str(file.format))
        deepest = DEEPEST.get(container, "")
        chosen = NAMES.get((container, str(file.subtype)), deepest)
        what = f"is {file.format}"
        file.close()
    if not chosen:
        raise AudioError(
            f"{path} {what}, which is not written; expected a format of "
            f"{', '.join(FORMATS)}."
        )
    return chosen


def loudest(path: Name, seconds: float) -> int:
    """Find the excerpt with the most energy.

    Args:
        path: A sound file.
        seconds: Length of the excerpt.

    Returns:
        Its first sample, a multiple of half a second; 0 if the sound is shorter.

    Raises:
        AudioError: As `blocks`.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> write(file, np.repeat([[0.1, 0.5, 0.1]], 8000, 1), 8000)
    >>> loudest(file, seconds=1)
    8000
    """
    info = probe(path)
    step = max(1, info.sample_rate // STEPS_PER_SECOND)
    energies = [
        float(np.square(block, dtype=np.float64).sum()) for block in blocks(path, step)
    ]
    width = max(1, round(seconds * info.sample_rate / step))
    if width >= len(energies):
        return 0
    sums = np.convolve(energies, np.ones(width), "valid")
    start = int(np.argmax(sums)) * step
    return max(0, min(start, info.samples - round(seconds * info.sample_rate)))
