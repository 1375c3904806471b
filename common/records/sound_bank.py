"""Sounds by number, read at any place in a graph: from wav files or from records.

Wav files that are all alike (16 bits or float, one rate, one number of channels) are
read as they lie. Any others are written once as records, one track a sound, so that a
mixture of several tracks reads only what is heard in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common import files, records
from common.audio.excerpts import WavFiles, layout
from common.config import ConfigError
from common.corpora import reading, waveforms
from common.corpora.track import Sound, Track

PIECE_SECONDS = 2


class _Heard(NamedTuple):
    label: str
    sample_rate: int
    channels: int


class Sounds:
    """A bank of sounds of one rate and number of channels.

    Attributes:
        sample_rate: Rate in Hz.
        channels: 1 or 2.
        samples: Length of each sound.
        scale: What makes samples that are read full scale +-1.
    """

    def __init__(
        self, source: WavFiles | records.Index, sample_rate: int, channels: int
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.source = source
        self.scale = source.scale if isinstance(source, WavFiles) else 1.0
        if isinstance(source, WavFiles):
            self.samples = np.array([each.samples for each in source.layouts], np.int64)
        else:
            self.samples = source.tables.samples

    @cached_property
    def digest(self) -> str:
        """Fingerprint of all sounds, by their content."""
        if isinstance(self.source, WavFiles):
            return _digest(self.source, waveforms.fingerprint)
        return self.source.digest

    @property
    def earlier_digest(self) -> str:
        """Fingerprint by the times of wav files, as releases up to 0.1.0 recorded it.

        It is that of the content where records are read.
        """
        if isinstance(self.source, WavFiles):
            return _digest(self.source, waveforms.modified)
        return self.source.digest

    def read(
        self, numbers: tf.Tensor, starts: tf.Tensor, samples: int | tf.Tensor
    ) -> tf.Tensor:
        """Read excerpts of sounds, inside a graph.

        Args:
            numbers: Numbers of the sounds, int64 [excerpts].
            starts: First samples, int64 [excerpts].
            samples: Length; the excerpts lie within their sounds.

        Returns:
            float32 [excerpts, channels, samples]; times ``scale`` full scale is +-1.
        """
        if isinstance(self.source, WavFiles):
            excerpts = self.source.excerpts(numbers, starts, samples)
            return excerpts[:, : self.channels]
        pairs = zip(tf.unstack(numbers), tf.unstack(starts), strict=True)
        read = [records.excerpt(self.source, *pair, samples) for pair in pairs]
        return tf.concat([each["sources"] for each in read], axis=0)

    @property
    def records(self) -> records.Index | None:
        """The records that are read, or None where wav files are."""
        return None if isinstance(self.source, WavFiles) else self.source


def open_sounds(
    named: Mapping[str, tuple[Sound, Track]],
    sample_rate: int,
    channels: int,
    *,
    resample: bool = False,
    downmix: bool = False,
    folder: Path | str | None = None,
    encoding: str = records.AUTO,
) -> Sounds:
    """Open sounds where they lie, or write them as records first.

    Args:
        named: Sounds by a name of their own, each with its track.
        sample_rate: Rate to read at, in Hz.
        channels: How many are wanted, 1 or 2; two as soon as one sound has them.
        resample: Whether other rates are converted, rather than refused.
        downmix: Never more channels than wanted: their mean is kept.
        folder: Where to write records, which are then made in any case; None reads wav
            files as they lie where that can be, else writes to the cache.
        encoding: Encoding of the records, which are then made in any case; ``"auto"``:
            from :func:`common.records.lossless`. Any other than that has a folder of
            its own beside ``folder``.

    Returns:
        The bank, numbered in the order given.

    Raises:
        ConfigError: A sound has another rate and ``resample`` is off.
        AudioError: A file cannot be read.
    """
    sounds = [sound for sound, _ in named.values()]
    heard = _hear(named)
    for each in heard:
        if each.sample_rate != sample_rate and not resample:
            raise ConfigError(
                f"{each.label} has {each.sample_rate} Hz, the model {sample_rate} Hz; "
                f"set resample=true, or model.sample_rate={each.sample_rate}"
            )
    # A mono model hears the channels of its corpus, and takes the mean of magnitudes.
    there = max(each.channels for each in heard)
    if not downmix:
        channels = min(2, max(channels, there))
    mixed = downmix and there > channels
    as_they_lie = not folder and not mixed and encoding == records.AUTO
    wav = _alike(sounds, sample_rate, channels) if as_they_lie else None
    if wav is not None:
        return Sounds(wav, sample_rate, channels)
    tracks = [
        Track(name, each.sample_rate, _length(sound, track, each), {"sound": sound})
        for (name, (sound, track)), each in zip(named.items(), heard, strict=True)
    ]
    default = records.lossless(sounds, sample_rate, channels)
    encoding = default if encoding == records.AUTO else encoding
    place = Path(folder or _default_folder(named, sample_rate, mixed))
    index = records.write(
        tracks,
        records.folder_of(place, encoding, default),
        encoding=encoding,
        piece_samples=PIECE_SECONDS * sample_rate,
        sample_rate=sample_rate,
        channels=channels,
    )
    return Sounds(index, sample_rate, channels)


def _hear(named: Mapping[str, tuple[Sound, Track]]) -> list[_Heard]:
    infos = reading.measure(
        file for sound, _ in named.values() for file in waveforms.files(sound)
    )
    heard = []
    for name, (sound, track) in named.items():
        info = waveforms.info(sound, track.sample_rate, infos.__getitem__)
        label = name if isinstance(sound, np.ndarray) else waveforms.label(sound)
        heard.append(_Heard(label, info.sample_rate, info.channels))
    return heard


def _alike(sounds: Sequence[Sound], rate: int, channels: int) -> WavFiles | None:
    """The sounds as wav files that can be read as they lie, if they are such."""
    files = [sound for sound in sounds if isinstance(sound, Path)]
    if len(files) < len(sounds):
        return None
    with ThreadPoolExecutor(reading.THREADS) as pool:
        layouts = [each for each in pool.map(layout, files) if each is not None]
    kinds = {(each.encoding, each.channels, each.sample_rate) for each in layouts}
    if len(layouts) < len(files) or len(kinds) > 1:
        return None
    _, there, sample_rate = kinds.pop()
    if sample_rate != rate or there < channels:
        return None
    return WavFiles(layouts)


def _length(sound: Sound, track: Track, heard: _Heard) -> int:
    if isinstance(sound, np.ndarray):
        return sound.shape[1]
    return -(-track.samples * heard.sample_rate // track.sample_rate)


def _digest(source: WavFiles, stamp: Callable[[Path], int | str]) -> str:
    """Digest of the names, sizes and stamps of all files."""
    paths = [each.path for each in source.layouts]
    with ThreadPoolExecutor(reading.THREADS) as pool:
        rows = list(pool.map(partial(waveforms.identity, stamp=stamp), paths))
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _default_folder(
    named: Mapping[str, tuple[Sound, Track]], rate: int, mixed: bool
) -> Path:
    places = [
        name if isinstance(sound, np.ndarray) else waveforms.label(sound)
        for name, (sound, _) in named.items()
    ]
    kind = f"{places} {rate}{' downmix' if mixed else ''}"
    digest = hashlib.sha256(kind.encode()).hexdigest()
    return files.cache_folder("records", f"sounds-{digest[:12]}")
