"""The examples of an evaluation: which they are, and their sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.audio.resample import resample
from common.corpora import fuss, waveforms
from common.corpora.track import CorpusError, Track

Group = Sequence[Track]
"""Tracks whose mixtures are added up, or one track whose sources are mixtures."""


def listed(path: str | Path) -> tuple[Path, str]:
    """Take the name of an example list apart into a corpus folder and its split.

    Raises:
        CorpusError: The file is not named as a list of a split.

    >>> listed("fuss/ssdata/eval_example_list.txt")[1]
    'eval'
    """
    path = Path(path)
    splits = {fuss.list_name(split): split for split in fuss.SPLITS}
    if path.name not in splits:
        raise CorpusError(f"{path} is no example list; expected {', '.join(splits)}")
    return path.parent, splits[path.name]


def cut(tracks: Sequence[Track], seconds: float | None) -> list[Track]:
    """Have tracks padded or cut to a length when they are read; None leaves theirs.

    Raises:
        CorpusError: The length is less than a sample.
    """
    if seconds is None:
        return list(tracks)
    lengths = [round(seconds * track.sample_rate) for track in tracks]
    if min(lengths, default=1) < 1:
        raise CorpusError(f"examples of {seconds:g} s: expected at least one sample")
    return [replace(t, samples=n) for t, n in zip(tracks, lengths, strict=True)]


def read_sources(track: Track, sample_rate: int) -> np.ndarray:
    """Read a track's sources as one channel at a rate; [sources, samples]."""
    sources = []
    for sound in track.sources.values():
        waveform, rate = waveforms.read(sound, track.sample_rate)
        mono = waveform.mean(axis=0, keepdims=True)[:, : track.samples]
        missing = track.samples - mono.shape[1]
        padded = np.pad(mono, [(0, 0), (0, missing)])
        sources.append(resample(padded, rate, sample_rate)[0])
    return np.stack(sources)


def pairs(tracks: Sequence[Track]) -> list[Group]:
    """Pair neighbours of a list; a last one without a neighbour is left out."""
    return list(zip(tracks[::2], tracks[1::2], strict=False))


def of_mixtures(tracks: Sequence[Track]) -> list[Group]:
    """Take tracks for mixtures of mixtures: their sources are two mixtures.

    Raises:
        CorpusError: A track has another number of sources.
    """
    for track in tracks:
        if len(track.sources) != 2:
            raise CorpusError(
                f"{track.name} has {len(track.sources)} sources; a mixture of mixtures "
                "has two, its mixtures"
            )
    return [(track,) for track in tracks]


def read_mixtures(group: Group, sample_rate: int) -> np.ndarray:
    """Read the mixtures of a group [mixtures, samples], short ones zero padded."""
    if len(group) == 1:
        return read_sources(group[0], sample_rate)
    mixtures = [read_sources(track, sample_rate).sum(axis=0) for track in group]
    longest = max(map(len, mixtures))
    return np.stack([np.pad(each, (0, longest - len(each))) for each in mixtures])


def group_name(group: Group) -> str:
    """Name a group after its tracks."""
    return "+".join(track.name for track in group)
