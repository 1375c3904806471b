"""Read the waveforms of sounds: files, arrays, channels of files and sums."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path

import numpy as np

from common import audio
from common.corpora.track import Channel, CorpusError, Sound, Sum

SAMPLED_BYTES = 4096
SAMPLED_PARTS = 4
"""Length and number of the parts of a file that :func:`fingerprint` reads."""


def files(sound: Sound) -> tuple[Path, ...]:
    """Return the files of a sound; none for an array.

    >>> [file.name for file in files(Sum((Path("a.wav"), Channel(Path("b.wav"), 1))))]
    ['a.wav', 'b.wav']
    """
    if isinstance(sound, Sum):
        return tuple(file for part in sound.parts for file in files(part))
    if isinstance(sound, Channel):
        return (sound.file,)
    return (sound,) if isinstance(sound, Path) else ()


def label(sound: Sound) -> str:
    """Return the name of a sound for an error.

    >>> label(Sum((Path("a.wav"), Channel(Path("b.wav"), 1))))
    'a.wav + b.wav, channel 1'
    """
    if isinstance(sound, Sum):
        return " + ".join(map(label, sound.parts))
    if isinstance(sound, Channel):
        last = sound.channel + sound.count - 1
        more = f" to {last}" if sound.count > 1 else ""
        return f"{sound.file}, channel {sound.channel}{more}"
    return str(sound) if isinstance(sound, Path) else f"array {list(sound.shape)}"


def info(
    sound: Sound,
    sample_rate: int,
    probe: Callable[[Path], audio.AudioInfo] = audio.probe,
) -> audio.AudioInfo:
    """Return rate, channels and length of a sound.

    Args:
        sound: The sound.
        sample_rate: Rate of arrays, in Hz.
        probe: Function that returns those of a file, such as a look-up in a table.

    Returns:
        Sample rate in Hz, channels and samples; a sum is as long as its longest part.

    Raises:
        AudioError: A file cannot be read.
        CorpusError: A file has no such channel, or parts of a sum do not fit together.

    >>> info(Sum((np.zeros((1, 5)), np.zeros((2, 3)))), 8000)
    AudioInfo(sample_rate=8000, channels=2, samples=5)
    """
    if isinstance(sound, Sum):
        return _info_of_sum(
            sound, [info(part, sample_rate, probe) for part in sound.parts]
        )
    if isinstance(sound, Channel):
        of_file = probe(sound.file)
        last = sound.channel + sound.count - 1
        if not 0 <= sound.channel <= last < of_file.channels:
            raise CorpusError(
                f"{sound.file} has {of_file.channels} channels, so there is no channel "
                f"{last} (counted from 0); check the file."
            )
        return of_file._replace(channels=sound.count)
    if isinstance(sound, Path):
        return probe(sound)
    return audio.AudioInfo(sample_rate, *sound.shape)


def modified(file: Path) -> int:
    """Return the time at which a file was modified, in nanoseconds."""
    return file.stat().st_mtime_ns


def fingerprint(file: Path) -> str:
    """Return a digest of a file's first 4 KiB and of 4 KiB at each of its quarters.

    A copy or a new modification time keeps it; another recording changes it, also one
    of the same length. An edit between these parts that keeps the size of the file is
    not detected. 3,000 files take about 0.3 s from memory; each needs four reads.
    """
    content = hashlib.sha256()
    with file.open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        for part in range(SAMPLED_PARTS):
            opened.seek(size * part // SAMPLED_PARTS)
            content.update(opened.read(SAMPLED_BYTES))
    return content.hexdigest()


def identity(
    sound: Sound, stamp: Callable[[Path], int | str] = modified
) -> tuple[object, ...]:
    """Return what identifies a sound: the names, sizes and stamps of its files.

    The folder of a file is left out, because a corpus may be moved.

    Args:
        sound: The sound.
        stamp: Function that distinguishes files of one name and size: :func:`modified`,
            which reads nothing, or :func:`fingerprint`.
    """
    if isinstance(sound, Sum):
        return tuple(identity(part, stamp) for part in sound.parts)
    if isinstance(sound, Channel):
        count = (sound.count,) if sound.count > 1 else ()
        return (*identity(sound.file, stamp), sound.channel, *count)
    if isinstance(sound, Path):
        return (sound.name, sound.stat().st_size, stamp(sound))
    content = hashlib.sha256(np.ascontiguousarray(sound).data).hexdigest()
    return (str(sound.dtype), list(sound.shape), content)


def blocks(sound: Sound, block_samples: int) -> Iterator[np.ndarray]:
    """Yield the blocks of a sound, in the memory of one block of each part.

    Args:
        sound: The sound.
        block_samples: Length of every block but the last.

    Yields:
        Float [channels, at most block_samples], full scale +-1.

    Raises:
        AudioError: A file cannot be read.
        CorpusError: As :func:`info`.

    >>> both = Sum((np.ones((1, 3)), np.ones((2, 5))))
    >>> [block.tolist() for block in blocks(both, 4)]
    [[[2.0, 2.0, 2.0, 1.0], [2.0, 2.0, 2.0, 1.0]], [[1.0], [1.0]]]
    """
    if isinstance(sound, Sum):
        info(sound, 0)
        streams = [blocks(part, block_samples) for part in sound.parts]
        for parts in itertools.zip_longest(*streams):
            yield reduce(_add, [block for block in parts if block is not None])
    elif isinstance(sound, Channel):
        info(sound, 0)
        for block in audio.blocks(sound.file, block_samples):
            yield block[sound.channel : sound.channel + sound.count]
    elif isinstance(sound, Path):
        yield from audio.blocks(sound, block_samples)
    else:
        for start in range(0, sound.shape[1], block_samples):
            yield sound[:, start : start + block_samples]


def read(sound: Sound, sample_rate: int) -> tuple[np.ndarray, int]:
    """Read a sound from start to end.

    Args:
        sound: The sound.
        sample_rate: Rate of arrays, in Hz.

    Returns:
        Float [channels, samples], full scale +-1, and the sample rate in Hz.

    Raises:
        AudioError: A file cannot be read.
        CorpusError: As :func:`info`.
    """
    if isinstance(sound, np.ndarray):
        return sound, sample_rate
    if isinstance(sound, Path):
        return audio.read(sound)
    about = info(sound, sample_rate)
    chunks = list(blocks(sound, audio.CHUNK_SAMPLES))
    return np.concatenate(chunks, axis=1), about.sample_rate


def _info_of_sum(sound: Sum, infos: list[audio.AudioInfo]) -> audio.AudioInfo:
    # blocks() passes 0 as the rate of an array, which is that of its track.
    rates = {i.sample_rate for i in infos if i.sample_rate}
    channels = {i.channels for i in infos}
    if len(rates) > 1:
        text = " and ".join(f"{rate} Hz" for rate in sorted(rates))
        raise CorpusError(
            f"{label(sound)} cannot be added up: they have {text}; resample one."
        )
    if len(channels - {1}) > 1:
        text = " and ".join(map(str, sorted(channels)))
        raise CorpusError(
            f"{label(sound)} cannot be added up: they have {text} channels; expected "
            "equally many, or one; mix one of them down."
        )
    longest = max(i.samples for i in infos)
    return audio.AudioInfo(max(rates, default=0), max(channels), longest)


def _add(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Add two blocks; the shorter is padded, a single channel is added to each."""
    longest = max(one.shape[1], other.shape[1])
    first, second = (
        np.pad(block, [(0, 0), (0, longest - block.shape[1])]) for block in (one, other)
    )
    total: np.ndarray = first + second
    return total
