"""The clip lists of YFCC100m: CSV files that name clips of videos by their times.

A row holds the path of a video, start and end of the clip in it, and the offset of the
clip in an example of fixed length, all in seconds. A row of the list of mixtures of
mixtures holds these four columns twice.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from common.corpora.track import CorpusError

COLUMNS = ("video path", "start in s", "end in s", "offset in s")
ROUNDING_SECONDS = 0.01
"""Tolerance in s at the end of an example, because times in lists are rounded."""
MOST_LETTERS = 80


class Clip(NamedTuple):
    """A part of a video and its offset in an example; times in seconds."""

    video: str
    start: float
    end: float
    offset: float


class Row(NamedTuple):
    """The clips of a row, one or two, with the file and line of the row."""

    table: str
    line: int
    clips: tuple[Clip, ...]


class Skip(NamedTuple):
    """A skipped row with the reason."""

    table: str
    line: int
    video: str
    reason: str
    detail: str


class ClipList(NamedTuple):
    """Contents of lists: the rows, skipped ones, and remarks."""

    rows: list[Row]
    skipped: list[Skip]
    remarks: list[str]

    def digest(self) -> str:
        """Return a digest of the rows, independent of their positions."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(repr([tuple(clip) for clip in row.clips]).encode())
        return digest.hexdigest()


def read(
    paths: Sequence[Path],
    clips: int,
    *,
    seconds: float,
    header: str = "auto",
    strict: bool = False,
) -> ClipList:
    """Read several clip lists as one.

    Args:
        paths: CSV files, UTF-8.
        clips: Clips in a row: 1, or 2 for mixtures of mixtures.
        seconds: Length of an example, which no clip may pass.
        header: Whether the first row names the columns: ``"yes"``, ``"no"``, or
            ``"auto"``: yes if none of its cells is a number.
        strict: Whether a bad row is an error.

    Returns:
        The rows in their order, without bad and repeated ones, which are listed apart.

    Raises:
        CorpusError: A file is missing, not text or empty, has no valid row, or, with
            ``strict``, has a bad row.
    """
    clip_list = ClipList([], [], [])
    seen: dict[tuple[Clip, ...], Row] = {}
    for path in paths:
        for row in _read_table(path, clips, seconds, header, clip_list):
            first = seen.setdefault(row.clips, row)
            if first is row:
                clip_list.rows.append(row)
                continue
            at = f"line {first.line} of {first.table}"
            skip = Skip(path.name, row.line, row.clips[0].video, "repeated", at)
            clip_list.skipped.append(skip)
        bad = [skip for skip in clip_list.skipped if skip.reason == "bad row"]
        if strict and bad:
            raise CorpusError(f"{path} line {bad[0].line}: {bad[0].detail}.")
    return clip_list


def names(rows: Sequence[Row]) -> list[str]:
    """Name rows after their videos and the starts of their clips in milliseconds.

    Args:
        rows: From :func:`read`.

    Returns:
        A unique name for each: equal names are numbered from the second on.

    >>> one = Row("a.csv", 1, (Clip("x/y.mp4", 1.25, 11.25, 0.0),))
    >>> names([one, one._replace(line=2)])
    ['y_1250', 'y_1250-2']
    """
    unique: dict[str, Row] = {}
    for row in rows:
        plain = name = "+".join(map(clip_name, row.clips))
        number = 1
        while name in unique:
            number += 1
            name = f"{plain}-{number}"
        unique[name] = row
    return list(unique)


def clip_name(clip: Clip) -> str:
    """Name a clip after the file of its video and its start in milliseconds.

    >>> clip_name(Clip("data/videos/mp4/827/f6b/827f6b.mp4", 12.5, 22.5, 0.0))
    '827f6b_12500'
    """
    stem = PurePosixPath(clip.video).stem
    if len(stem.encode()) > MOST_LETTERS:
        short = stem.encode()[: MOST_LETTERS - 9].decode(errors="ignore")
        stem = f"{short}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
    return f"{stem}_{round(1000 * clip.start)}"


def _read_table(
    path: Path, clips: int, seconds: float, header: str, clip_list: ClipList
) -> Iterator[Row]:
    """Yield the valid rows of a file; others and remarks go to ``clip_list``."""
    first, right = "", 0
    for line, cells in _cells(path):
        if not first and header != "no" and (header == "yes" or _is_header(cells)):
            clip_list.remarks.append(
                f"{path}: line {line} is a header: {','.join(cells)}"
            )
            first, header = ",".join(cells), "no"
            continue
        if not first:
            clip_list.remarks.append(
                f"{path}: no header, line {line} is the first clip"
            )
        try:
            row = Row(path.name, line, tuple(_clips(cells, clips, seconds)))
        except CorpusError as error:
            skip = Skip(path.name, line, cells[0], "bad row", str(error))
            clip_list.skipped.append(skip)
        else:
            right += 1
            yield row
        first = first or ",".join(cells)
    if not right:
        _refuse(path, clips, first, clip_list)


def _refuse(path: Path, clips: int, first: str, clip_list: ClipList) -> None:
    """Raise an error for a file that is not a clip list, with its first row."""
    columns = ", ".join(COLUMNS) + (", and the same again" if clips == 2 else "")
    bad = [
        s for s in clip_list.skipped if s.table == path.name and s.reason == "bad row"
    ]
    shown = first[:200] + ("..." if len(first) > 200 else "")
    what = f"its first row is {shown!r}" if first else "it is empty"
    why = f" (line {bad[0].line}: {bad[0].detail})" if bad else ""
    raise CorpusError(
        f"{path} holds no clip: {what}{why}; expected the columns {columns}."
    )


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and cells of the rows that are not empty."""
    if not path.is_file():
        is_there = "is a folder" if path.is_dir() else "does not exist"
        raise CorpusError(f"{path} {is_there}; give a clip list, a CSV file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            for row in rows:
                cells = [cell.strip() for cell in row]
                if any("\0" in cell for cell in cells):
                    raise CorpusError(f"{path} is no CSV file: it holds bytes of 0.")
                if any(cells):
                    yield rows.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} is no CSV file in UTF-8: {error}.") from error


def _is_header(cells: Sequence[str]) -> bool:
    return not any(_number(cell) is not None for cell in cells)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _clips(cells: Sequence[str], clips: int, seconds: float) -> Iterator[Clip]:
    """Yield the clips of a row, or raise an error for the first wrong value."""
    width = len(COLUMNS)
    if len(cells) != clips * width:
        pairs = {
            1: "--moms takes lists of 8",
            2: "--train, --validation and --eval of 4",
        }
        other = len(cells) == (3 - clips) * width
        hint = f"; {pairs[clips]}" if other else ""
        raise CorpusError(f"{len(cells)} columns, expected {clips * width}{hint}")
    for first in range(0, len(cells), width):
        video, *times = cells[first : first + width]
        values = []
        for name, cell in zip(COLUMNS[1:], times, strict=True):
            value = _number(cell)
            if value is None or not math.isfinite(value) or value < 0:
                raise CorpusError(f"{name} is {cell!r}, expected a number from 0")
            values.append(value)
        clip = Clip(video, *values)
        _check(clip, seconds)
        yield clip


def _check(clip: Clip, seconds: float) -> None:
    """Refuse a clip that has no sound or does not fit into an example."""
    path = PurePosixPath(clip.video)
    if not path.name or ".." in path.parts or not clip.video.isprintable():
        raise CorpusError(f"video path is {clip.video!r}, expected a path of a file")
    if clip.start >= clip.end:
        raise CorpusError(f"start {clip.start:g} s is not before end {clip.end:g} s")
    last = clip.offset + clip.end - clip.start
    if last > seconds + ROUNDING_SECONDS:
        raise CorpusError(
            f"{clip.end - clip.start:g} s at offset {clip.offset:g} s end at "
            f"{last:g} s, after the {seconds:g} s of an example"
        )
