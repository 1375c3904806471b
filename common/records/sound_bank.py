"""Sounds by number, read at any offset inside a graph: from wav files or from records.

Wav files of one format (16 bits or float, one rate, one number of channels) are read
directly. Any others are written once as records, each sound as a track, so that a
mixture of several tracks reads only the excerpts in it.
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

CHUNK_SECONDS = 2


class _Format(NamedTuple):
    label: str
    sample_rate: int
    channels: int


class Sounds:
    """A bank of sounds of one rate and number of channels.

    Attributes:
        sample_rate: Rate in Hz.
        channels: 1 or 2.
        samples: Length of each sound.
        scale: Factor that brings the samples of :meth:`read` to full scale +-1.
    """

    def __init__(
        self, source: WavFiles | records.Index, sample_rate: int, channels: int
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.source = source
        self.scale = source.scale if isinstance(source, WavFiles) else 1.0
        if isinstance(source, WavFiles):
            self.samples = np.array([wav.samples for wav in source.layouts], np.int64)
        else:
            self.samples = source.tables.samples

    @cached_property
    def digest(self) -> str:
        """Digest of the content of all sounds."""
        if isinstance(self.source, WavFiles):
            return _digest(self.source, waveforms.fingerprint)
        return self.source.digest

    @property
    def earlier_digest(self) -> str:
        """Digest of the modification times of wav files, as releases up to 0.1.0 had.

        For records it is the digest of their content.
        """
        if isinstance(self.source, WavFiles):
            return _digest(self.source, waveforms.modified)
        return self.source.digest

    def read(
        self, numbers: tf.Tensor, starts: tf.Tensor, samples: int | tf.Tensor
    ) -> tf.Tensor:
        """Return excerpts of sounds, inside a graph.

        Args:
            numbers: Numbers of the sounds, int64 [excerpts].
            starts: First samples, int64 [excerpts].
            samples: Length; the excerpts must lie within their sounds.

        Returns:
            float32 [excerpts, channels, samples]; times ``scale`` full scale is +-1.
        """
        if isinstance(self.source, WavFiles):
            excerpts = self.source.excerpts(numbers, starts, samples)
            return excerpts[:, : self.channels]
        pairs = zip(tf.unstack(numbers), tf.unstack(starts), strict=True)
        read = [records.excerpt(self.source, *pair, samples) for pair in pairs]
        return tf.concat([example["sources"] for example in read], axis=0)

    @property
    def records(self) -> records.Index | None:
        """The records of the bank, or None if it reads wav files."""
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
    """Return a bank of wav files, or of records that are written first.

    Args:
        named: Sounds by unique names, each with its track.
        sample_rate: Rate to read at, in Hz.
        channels: Least number of channels, 1 or 2; two as soon as one sound has two.
        resample: Convert sounds of other rates instead of raising.
        downmix: Keep to ``channels``: the mean of more channels is taken.
        folder: Folder of the records, which are then always written; None reads wav
            files directly if possible, else writes records to the cache.
        encoding: Encoding of the records, which are then always written; ``"auto"``
            takes that of :func:`common.records.lossless`. Any other encoding than that
            has its own folder beside ``folder``.

    Returns:
        The bank, numbered in the order of ``named``.

    Raises:
        ConfigError: A sound has another rate and ``resample`` is off, or one has
            more than two channels and ``downmix`` is off.
        AudioError: A file cannot be read.
    """
    sounds = [sound for sound, _ in named.values()]
    formats = _formats(named)
    for stored in formats:
        if stored.sample_rate != sample_rate and not resample:
            raise ConfigError(
                f"{stored.label} has {stored.sample_rate} Hz, the model {sample_rate} "
                f"Hz; set resample=true, or sample_rate={stored.sample_rate}"
            )
    # A mono model reads all channels of its corpus, and averages their magnitudes.
    most = max(stored.channels for stored in formats)
    if not downmix:
        _expect_stereo(formats)
        channels = max(channels, most)
    mixed = downmix and most > channels
    may_read_wav = not folder and not mixed and encoding == records.AUTO
    wav = _wav_files(sounds, sample_rate, channels) if may_read_wav else None
    if wav is not None:
        return Sounds(wav, sample_rate, channels)
    tracks = [
        Track(name, stored.sample_rate, _length(sound, track, stored), {"sound": sound})
        for (name, (sound, track)), stored in zip(named.items(), formats, strict=True)
    ]
    default = records.lossless(sounds, sample_rate, channels)
    encoding = default if encoding == records.AUTO else encoding
    folder = Path(folder or _default_folder(formats, sample_rate, mixed))
    index = records.write(
        tracks,
        records.folder_of(folder, encoding, default),
        encoding=encoding,
        piece_samples=CHUNK_SECONDS * sample_rate,
        sample_rate=sample_rate,
        channels=channels,
    )
    return Sounds(index, sample_rate, channels)


def _formats(named: Mapping[str, tuple[Sound, Track]]) -> list[_Format]:
    infos = reading.measure(
        file for sound, _ in named.values() for file in waveforms.files(sound)
    )
    formats = []
    for name, (sound, track) in named.items():
        info = waveforms.info(sound, track.sample_rate, infos.__getitem__)
        label = name if isinstance(sound, np.ndarray) else waveforms.label(sound)
        formats.append(_Format(label, info.sample_rate, info.channels))
    return formats


def _expect_stereo(formats: Sequence[_Format]) -> None:
    for stored in formats:
        if stored.channels > 2:
            raise ConfigError(
                f"{stored.label} has {stored.channels} channels, expected 2 at most; "
                "convert it to stereo, or take its first two channels (in unmix by "
                "source_augmentations=force_stereo)"
            )


def _wav_files(sounds: Sequence[Sound], rate: int, channels: int) -> WavFiles | None:
    """Return the sounds as wav files of one format, or None if they are none."""
    files = [sound for sound in sounds if isinstance(sound, Path)]
    if len(files) < len(sounds):
        return None
    with ThreadPoolExecutor(reading.THREADS) as pool:
        layouts = [wav for wav in pool.map(layout, files) if wav is not None]
    formats = {(wav.encoding, wav.channels, wav.sample_rate) for wav in layouts}
    if len(layouts) < len(files) or len(formats) > 1:
        return None
    _, file_channels, sample_rate = formats.pop()
    if sample_rate != rate or file_channels < channels:
        return None
    return WavFiles(layouts)


def _length(sound: Sound, track: Track, sound_format: _Format) -> int:
    if isinstance(sound, np.ndarray):
        return int(sound.shape[1])
    return -(-track.samples * sound_format.sample_rate // track.sample_rate)


def _digest(source: WavFiles, stamp: Callable[[Path], int | str]) -> str:
    """Return the digest of the names, sizes and stamps of all files."""
    paths = [stored.path for stored in source.layouts]
    with ThreadPoolExecutor(reading.THREADS) as pool:
        rows = list(pool.map(partial(waveforms.identity, stamp=stamp), paths))
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _default_folder(formats: Sequence[_Format], rate: int, mixed: bool) -> Path:
    labels = [stored.label for stored in formats]
    identity = f"{labels} {rate}{' downmix' if mixed else ''}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return files.cache_folder("records", f"sounds-{digest[:12]}")
