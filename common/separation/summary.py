"""Summary of a separated file: levels and peaks of its stems, and the residual."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ACTIVE_DB = 20.0
"""Most that a window of an active stem lies below the loudest window of the stem."""
AUDIBLE_DB = 40.0
"""Most that it lies below the loudest window of the mixture."""


@dataclass(frozen=True)
class Activity:
    """Levels of a mixture and its stems over time.

    Attributes:
        window_seconds: Length of a window; the last one may be shorter.
        mixture_db: Mean power of the mixture in each window, in dB of full scale.
        stems_db: The same of each stem.
    """

    window_seconds: float
    mixture_db: Sequence[float]
    stems_db: Mapping[str, Sequence[float]]

    def intervals(self, stem: str) -> list[tuple[float, float]]:
        """List when a stem is active, as pairs of first and last second.

        In a window that is active the stem is at most 20 dB below its own loudest
        window and at most 40 dB below the loudest window of the mixture.

        >>> Activity(1.0, [0.0] * 4, {"a": [-9.0, -5.0, -30.0, -6.0]}).intervals("a")
        [(0.0, 2.0), (3.0, 4.0)]
        """
        levels = np.asarray(self.stems_db[stem])
        least = max(levels.max() - ACTIVE_DB, max(self.mixture_db) - AUDIBLE_DB)
        active = np.isfinite(levels) & (levels >= least)
        edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
        pairs = edges.reshape(-1, 2) * self.window_seconds
        return [(float(start), float(end)) for start, end in pairs]


@dataclass(frozen=True)
class Summary:
    """Summary of one separated file; its ``str`` is one line of text.

    Attributes:
        name: File name of the input.
        folder: Where the stems are.
        samples: Length of the stems, in samples.
        sample_rate: Rate of the stems, in Hz.
        elapsed_seconds: Time taken, reading and writing included.
        residual_db: Energy of the mixture minus the sum of all the model's sources,
            relative to the mixture: -inf where they are equal, inf where only the
            mixture is silent.
        peaks: Largest absolute sample of each stem, 1 is full scale.
        levels_db: Mean power of each stem, in dB of full scale.
        clipped: Samples of each stem that an integer format cut at full scale.
        channels: Channels of the stems.
        paths: Path of each stem.
        start_seconds: First second of the input that was separated.
        rest_of: Source whose stem is written beside the mixture minus that stem.
        latency_seconds: Sound between what was read and what was written at most, where
            stems could be read while they grew; else None.
        activity: Levels of mixture and stems over time; None where not asked for.
        streams: Audio streams of the input, of which the first was separated.
    """

    name: str
    folder: Path
    samples: int
    sample_rate: int
    elapsed_seconds: float
    residual_db: float
    peaks: Mapping[str, float]
    levels_db: Mapping[str, float]
    clipped: Mapping[str, int]
    channels: int
    paths: Mapping[str, Path]
    start_seconds: float = 0.0
    rest_of: str | None = None
    latency_seconds: float | None = None
    activity: Activity | None = None
    streams: int = 1

    def __str__(self) -> str:
        seconds = self.samples / self.sample_rate
        stems = f"{len(self.peaks)} stem{'s' if len(self.peaks) > 1 else ''}"
        length = f"{seconds:.1f} s" if seconds >= 0.1 else f"{self.samples} samples"
        if self.start_seconds:
            length += f" from {self.start_seconds:.1f} s on"
        line = (
            f"{self.name}: {stems} of {length} in {self.folder}, "
            f"{self._speed}, {self._residual}"
        )
        if self.rest_of:
            line += f", the rest is the mixture minus {self.rest_of}"
        if self.latency_seconds is not None:
            line += f", stems up to {self.latency_seconds:.2f} s behind the sound"
        cut = {name: count for name, count in self.clipped.items() if count}
        for name, count in cut.items():
            line += f", {count} samples of {name} clipped"
        if self.streams > 1:
            line += (
                f"; only the first of {self.streams} audio tracks was separated; to "
                "extract the second: ffmpeg -i FILE -map 0:a:1 track.wav"
            )
        return line

    @property
    def _speed(self) -> str:
        """Real-time factor, or the seconds of a sound too short for one."""
        seconds = self.samples / self.sample_rate
        if seconds < 1.0:
            return f"took {self.elapsed_seconds:.1f} s"
        return f"{self.elapsed_seconds / seconds:.2g} x real time"

    @property
    def _residual(self) -> str:
        if self.residual_db == -math.inf:
            return "sum of all sources equals the mixture"
        if self.residual_db == math.inf:
            return "the mixture is silent and the sources are not"
        return (
            f"sum of all sources differs from the mixture by {self.residual_db:.1f} dB"
        )


class Meter:
    """Accumulates the levels of mixture and sources over the chunks of a file.

    Args:
        sources: Number of the estimates.
        window_samples: Length of the windows of :meth:`levels_db`, if any.

    >>> meter = Meter(1, window_samples=8)
    >>> meter.add(np.full([2, 10], 1.0), np.full([1, 2, 10], 0.5))
    >>> meter.samples, float(meter.peaks[0]), round(meter.residual_db, 2)
    (10, 0.5, -6.02)
    >>> meter.levels_db().round(2).tolist()
    [[0.0, 0.0], [-6.02, -6.02]]
    """

    def __init__(self, sources: int, window_samples: int | None = None) -> None:
        self.samples = 0
        self.peaks = np.zeros(sources)
        self.window_samples = window_samples
        self._windows: list[np.ndarray] = []
        self._values = 0
        self._energies = np.zeros(sources)
        self._mixture = self._residual = 0.0

    def add(self, mixture: np.ndarray, estimates: np.ndarray) -> None:
        """Add a chunk [channels, n] and its estimates [sources, channels, n]."""
        if not mixture.size:
            return
        residual = mixture - estimates.sum(0, dtype=np.float64)
        if self.window_samples:
            self._add_windows(np.stack([mixture, *estimates]), self.window_samples)
        self.samples += mixture.shape[1]
        self._values += mixture.size
        self.peaks = np.maximum(self.peaks, np.abs(estimates).max((1, 2)))
        self._energies += np.square(estimates, dtype=np.float64).sum((1, 2))
        self._mixture += float(np.square(mixture, dtype=np.float64).sum())
        self._residual += float(np.square(residual).sum())

    def _add_windows(self, sounds: np.ndarray, window: int) -> None:
        """Add the powers of sounds [sounds, channels, n] to their windows."""
        powers = np.square(sounds, dtype=np.float64).mean(1)
        begun = self.samples % window
        starts = np.arange(window - begun, powers.shape[1], window)
        sums = np.add.reduceat(powers, np.concatenate([[0], starts]), axis=1).T
        if begun:
            self._windows[-1] += sums[0]
        self._windows.extend(sums[1:] if begun else sums)

    def levels_db(self) -> np.ndarray:
        """Return mean powers in dB of full scale, [mixture and sources, windows]."""
        window = self.window_samples or 1
        lengths = np.full(len(self._windows), window)
        lengths[-1] = self.samples - window * (len(lengths) - 1)
        powers = np.stack(self._windows, axis=1) / lengths
        with np.errstate(divide="ignore"):
            levels: np.ndarray = 10.0 * np.log10(powers)
        return levels

    def level_db(self, source: int) -> float:
        """Return the mean power of a source, in dB of full scale."""
        return _decibel(self._energies[source], self._values)

    @property
    def residual_db(self) -> float:
        """See :class:`Summary`."""
        return _decibel(self._residual, self._mixture)


def _decibel(part: float, whole: float) -> float:
    if not part:
        return -math.inf
    return 10 * math.log10(part / whole) if whole else math.inf
