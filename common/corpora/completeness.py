"""Whether a corpus is all there: its files, its number of tracks, its splits."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from common.corpora import reading, waveforms
from common.corpora.reading import FileSound
from common.corpora.track import CorpusError
from common.files import user_path

LOG = logging.getLogger(__name__)

Row = tuple[str, Mapping[str, FileSound], FileSound | None]
"""Name, sources and mixture of a track, as :func:`reading.make_tracks` takes them."""
Item = TypeVar("Item")
SPLITS = ("train", "valid", "test")
HELD_OUT = 0.1
"""Share of each held-out split of a corpus that comes undivided."""


def complete(corpus: str, laid_out: Iterable[Row], *, skip: bool = False) -> list[Row]:
    """See that all files of all tracks are there.

    Args:
        corpus: Name of the layout, for the error.
        laid_out: The tracks.
        skip: Leave out tracks that lack a file and say how many, rather than refuse.

    Returns:
        The tracks that lack no file.

    Raises:
        CorpusError: A file is missing; with ``skip``, every track lacks one.
    """
    rows = list(laid_out)
    needed = [_files(row) for row in rows]
    gone = reading.missing(itertools.chain.from_iterable(needed))
    firsts = [next((f for f in files if f in gone), None) for files in needed]
    whole = [row for row, first in zip(rows, firsts, strict=True) if first is None]
    lacking = [first for first in firsts if first is not None]
    if lacking:
        told = f"{len(lacking)} of {len(lacking) + len(whole)} tracks lack a file"
        report(f"{corpus}: {told}, first: {lacking[0]}", skip=skip and bool(whole))
    return whole


def _files(row: Row) -> list[Path]:
    sounds = [*row[1].values(), *([row[2]] if row[2] is not None else [])]
    return [file for sound in sounds for file in waveforms.files(sound)]


def report(finding: str, *, skip: bool) -> None:
    """Refuse incomplete tracks, or say aloud that they are left out.

    Raises:
        CorpusError: They are not to be left out.
    """
    if not skip:
        raise CorpusError(
            f"{finding}; put back what is missing, or leave incomplete tracks out with "
            "skip=True."
        )
    LOG.warning("%s; these are left out", finding)


def expect_count(corpus: str, split: str, found: int, usual: Collection[int]) -> None:
    """Warn where a split has another number of tracks than the published corpus."""
    if found not in usual:
        LOG.warning(
            "%s: the split %r has %d tracks, the published set %s: figures on it "
            "compare with no published ones",
            corpus,
            split,
            found,
            " or ".join(map(str, usual)),
        )


def expect_split(corpus: str, split: str, splits: Iterable[str] = SPLITS) -> None:
    """See that a corpus has a split.

    Raises:
        CorpusError: It has none of that name.
    """
    if split not in splits:
        raise CorpusError(f"{corpus}: no split {split!r}; it has {', '.join(splits)}.")


def place_of(corpus: str, root: Path | str, split: str | None, purpose: str) -> Path:
    """Find the folder of a split, which is the root where there are no such folders.

    Args:
        corpus: Name of the layout, for the error.
        root: Folder of the corpus.
        split: One of :data:`SPLITS`; None means the root itself.
        purpose: What the folder should hold, for the error.

    Raises:
        CorpusError: There is no such split, or the folder does not exist.
    """
    if split is not None:
        expect_split(corpus, split)
    place = reading.folder_of(corpus, user_path(root), purpose)
    if split is None or not any((place / each).is_dir() for each in SPLITS):
        return place
    return reading.folder_of(corpus, place / split, purpose)


def part_of(corpus: str, items: Sequence[Item], split: str) -> list[Item]:
    """Divide what comes undivided: a tenth for valid and for test, always alike.

    Args:
        corpus: Name of the layout, for the error and the warning.
        items: What to divide.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        CorpusError: There are fewer than three to divide.

    >>> [len(part_of("x", range(20), split)) for split in SPLITS]
    [16, 2, 2]
    """
    if len(items) < 3:
        raise CorpusError(
            f"{corpus}: {len(items)} cannot be divided into train, valid and test; "
            "add more, or make folders of these names."
        )
    if split == "test":
        LOG.warning(
            "%s: no folders of splits: a tenth of %d is held out for valid and a tenth "
            "for test",
            corpus,
            len(items),
        )
    rest, test = reading.divide(items, HELD_OUT)
    train, valid = reading.divide(rest, HELD_OUT)
    return {"train": train, "valid": valid, "test": test}[split]
