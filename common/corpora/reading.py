"""Reading corpora: folders that must be there, and the lengths of many files."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from common import audio
from common.audio import plain_wav
from common.corpora import sound_files, waveforms
from common.corpora.track import Channel, CorpusError, Sum, Track

LOG = logging.getLogger(__name__)

THREADS = 8
BATCH = 256
"""Files that a thread measures at once, because handing one over takes longer."""
LOSS_SHARE = 0.05
"""Share of its longest sound that a track may lose to its shortest one."""
LOSS_SECONDS = 0.5
"""What a track may lose even where that is a larger share."""
_may_cut: ContextVar[bool] = ContextVar("may_cut", default=False)
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


@contextmanager
def cutting(allow: bool) -> Iterator[None]:
    """Let the tracks that are made within lose any length to their shortest sound.

    Args:
        allow: Whether they may; else what is allowed around stays.
    """
    token = _may_cut.set(allow or _may_cut.get())
    try:
        yield
    finally:
        _may_cut.reset(token)


def may_cut() -> bool:
    """Say whether tracks may lose any length to their shortest sound."""
    return _may_cut.get()


def make_tracks(
    laid_out: Iterable[tuple[str, Mapping[str, FileSound], FileSound | None]],
    *,
    longest: bool = False,
    allow_cut: bool = False,
) -> list[Track]:
    """Make tracks as long as the shortest of their sounds, at the rate of the first.

    One warning says how many tracks lose the end of a longer sound, and which loses
    most.

    Args:
        laid_out: Name, sources and mixture of each track.
        longest: As long as the longest sound instead; shorter ones are silent after
            their end.
        allow_cut: Whether a track may lose any length to its shortest sound, as within
            :func:`cutting`.

    Raises:
        AudioError: A file cannot be read.
        CorpusError: A track loses more than :data:`LOSS_SHARE` of its longest sound
            and more than :data:`LOSS_SECONDS`.
    """
    rows = list(laid_out)
    every = [[*sources.values(), *([mix] if mix else [])] for _, sources, mix in rows]
    measured = measure(
        file for sounds in every for each in sounds for file in waveforms.files(each)
    )
    tracks, losses = [], []
    for (name, sources, mixture), sounds in zip(rows, every, strict=True):
        infos = [waveforms.info(each, 0, measured.__getitem__) for each in sounds]
        rate = infos[0].sample_rate
        lengths = [-(-each.samples * rate // each.sample_rate) for each in infos]
        samples = max(lengths) if longest else min(lengths)
        tracks.append(Track(name, rate, samples, sources, mixture))
        # Lengths at other rates are rounded up, which is no difference.
        if max(lengths) - samples > 1:
            losses.append(_loss(name, rate, sounds, lengths))
    if not (allow_cut or may_cut()):
        _refuse_losses(losses)
    _report_losses(losses, len(tracks))
    return tracks


class _Loss(NamedTuple):
    """What a track loses: its shortest and longest sound, and their seconds."""

    name: str
    shortest: FileSound
    longest: FileSound
    kept: float
    whole: float

    @property
    def seconds(self) -> float:
        return self.whole - self.kept

    def __str__(self) -> str:
        return (
            f"{self.name!r}, where {waveforms.label(self.shortest)} lasts "
            f"{self.kept:.2f} s and {waveforms.label(self.longest)} {self.whole:.2f} s"
        )


def _loss(
    name: str, rate: int, sounds: Sequence[FileSound], lengths: Sequence[int]
) -> _Loss:
    shortest, longest = int(np.argmin(lengths)), int(np.argmax(lengths))
    kept, whole = lengths[shortest] / rate, lengths[longest] / rate
    return _Loss(name, sounds[shortest], sounds[longest], kept, whole)


def _refuse_losses(losses: Sequence[_Loss]) -> None:
    for loss in losses:
        if loss.seconds > max(LOSS_SECONDS, LOSS_SHARE * loss.whole):
            raise CorpusError(
                "a track is as long as its shortest sound, which would cut more than "
                f"{LOSS_SHARE:.0%} and {LOSS_SECONDS} s off track {loss}; pad the "
                "shorter sound with silence, cut the longer one, or leave the track "
                "out; in a training allow_cut=true cuts it."
            )


def _report_losses(losses: Sequence[_Loss], tracks: int) -> None:
    if not losses:
        return
    worst = max(losses, key=lambda loss: loss.seconds)
    _warn_once(
        f"{len(losses)} of {tracks} tracks are cut to their shortest sound; the "
        f"worst is {worst}"
    )


@functools.cache
def _warn_once(sentence: str) -> None:
    """Warn of a corpus that is read again and again in one process only once."""
    LOG.warning(sentence)


def divide(
    items: Sequence[Item], share: float, seed: int = 42
) -> tuple[list[Item], list[Item]]:
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
