"""Read corpora: folders that must exist, and the rates and lengths of many files."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
"""Most files that a thread probes at once, because submitting one is slower."""
LOSS_SHARE = 0.05
"""Largest share of its longest sound that a track may lose."""
LOSS_SECONDS = 0.5
"""Length that a track may lose even if that is a larger share."""
SEED = 42
"""Seed of the division of a corpus that has no splits, the same on every machine."""
_may_cut: ContextVar[bool] = ContextVar("may_cut", default=False)
FileSound = Path | Channel | Sum
"""A sound in files, whose rate and length can be probed."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def folder_of(corpus: str, folder: Path, purpose: str) -> Path:
    """Return a folder, after a check that it exists.

    Args:
        corpus: Name of the layout, for the error.
        folder: The folder.
        purpose: What it should hold, for the error.

    Raises:
        CorpusError: It does not exist, or is a file; the error lists the contents of
            its parent.
    """
    if folder.is_dir():
        return folder
    parent = folder.parent
    while not parent.is_dir():
        parent = parent.parent
    raise CorpusError(
        f"{corpus}: {no_folder(folder)}; it should hold {purpose}; "
        f"{parent} holds {contents(parent)}; check the root and the names."
    )


def no_folder(folder: Path, name: str = "the folder") -> str:
    """Return why a path is no folder, for an error.

    >>> no_folder(Path("not/there")), no_folder(Path("/dev/null"), "the root")
    ('the folder not/there does not exist', '/dev/null is a file, not a folder')
    """
    paths = (folder, *folder.parents)
    file = next((path for path in paths if path.exists() and not path.is_dir()), None)
    if file is None:
        return f"{name} {folder} does not exist"
    return f"{file} is a file, not a folder"


def contents(folder: Path) -> str:
    """Return the names of the first five entries of a folder, for an error.

    >>> import tempfile
    >>> contents(Path(tempfile.mkdtemp()))
    'nothing'
    """
    entries = sorted(path.name for path in folder.iterdir())
    return ", ".join(entries[:5]) + (", ..." if len(entries) > 5 else "") or "nothing"


def misplaced(
    corpus: str, folder: Path, expected: str, cure: str = "unpack the corpus there"
) -> CorpusError:
    """Return the error for a folder that does not hold what a corpus should.

    Args:
        corpus: Name of the layout, with the split if the folder is that of a split.
        folder: The folder.
        expected: Files or folders that it should hold.
        cure: What to do.
    """
    return CorpusError(
        f"{corpus}: {folder} should hold {expected} and holds {contents(folder)}; "
        f"{cure}."
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the subfolders of a folder by name, without hidden and system ones."""
    entries = (path for path in folder.iterdir() if not sound_files.is_junk(path.name))
    return sorted(entry for entry in entries if entry.is_dir())


def measure(files: Iterable[Path]) -> dict[Path, audio.AudioInfo]:
    """Return rate, channels and length of many files, probed in parallel.

    Raises:
        AudioError: One of them cannot be read.
    """
    infos, faults = readable(files)
    for fault in faults.values():
        raise fault
    return infos


def readable(
    files: Iterable[Path],
) -> tuple[dict[Path, audio.AudioInfo], dict[Path, audio.AudioError]]:
    """Return rate, channels and length of the files that can be read, and all faults.

    >>> infos, faults = readable([Path("not/there.wav")])
    >>> infos, list(faults)
    ({}, [PosixPath('not/there.wav')])
    """
    unique = list(dict.fromkeys(files))
    infos: dict[Path, audio.AudioInfo] = {}
    faults: dict[Path, audio.AudioError] = {}
    for file, result in zip(unique, in_batches(_measure, unique), strict=True):
        if isinstance(result, audio.AudioError):
            faults[file] = result
        else:
            infos[file] = result
    return infos, faults


def in_batches(
    function: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result]:
    """Call a function with batches of items in threads, and join its results.

    Args:
        function: Function from a batch to its results.
        items: The items.

    >>> in_batches(lambda batch: [2 * item for item in batch], range(3))
    [0, 2, 4]
    """
    size = max(1, min(BATCH, math.ceil(len(items) / THREADS)))
    batches = [items[at : at + size] for at in range(0, len(items), size)]
    with ThreadPoolExecutor(THREADS) as pool:
        return [result for part in pool.map(function, batches) for result in part]


def missing(files: Iterable[Path]) -> set[Path]:
    """Return which of many files do not exist, by listing each folder once.

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


def _measure(files: Sequence[Path]) -> list[audio.AudioInfo | audio.AudioError]:
    plain = map(plain_wav.read, files)
    return [
        audio.AudioInfo(*head[:3]) if head else _probe(file)
        for file, head in zip(files, plain, strict=True)
    ]


def _probe(file: Path) -> audio.AudioInfo | audio.AudioError:
    try:
        return audio.probe(file)
    except audio.AudioError as error:
        return error


def names(folder: Path | str) -> set[str]:
    """Return the names of the files in a folder; empty if the folder does not exist.

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
    """Allow :func:`make_tracks` to cut any length within this context.

    Args:
        allow: Allow it; if off, the setting of an outer context stays.
    """
    token = _may_cut.set(allow or _may_cut.get())
    try:
        yield
    finally:
        _may_cut.reset(token)


def may_cut() -> bool:
    """Return whether tracks may be cut by any length to their shortest sound."""
    return _may_cut.get()


def make_tracks(
    laid_out: Iterable[tuple[str, Mapping[str, FileSound], FileSound | None]],
    *,
    longest: bool = False,
    allow_cut: bool = False,
) -> list[Track]:
    """Return tracks as long as the shortest of their sounds, at the rate of the first.

    One warning gives the number of tracks that are cut, and the one cut most.

    Args:
        laid_out: Name, sources and mixture of each track.
        longest: Take the length of the longest sound instead; shorter ones are silent
            after their end.
        allow_cut: Allow to cut any length, as within :func:`cutting`.

    Raises:
        AudioError: A file cannot be read.
        CorpusError: A track loses more than :data:`LOSS_SHARE` of its longest sound
            and more than :data:`LOSS_SECONDS`.
    """
    rows = list(laid_out)
    every = [[*sources.values(), *([mix] if mix else [])] for _, sources, mix in rows]
    measured = measure(
        file for sounds in every for sound in sounds for file in waveforms.files(sound)
    )
    tracks, losses = [], []
    for (name, sources, mixture), sounds in zip(rows, every, strict=True):
        infos = [waveforms.info(sound, 0, measured.__getitem__) for sound in sounds]
        rate = infos[0].sample_rate
        lengths = [-(-info.samples * rate // info.sample_rate) for info in infos]
        samples = max(lengths) if longest else min(lengths)
        tracks.append(Track(name, rate, samples, sources, mixture))
        # Lengths at other rates are rounded up, by at most one sample.
        if max(lengths) - samples > 1:
            losses.append(_loss(name, rate, sounds, lengths))
    if losses:
        _report_losses(losses, len(tracks), allow_cut or may_cut())
    return tracks


class _Loss(NamedTuple):
    """Cut of a track: its shortest and longest sound, and their lengths in seconds."""

    name: str
    shortest: FileSound
    longest: FileSound
    kept: float
    full: float

    @property
    def seconds(self) -> float:
        return self.full - self.kept

    def __str__(self) -> str:
        return (
            f"{self.name!r}, where {waveforms.label(self.shortest)} lasts "
            f"{self.kept:.2f} s and {waveforms.label(self.longest)} {self.full:.2f} s"
        )


def _loss(
    name: str, rate: int, sounds: Sequence[FileSound], lengths: Sequence[int]
) -> _Loss:
    shortest, longest = int(np.argmin(lengths)), int(np.argmax(lengths))
    kept, full = lengths[shortest] / rate, lengths[longest] / rate
    return _Loss(name, sounds[shortest], sounds[longest], kept, full)


def _report_losses(losses: Sequence[_Loss], tracks: int, allow_cut: bool) -> None:
    """Refuse the first large cut, unless it is allowed, and warn of the worst."""
    for loss in [] if allow_cut else losses:
        if loss.seconds > max(LOSS_SECONDS, LOSS_SHARE * loss.full):
            raise CorpusError(
                "a track is as long as its shortest sound, which would cut more than "
                f"{LOSS_SHARE:.0%} and {LOSS_SECONDS} s off track {loss}; pad the "
                "shorter sound with silence, cut the longer one, or leave the track "
                "out; in a training allow_cut=true cuts it."
            )
    worst = max(losses, key=lambda loss: loss.seconds)
    warn_once(
        f"{len(losses)} of {tracks} tracks are cut to their shortest sound; the "
        f"worst is {worst}"
    )


@functools.cache
def warn_once(sentence: str) -> None:
    """Warn only once, because a process may read one corpus several times."""
    LOG.warning(sentence)


def divide(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Divide a list at random by a fixed seed, keeping the order within the parts.

    Args:
        items: The list.
        share: Share of the second part, which has at least one item.

    Returns:
        The larger and the smaller part.

    >>> [len(part) for part in divide(range(20), 0.1)]
    [18, 2]
    """
    count = max(1, round(share * len(items)))
    chosen = set(np.random.default_rng(SEED).permutation(len(items))[:count].tolist())
    first = [item for index, item in enumerate(items) if index not in chosen]
    return first, [items[index] for index in sorted(chosen)]
