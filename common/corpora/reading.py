"""Reading corpora: folders that must be there, and the lengths of many files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from common import audio, plain_wav
from common.corpora import sound_files, waveforms
from common.corpora.track import Channel, CorpusError, Sum, Track

THREADS = 8
BATCH = 256
"""Files that a thread measures at once, because handing one over takes longer."""
FileSound = Path | Channel | Sum
"""A sound in files, so that its rate and length can be looked up."""
Item = TypeVar("Item")


def folder_of(corpus: str, place: Path, purpose: str) -> Path:
    """See that a folder is there.

    Args:
        corpus: Name of the layout, for the error.
        place: The folder.
        purpose: What it should hold, for the error.

    Raises:
        CorpusError: It is not there; the sentence tells what its parent holds.
    """
    if place.is_dir():
        return place
    near = place.parent
    while not near.is_dir():
        near = near.parent
    raise CorpusError(
        f"{corpus}: the folder {place} does not exist; it should hold {purpose}; "
        f"{near} holds {contents(near)}; check the root and the names."
    )


def contents(folder: Path) -> str:
    """Name the first five entries of a folder, for an error.

    >>> import tempfile
    >>> contents(Path(tempfile.mkdtemp()))
    'nothing'
    """
    held = sorted(each.name for each in folder.iterdir())
    return ", ".join(held[:5]) + (", ..." if len(held) > 5 else "") or "nothing"


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder by name, hidden and system ones left out."""
    inside = (each for each in folder.iterdir() if not sound_files.is_junk(each.name))
    return sorted(each for each in inside if each.is_dir())


def measure(files: Iterable[Path]) -> dict[Path, audio.AudioInfo]:
    """Find rate, channels and length of many files at once.

    Raises:
        AudioError: One of them cannot be read.
    """
    unique = list(dict.fromkeys(files))
    batches = [unique[at : at + BATCH] for at in range(0, len(unique), BATCH)]
    with ThreadPoolExecutor(THREADS) as pool:
        infos = [info for part in pool.map(_measure, batches) for info in part]
    return dict(zip(unique, infos, strict=True))


def missing(files: Iterable[Path]) -> set[Path]:
    """Find which of many files are not there, by one look into each of their folders.

    >>> missing([Path("not/there.wav")])
    {PosixPath('not/there.wav')}
    """
    folders: dict[str, set[str]] = {}
    lacking = set()
    for file in files:
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = names(folder)
        if name not in folders[folder]:
            lacking.add(file)
    return lacking


def _measure(files: Sequence[Path]) -> list[audio.AudioInfo]:
    plain = map(plain_wav.read, files)
    return [
        audio.AudioInfo(*head[:3]) if head else audio.probe(file)
        for file, head in zip(files, plain, strict=True)
    ]


def names(folder: Path | str) -> set[str]:
    """Name the files in a folder, if it is there; links that lead nowhere are none.

    >>> names("not/there")
    set()
    """
    try:
        with os.scandir(folder or os.curdir) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def make_tracks(
    laid_out: Iterable[tuple[str, Mapping[str, FileSound], FileSound | None]],
    *,
    longest: bool = False,
) -> list[Track]:
    """Make tracks as long as the shortest of their sounds, at the rate of the first.

    Args:
        laid_out: Name, sources and mixture of each track.
        longest: As long as the longest sound instead; shorter ones are silent after
            their end.

    Raises:
        AudioError: A file cannot be read.
    """
    rows = list(laid_out)
    every = [[*sources.values(), *([mix] if mix else [])] for _, sources, mix in rows]
    measured = measure(
        file for sounds in every for each in sounds for file in waveforms.files(each)
    )
    tracks = []
    for (name, sources, mixture), sounds in zip(rows, every, strict=True):
        infos = [waveforms.info(each, 0, measured.__getitem__) for each in sounds]
        rate = infos[0].sample_rate
        lengths = [-(-each.samples * rate // each.sample_rate) for each in infos]
        samples = max(lengths) if longest else min(lengths)
        tracks.append(Track(name, rate, samples, sources, mixture))
    return tracks


def divide(items: Sequence[Item], share: float, seed: int = 42) -> tuple[list, list]:
    """Part a list at random, always alike, keeping the order within the parts.

    Args:
        items: The list.
        share: Share of the second part, which gets at least one.
        seed: Seed of the division.

    Returns:
        The larger and the smaller part.

    >>> [len(part) for part in divide(range(20), 0.1)]
    [18, 2]
    """
    count = max(1, round(share * len(items)))
    chosen = set(np.random.default_rng(seed).permutation(len(items))[:count].tolist())
    first = [item for place, item in enumerate(items) if place not in chosen]
    return first, [items[place] for place in sorted(chosen)]
