"""Write the generated tables of the documentation: ``python docs/tables.py``.

A table stands between the comments ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.files import write_text
from common.weights.registry import Entry, entries

FOLDER = Path(__file__).resolve().parent
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def models() -> str:
    """Return a row for each model of the registry, by package."""
    head = "name", "separates", "licence of the weights", "score"
    rows = [head, ("---",) * len(head), *map(_model, entries())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _model(entry: Entry) -> Sequence[str]:
    name = f"`{entry.pillar}/{entry.name}`"
    if entry.source.startswith("https://"):
        name = f"[{name}]({entry.source})"
    return (
        name,
        str(entry.facts.get("targets") or SEPARATES[entry.pillar]),
        entry.licence,
        entry.score,
    )


SEPARATES: Mapping[str, str] = {
    "mixit": "any sound into unnamed sources",
    "unmix": "vocals, drums, bass, other",
    "adversarial": "vocals, accompaniment",
    "clustering": "vocals from the rest, unnamed",
}
TABLES: Mapping[str, Callable[[], str]] = {"models": models}


def filled(text: str) -> str:
    """Return a page with its tables written anew."""
    return TABLE.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n{m[3]}", text)


def main() -> int:
    """Write the tables of all pages; returns the exit code."""
    for path in FOLDER.rglob("*.md"):
        text = path.read_text("utf-8")
        if TABLE.search(text):
            write_text(path, filled(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
