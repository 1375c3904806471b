"""Tracks: a recording of music, speech or noise with known sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Channel:
    """One channel of a sound file, a sound of one channel.

    Attributes:
        file: The file.
        channel: Index of the channel, from 0.
    """

    file: Path
    channel: int


@dataclass(frozen=True)
class Sum:
    """A sum of sounds; shorter ones are silent after their end.

    Attributes:
        parts: Sounds of one rate, with one channel or the same number.
    """

    parts: tuple[Path | np.ndarray | Channel, ...]


Sound = Path | np.ndarray | Channel | Sum
"""A sound file, its samples (float32 [channels, samples], full scale +-1), a channel
of a file, or a sum of these; :mod:`common.corpora.waveforms` reads them."""


class CorpusError(ValueError):
    """A corpus folder with another layout than expected."""


@dataclass(frozen=True)
class Track:
    """A mixture with its sources, as files or as arrays.

    Attributes:
        name: Unique within its split, such as ``"example00012"``.
        sample_rate: Rate that the sounds are expected to have, in Hz.
        samples: Length of the track in samples at that rate.
        sources: Sound of each source by name, in the order of the corpus.
        mixture: Sound of the mixture, or None if it is the sum of the sources.
        speakers: Speaker of each source by its name, if the corpus names speakers.
    """

    name: str
    sample_rate: int
    samples: int
    sources: Mapping[str, Sound]
    mixture: Sound | None = None
    speakers: Mapping[str, str] = field(default_factory=dict)
