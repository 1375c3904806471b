"""Plan records: check tracks and their files before anything is written."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.audio.files import AudioInfo
from common.corpora import reading, waveforms
from common.corpora.track import Sound, Track
from common.records.format import BYTES_PER_SAMPLE, ENCODINGS, RecordsError

Probe = Callable[[Path], AudioInfo]

SHARD_BYTES = 128 * 2**20
"""Target size of a shard, in bytes of decoded samples."""
RECORD_BYTES = 2**31 - 2**16
"""Largest record; a serialized example is limited to 2 GiB."""


class Options(NamedTuple):
    """Options of a caller; None keeps the sample rate or channels of the tracks."""

    encoding: str
    piece_samples: int | None
    sample_rate: int | None
    channels: int | None


@dataclass(frozen=True)
class Plan:
    """Everything that determines the bytes of the records.

    Attributes:
        encoding: One of :data:`common.records.ENCODINGS`.
        piece_samples: Length of a chunk, or None if each track is one chunk.
        sample_rate: Rate of the records in Hz.
        channels: Channels of the records.
        sources: Names of all sources, in order of first appearance.
        tracks: The tracks.
        samples: Length of each track at ``sample_rate``.
        rates: Rate of each sound of each track, its mixture last.
        padded: Number of sounds that are shorter than their track.
        cut: Number of sounds that are longer than their track.
        misfit: The sound whose length differs most from that of its track, with both
            lengths; empty if all agree.
        shards: First and one past the last track of each shard.
        digest: SHA-256 of all of these, with size and time of every file.
    """

    encoding: str
    piece_samples: int | None
    sample_rate: int
    channels: int
    sources: tuple[str, ...]
    tracks: tuple[Track, ...]
    samples: tuple[int, ...]
    rates: tuple[tuple[int, ...], ...]
    padded: int
    cut: int
    misfit: str
    shards: tuple[tuple[int, int], ...]
    digest: str

    def part(self, number: int) -> Plan:
        """Return the plan of one shard, with its tracks alone."""
        first, end = self.shards[number]
        return replace(
            self,
            tracks=self.tracks[first:end],
            samples=self.samples[first:end],
            rates=self.rates[first:end],
            shards=((0, end - first),),
        )


class _Probed(NamedTuple):
    """Format of one sound, with a label for errors and an identity for the digest."""

    label: str
    sample_rate: int
    channels: int
    samples: int
    identity: tuple[object, ...]


class _Fit(NamedTuple):
    """A sound and its track, which has ``length`` samples at ``sample_rate``."""

    track: str
    length: int
    sound: _Probed
    sample_rate: int

    @property
    def excess(self) -> int:
        sound = self.sound
        samples = converted(sound.samples, sound.sample_rate, self.sample_rate)
        return samples - self.length


def make_plan(
    tracks: Iterable[Track], options: Options, shards: int | None, jobs: int
) -> Plan:
    """Check all tracks and their files, and return what to write.

    Args:
        tracks: The tracks.
        options: Encoding, chunk length, rate and channels.
        shards: Number of files, or None for files of about 128 MiB.
        jobs: Number of tracks probed in parallel, which does not change the plan.

    Returns:
        The plan.

    Raises:
        RecordsError: If the tracks do not fit together or an option is wrong.
    """
    tracks = tuple(tracks)
    _check_options(options, shards, jobs)
    _check_tracks(tracks)
    sample_rate = options.sample_rate or tracks[0].sample_rate
    probed = _probe_all(tracks, options, jobs)
    channels = options.channels or probed[0][0].channels
    _check_channels([sound for sounds in probed for sound in sounds], options, channels)
    names = tuple(dict.fromkeys(name for track in tracks for name in track.sources))
    lengths = tuple(
        converted(track.samples, track.sample_rate, sample_rate) for track in tracks
    )
    frame_bytes = BYTES_PER_SAMPLE[options.encoding] * channels * (len(names) + 1)
    _check_sizes(tracks, lengths, options.piece_samples, frame_bytes)
    fits = [
        _Fit(track.name, length, sound, sample_rate)
        for track, sounds, length in zip(tracks, probed, lengths, strict=True)
        for sound in sounds
    ]
    files = min(shards or -(-sum(lengths) * frame_bytes // SHARD_BYTES), len(tracks))
    settings = options, sample_rate, channels, names, files
    return Plan(
        encoding=options.encoding,
        piece_samples=options.piece_samples,
        sample_rate=sample_rate,
        channels=channels,
        sources=names,
        tracks=tracks,
        samples=lengths,
        rates=tuple(tuple(sound.sample_rate for sound in sounds) for sounds in probed),
        padded=sum(fit.excess < 0 for fit in fits),
        cut=sum(fit.excess > 0 for fit in fits),
        misfit=_mismatch(max(fits, key=lambda fit: abs(fit.excess))),
        shards=tuple(_even_parts(len(tracks), files)),
        digest=_digest(settings, tracks, probed),
    )


def converted(samples: int, source_rate: int, target_rate: int) -> int:
    """Return the length of a sound after resampling.

    Args:
        samples: Length at ``source_rate``.
        source_rate: Rate in Hz.
        target_rate: Rate in Hz.

    Returns:
        ``ceil(samples * target_rate / source_rate)``.

    >>> converted(44100, 44100, 16000), converted(1, 48000, 44100)
    (16000, 1)
    """
    return -(-samples * target_rate // source_rate)


def _digest(
    settings: Sequence[object],
    tracks: Sequence[Track],
    probed: Sequence[Sequence[_Probed]],
) -> str:
    """Hash what records depend on, without the folders: a corpus may be moved."""
    identity = [*settings]
    for track, sounds in zip(tracks, probed, strict=True):
        identity += [track.name, track.sample_rate, track.samples]
        identity += [sound[1:] for sound in sounds]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _mismatch(worst: _Fit) -> str:
    # Lengths at other rates are rounded up, by at most one sample.
    if abs(worst.excess) <= 1:
        return ""
    sound = worst.sound
    return (
        f"{sound.label} lasts {sound.samples / sound.sample_rate:.2f} s and its track "
        f"{worst.track!r} {worst.length / worst.sample_rate:.2f} s"
    )


def _even_parts(count: int, parts: int) -> Iterator[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    yield from itertools.pairwise(edges)


def _probe_all(
    tracks: tuple[Track, ...], options: Options, jobs: int
) -> list[list[_Probed]]:
    """Probe the sounds of each track, and check their rates."""
    every = [sound for track in tracks for sound in track.sounds]
    files = [file for sound in every for file in waveforms.files(sound)]
    probe = reading.measure(files).__getitem__
    with ThreadPoolExecutor(jobs) as pool:
        probed = list(pool.map(lambda track: _probe_track(track, probe), tracks))
    for track, sounds in zip(tracks, probed, strict=True):
        _check_rates(track, sounds, tracks[0], options)
    return probed


def _probe_track(track: Track, probe: Probe) -> list[_Probed]:
    roles = [*(f"source {name!r}" for name in track.sources), "mixture"]
    return [
        _probe_sound(track, role, sound, probe)
        for role, sound in zip(roles, track.sounds, strict=False)
    ]


def _probe_sound(track: Track, role: str, sound: Sound, probe: Probe) -> _Probed:
    if isinstance(sound, np.ndarray):
        label = f"track {track.name!r}, {role}"
        if sound.ndim != 2 or not np.issubdtype(sound.dtype, np.floating):
            raise RecordsError(
                f"{label} is an array {sound.dtype} {list(sound.shape)}, expected "
                "float32 [channels, samples] with full scale +-1; reshape or scale it."
            )
        content = hashlib.sha256(np.ascontiguousarray(sound).data).hexdigest()
        channels, samples = sound.shape
        array = (role, str(sound.dtype), content)
        return _Probed(label, track.sample_rate, channels, samples, array)
    info = waveforms.info(sound, track.sample_rate, probe)
    identity = (role, *waveforms.identity(sound))
    return _Probed(waveforms.label(sound), *info, identity)


def _check_options(options: Options, shards: int | None, jobs: int) -> None:
    if options.encoding not in ENCODINGS:
        raise RecordsError(
            f"encoding={options.encoding!r} is unknown; use one of "
            + ", ".join(ENCODINGS)
            + "."
        )
    numbers = {**options._asdict(), "shards": shards, "jobs": jobs}
    for key in ("piece_samples", "sample_rate", "channels", "shards", "jobs"):
        if numbers[key] is not None and numbers[key] < 1:
            raise RecordsError(
                f"{key}={numbers[key]} is not a positive number; give one, or None."
            )


def _check_tracks(tracks: tuple[Track, ...]) -> None:
    if not any(track.sources for track in tracks):
        raise RecordsError(
            f"There is nothing to write: {len(tracks)} tracks with no source among "
            "them; check the corpus and the split."
        )
    names: set[str] = set()
    for track in tracks:
        if track.name in names:
            raise RecordsError(
                f"Two tracks are named {track.name!r}; names must differ in one set."
            )
        names.add(track.name)
        if track.samples < 1 or not track.sounds:
            raise RecordsError(
                f"Track {track.name!r} has {track.samples} samples and "
                f"{len(track.sources)} sources; leave out what is empty."
            )


def _check_rates(
    track: Track, sounds: list[_Probed], first: Track, options: Options
) -> None:
    if options.sample_rate is not None:
        return
    if track.sample_rate != first.sample_rate:
        raise RecordsError(
            f"Track {track.name!r} has {track.sample_rate} Hz and track {first.name!r} "
            f"{first.sample_rate} Hz; sample_rate={first.sample_rate} resamples all."
        )
    for sound in sounds:
        if sound.sample_rate != track.sample_rate:
            raise RecordsError(
                f"{sound.label} has {sound.sample_rate} Hz where track {track.name!r} "
                f"says {track.sample_rate} Hz; sample_rate={track.sample_rate} "
                "resamples it."
            )


def _check_channels(sounds: list[_Probed], options: Options, channels: int) -> None:
    # One channel goes into any number by repetition, any number into one by the mean.
    fitting = {channels} if options.channels is None else {channels, 1}
    for sound in sounds:
        if channels == 1 and options.channels == 1:
            continue
        if sound.channels not in fitting:
            raise RecordsError(
                f"{sound.label} has {sound.channels} channels, expected {channels} as "
                f"in {sounds[0].label}; channels=1 mixes all down to one."
            )
    if options.encoding == "flac" and channels > 8:
        raise RecordsError(
            f"records_encoding=flac holds at most 8 channels, not {channels}; set "
            "records_encoding=pcm16."
        )


def _check_sizes(
    tracks: tuple[Track, ...],
    lengths: tuple[int, ...],
    piece_samples: int | None,
    frame_bytes: int,
) -> None:
    for track, samples in zip(tracks, lengths, strict=True):
        size = min(piece_samples or samples, samples) * frame_bytes
        if size > RECORD_BYTES:
            raise RecordsError(
                f"Track {track.name!r} would be a record of {size} bytes, more than "
                f"the {RECORD_BYTES} that one can hold; give piece_samples, such as "
                "six seconds."
            )
