"""Write the generated tables of README.md and the pages: ``python docs/tables.py``.

A table stands between the comments ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.files import write_text
from common.weights.entry import Entry
from common.weights.registry import entries

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs/models.md")
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def models() -> str:
    """Return a row for each model of the registry, bundled ones first."""
    head = "model", "separates", "licence of the weights", "score"
    rows = [head, ("---",) * len(head), *map(_model, entries())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _model(entry: Entry) -> Sequence[str]:
    name, facts = f"`{entry.pillar}/{entry.name}`", entry.facts
    if entry.source.startswith("https://"):
        name = f"[{name}]({entry.source})"
    return (
        name,
        str(facts.get("summary") or facts.get("targets") or SEPARATES[entry.pillar]),
        entry.licence,
        entry.score,
    )


def mir1k() -> str:
    """Return the measured and the published rows of ``benchmarks/mir1k.md``."""
    text = (REPOSITORY / "benchmarks/mir1k.md").read_text("utf-8")
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line[:1] == "|"]
    return "".join(f"|{'|'.join(cells[:COLUMNS])}|\n" for cells in lines)


COLUMNS = 5
"""Of that table: the separator and the measures of the whole test set."""
SEPARATES: Mapping[str, str] = {
    "mixit": "any sounds into unnamed sources",
    "unmix": "vocals, drums, bass, other",
    "adversarial": "vocals, accompaniment",
    "clustering": "unnamed sources",
}
"""Of published models that do not state it."""
TABLES: Mapping[str, Callable[[], str]] = {"models": models, "mir1k": mir1k}


def filled(text: str) -> str:
    """Return a page with its tables written anew."""
    return TABLE.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n{m[3]}", text)


def main() -> int:
    """Write the tables; return the exit code."""
    for path in PAGES:
        write_text(path, filled(path.read_text("utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
