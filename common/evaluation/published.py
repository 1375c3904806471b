"""Published numbers: ``published.csv`` of a pillar, with the status of each number.

Each line names a table, a row of it, a condition and a measure, the number with its
unit, the publication, and its status: ``read`` there, ``quoted by`` another one, or
``unread``. Unread numbers have no value, so that they cannot be printed.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

NAME = "published.csv"
READ, QUOTED, UNREAD = "read", "quoted by ", "unread"


class PublishedError(ValueError):
    """A file of published numbers that cannot be used."""


class Number(NamedTuple):
    """A number of a publication.

    Attributes:
        table: The table that it belongs to, such as ``wham``.
        row: Key of the row.
        model: The model and its training data; empty if the key states them.
        condition: The source, task or test set that was measured.
        measure: The measure, such as ``SI-SDRi``.
        value: The number as printed, with ``>`` if it is a bound; empty if unread.
        unit: Its unit.
        status: ``read``, ``quoted by ...`` or ``unread``.
        source: The publication.
    """

    table: str
    row: str
    model: str
    condition: str
    measure: str
    value: str
    unit: str
    status: str
    source: str

    @property
    def amount(self) -> float | None:
        """The number; None if it is unread or a bound.

        >>> Number("t", "r", "", "", "SDR", "6.32", "dB", "read", "a paper").amount
        6.32
        """
        plain = self.value and not self.value.startswith((">", "<"))
        return float(self.value) if plain else None

    @property
    def text(self) -> str:
        """The number with its unit, or the word ``unread``.

        >>> Number("t", "r", "", "", "SDR", "", "dB", "unread", "a paper").text
        'unread'
        """
        return f"{self.value} {self.unit}" if self.value else UNREAD

    @property
    def origin(self) -> str:
        """The publication, and who quotes it where it was not read itself.

        >>> Number("", "", "", "", "", "1", "dB", "quoted by B", "paper A").origin
        'paper A, quoted by B'
        """
        quoted = self.status.startswith(QUOTED)
        return f"{self.source}, {self.status}" if quoted else self.source


def read(folder: Path) -> list[Number]:
    """Read the published numbers of a pillar.

    Args:
        folder: Folder of the package.

    Raises:
        PublishedError: Columns differ, a status is unknown, or an unread number has a
            value or another one has none.
    """
    path = folder / NAME
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    if head != [*Number._fields]:
        raise PublishedError(
            f"{path} has the columns {', '.join(head)}; expected "
            f"{', '.join(Number._fields)}"
        )
    return [_number(path, line) for line in lines]


def _number(path: Path, line: list[str]) -> Number:
    if len(line) != len(Number._fields):
        raise PublishedError(
            f"{path}: {','.join(line)!r} has {len(line)} cells; expected "
            f"{len(Number._fields)}"
        )
    number = Number(*line)
    has_value = number.status == READ or number.status.startswith(QUOTED)
    if not has_value and number.status != UNREAD:
        raise PublishedError(
            f"{path}: the status {number.status!r} is unknown; expected {READ}, "
            f"'{QUOTED}...' or {UNREAD}"
        )
    if has_value != bool(number.value):
        raise PublishedError(
            f"{path}: {number.row}, {number.measure} is {number.status} and its value "
            f"is {number.value!r}; unread numbers have none, and all others have one"
        )
    return number
