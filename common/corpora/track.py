"""Tracks: a recording of music, speech or noise with known sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Channel:
    """One channel of a sound file, or several consecutive ones.

    Attributes:
        file: The file.
        channel: Index of the first channel, from 0.
        count: Number of channels.
    """

    file: Path
    channel: int
    count: int = 1


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


CorpusName = Literal[
    "fuss",
    "musdb",
    "moisesdb",
    "dsd100",
    "ccmixter",
    "mir1k",
    "slakh",
    "remixpacks600",
    "wsj0_2mix",
    "wsj0_3mix",
    "wham",
    "scaper",
    "mix_folders",
    "song_folders",
]
"""Names of the corpora in :mod:`common.corpora.catalogue`."""


class CorpusError(ValueError):
    """A corpus folder with another layout than expected."""


class BadTrack(NamedTuple):
    """A track that is left out, with a sentence that says why."""

    name: str
    reason: str


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

    @property
    def sounds(self) -> list[Sound]:
        """Sounds of the sources, and then of the mixture if it has its own.

        >>> Track("a", 8000, 9, {"x": Path("x.wav")}, Path("mix.wav")).sounds
        [PosixPath('x.wav'), PosixPath('mix.wav')]
        """
        mixture = [] if self.mixture is None else [self.mixture]
        return [*self.sources.values(), *mixture]


@dataclass(frozen=True)
class Options:
    """Options of reading a corpus, besides its folder and split.

    Attributes:
        sample_rate: Rate in Hz to choose, if the corpus has folders of several rates.
        length: ``"min"`` or ``"max"``, for mixtures of speakers.
        task: Mixtures of WHAM!, such as ``"mix_both"``.
        skip: Leave out tracks that lack a file, with a warning, instead of raising.
        is_wav: Read only the wav files of MUSDB18, not its stem files.
        allow_cut: Cut a track to its shortest file, even if much of it is lost.
        noise: Make the noise of WHAM! a source too.
    """

    sample_rate: int = 8000
    length: str = "min"
    task: str = "mix_both"
    skip: bool = False
    is_wav: bool = False
    allow_cut: bool = False
    noise: bool = False
