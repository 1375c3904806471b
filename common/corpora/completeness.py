"""Check the completeness of a corpus: its files, its number of tracks, its splits."""

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
"""Share of each held-out split of a corpus that has no splits."""


def complete(corpus: str, laid_out: Iterable[Row], *, skip: bool = False) -> list[Row]:
    """Return the tracks of which every file exists.

    Args:
        corpus: Name of the layout, for the error.
        laid_out: The tracks.
        skip: Leave out tracks that lack a file, with a warning, instead of raising.

    Returns:
        The tracks that lack no file.

    Raises:
        CorpusError: A file is missing; with ``skip``, every track lacks one.
    """
    rows = list(laid_out)
    files_of_rows = [files_of(row) for row in rows]
    missing = reading.missing(itertools.chain.from_iterable(files_of_rows))
    firsts = [next((f for f in files if f in missing), None) for files in files_of_rows]
    complete = [row for row, first in zip(rows, firsts, strict=True) if first is None]
    lacking = [first for first in firsts if first is not None]
    if lacking:
        fault = f"{len(lacking)} of {len(rows)} tracks lack a file"
        report(f"{corpus}: {fault}, first: {lacking[0]}", skip=skip and bool(complete))
    return complete


def files_of(row: Row) -> list[Path]:
    """Return the files of all sounds of a track, the mixture's last."""
    sounds = [*row[1].values(), *([row[2]] if row[2] is not None else [])]
    return [file for sound in sounds for file in waveforms.files(sound)]


def report(fault: str, *, skip: bool) -> None:
    """Raise an error for incomplete tracks, or warn that they are left out.

    Args:
        fault: What is wrong, with the name of the corpus.
        skip: Whether the tracks are left out.

    Raises:
        CorpusError: ``skip`` is off.
    """
    if not skip:
        raise CorpusError(
            f"{fault}; put back what is missing, or leave incomplete tracks out with "
            "skip=True."
        )
    LOG.warning("%s; these are left out", fault)


def expect_count(
    corpus: str, split: str, count: int, published: Collection[int]
) -> None:
    """Warn if a split has another number of tracks than the published corpus."""
    if count not in published:
        LOG.warning(
            "%s: the split %r has %d tracks, the published set %s: scores on it "
            "are not comparable with published ones",
            corpus,
            split,
            count,
            " or ".join(map(str, published)),
        )


def expect_split(corpus: str, split: str, splits: Iterable[str] = SPLITS) -> None:
    """Raise an error for a split that a corpus does not have.

    Raises:
        CorpusError: The corpus has no such split.
    """
    if split not in splits:
        raise CorpusError(f"{corpus}: no split {split!r}; it has {', '.join(splits)}.")


def has_splits(folder: Path) -> bool:
    """Return whether a folder holds folders of splits."""
    return any((folder / split).is_dir() for split in SPLITS)


def split_folder(
    corpus: str, root: Path | str, split: str | None, purpose: str
) -> Path:
    """Return the folder of a split, or the root if it has no folders of splits.

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
    folder = reading.folder_of(corpus, user_path(root), purpose)
    if split is None or not has_splits(folder):
        return folder
    return reading.folder_of(corpus, folder / split, purpose)


def training_part(items: Sequence[Item], split: str) -> list[Item]:
    """Return the items of a training set for train, or its fixed tenth for valid.

    A single item is for train.

    >>> [len(training_part(range(20), split)) for split in ("train", "valid")]
    [18, 2]
    """
    if len(items) < 2:
        return list(items) if split == "train" else []
    return reading.divide(items, HELD_OUT)[split == "valid"]


def part_of(corpus: str, items: Sequence[Item], split: str) -> list[Item]:
    """Return the items of a split; a fixed tenth each is for valid and for test.

    Args:
        corpus: Name of the layout, for the error and the warning.
        items: All items of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        CorpusError: There are fewer than three items.

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
