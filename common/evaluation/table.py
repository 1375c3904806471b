"""A resumable CSV: rows are kept as soon as they are measured.

Each row is appended immediately to a hidden file beside the final one. The same
evaluation, started again, continues after the last complete row. The final file is
written when all rows are complete.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import UserDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from common.files import naming, write_text

Row = dict[str, Any]
"""Cells by column: texts, whole numbers, floats and booleans."""


PART = re.compile(r"[0-9a-f]{12}\.part")
"""End of the name of an unfinished table: 12 digits of its key's digest."""


@final
class Rows(UserDict[str, Row]):
    """Rows by the text in their first column, on disk as soon as they are set.

    Args:
        path: The final file.
        columns: Its columns, of which the first names the row.
        key: All that the numbers depend on; rows of another key are not used.
        texts: Number of leading columns with text; all others hold numbers.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(
        self, path: str | Path, columns: Sequence[str], key: str, texts: int = 1
    ) -> None:
        super().__init__()
        self.path, self._texts = Path(path), texts
        self._columns = tuple(columns)
        digest = hashlib.sha256("\n".join([key, *columns]).encode()).hexdigest()
        self.part = self.path.with_name(f".{self.path.stem}.{digest[:12]}.part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.part.exists():
            self._resume()
        else:
            write_text(self.part, _lines([self._columns]))

    def __setitem__(self, name: str, row: Row) -> None:
        """Keep a row and append it to the file."""
        super().__setitem__(name, row)
        with (
            naming(self.path),
            self.part.open("a", encoding="utf-8", newline="") as file,
        ):
            file.write(_lines([self._cells(row)]))

    def finish(self, names: Iterable[str]) -> None:
        """Write the rows of these names, in this order, to the final file.

        Unfinished files of evaluations of other models beside it are removed.
        """
        cells = [self._cells(self[name]) for name in names]
        write_text(self.path, _lines([self._columns, *cells]))
        prefix = f".{self.path.stem}."
        for file in self.path.parent.iterdir():
            if file.name.startswith(prefix) and PART.fullmatch(file.name, len(prefix)):
                file.unlink(missing_ok=True)

    def _cells(self, row: Row) -> list[object]:
        return [row[column] for column in self._columns]

    def _resume(self) -> None:
        """Read the rows of an interrupted evaluation, without incomplete ones."""
        text = self.part.read_text(encoding="utf-8", errors="replace")
        for line in text[: text.rfind("\n") + 1].splitlines(keepends=True)[1:]:
            try:
                (row,) = read([_lines([self._columns]), line], self._texts)
                self.data[row[self._columns[0]]] = row
            except ValueError:
                continue
        kept = [self._cells(row) for row in self.values()]
        write_text(self.part, _lines([self._columns, *kept]))


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Format cells as a table of Markdown.

    Args:
        columns: Headings.
        rows: As many cells each.

    >>> print(markdown(["run", "SDR"], [["a|b", "5.00"]]), end="")
    | run | SDR |
    |---|---|
    | a\|b | 5.00 |
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (columns, *rows)]
    heading, *lines = [f"| {' | '.join(row)} |\n" for row in cells]
    return "".join([heading, f"|{'---|' * len(columns)}\n", *lines])


def read(lines: Iterable[str], texts: int = 1) -> list[Row]:
    """Read rows back with the types that they had.

    Args:
        lines: Lines of the file.
        texts: Number of leading columns with text.

    Raises:
        ValueError: A row has more or fewer cells than there are columns, or one that
            is not a number.

    >>> read(["example,power,active", "e1,0.5,True"])
    [{'example': 'e1', 'power': 0.5, 'active': True}]
    """
    columns, *rows = csv.reader(lines)
    return [
        {
            column: text if index < texts else _value(text)
            for index, (column, text) in enumerate(zip(columns, row, strict=True))
        }
        for row in rows
    ]


def number(value: float | np.floating) -> float:
    """Shorten a float32 to the digits that identify it.

    >>> number(np.float32(0.1))
    0.1
    """
    return float(str(np.float32(value)))


def _value(text: str) -> bool | int | float:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
