"""What models there are: ``python -m common.weights.registry list`` and ``show NAME``.

Every pillar lists the models that others published and those that come with it by the
function ``entries`` of its module ``published``. A pillar without such a module has
those in its folder ``bundled``; one that is not installed is passed over.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.errors import exit_code
from common.weights.download import digest

PILLARS = ("mixit", "unmix", "adversarial", "clustering")
UNKNOWN = "unknown"
CARD = "README.md"
CONFIG = "config.json"
WEIGHTS = ("*.data-*-of-*", "*.pth")
MOST_LETTERS = 60
HEAD = 8


class RegistryError(ValueError):
    """A name that no model has."""


@dataclass(frozen=True)
class File:
    """One file of weights.

    Attributes:
        path: Where it lies, or will lie once it is there.
        address: Where it is published; empty where it comes with the package.
        size: Size in bytes, None where it is unknown.
        about: Whether the size is computed from the number of weights.
        sha256: SHA-256 or its head, empty where it is unknown.
    """

    path: Path
    address: str = ""
    size: int | None = None
    about: bool = False
    sha256: str = ""


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        name: What the pillar's ``load`` and ``--model`` take.
        pillar: Name of the pillar.
        source: Where it comes from.
        licence: Of the weights.
        score: What it reaches, on what.
        cached: Whether it is on this machine, ready to be loaded.
        files: Its weights.
        facts: Further facts by name.
    """

    name: str
    pillar: str
    source: str
    licence: str
    score: str
    cached: bool
    files: Sequence[File]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int | None:
        """Size of all files in bytes, None where one is unknown."""
        unknown = any(file.size is None for file in self.files)
        return None if unknown else sum(file.size or 0 for file in self.files)


def entries() -> list[Entry]:
    """Ask every pillar that is installed for its models."""
    found: list[Entry] = []
    for pillar in PILLARS:
        try:
            module = importlib.import_module(f"{pillar}.published")
        except ModuleNotFoundError as error:
            if error.name not in (pillar, f"{pillar}.published"):
                raise
            found += _bundled(pillar) if error.name != pillar else []
            continue
        found += module.entries()
    return found


def _bundled(pillar: str) -> list[Entry]:
    """Describe the models of a pillar that has no published ones."""
    (folder,) = importlib.import_module(pillar).__path__
    return shipped(pillar, Path(folder) / "bundled")


def shipped(pillar: str, folder: Path) -> list[Entry]:
    """Describe the models that come with a pillar.

    Args:
        pillar: Its name.
        folder: Holds a run folder for each model, whose card ``README.md`` tells of
            it in points: ``- Licence: Apache-2.0``.

    Returns:
        One entry for each model.
    """
    found = []
    for config in sorted(folder.glob(f"*/{CONFIG}")):
        card = config.with_name(CARD)
        points = _points(card.read_text("utf-8") if card.exists() else "")
        scores = [f"{v} ({k})" for k, v in points.items() if k.startswith("Score")]
        paths = sorted(p for w in WEIGHTS for p in config.parent.rglob(w))
        found.append(
            Entry(
                config.parent.name,
                pillar,
                "comes with the package",
                points.pop("Licence", UNKNOWN),
                "; ".join(scores) or UNKNOWN,
                True,
                [File(p, "", p.stat().st_size, sha256=digest(p)) for p in paths],
                {k: v for k, v in points.items() if not k.startswith("Score")},
            )
        )
    return found


def table(models: Sequence[Entry]) -> str:
    """Lay out models, one on a line under the names of the columns.

    >>> entry = Entry("tiny", "mixit", "here", "MIT", "5 dB", True, [], {})
    >>> print(table([entry]).splitlines()[1])
    tiny  mixit   yes     0.0 MB  MIT      here    5 dB   unknown
    """
    head = "name", "pillar", "cached", "size", "licence", "source", "score", "SHA-256"
    rows = [head, *(_row(model) for model in models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _row(model: Entry) -> tuple[str, ...]:
    known = [file.sha256 for file in model.files if file.sha256]
    heads = known if len(known) == 1 else [each[:HEAD] for each in known]
    return (
        model.name,
        model.pillar,
        "yes" if model.cached else "no",
        _size(model),
        model.licence,
        model.source,
        textwrap.shorten(model.score, MOST_LETTERS, placeholder=" ..."),
        " ".join(heads) or UNKNOWN,
    )


def describe(model: Entry) -> str:
    """Describe a model; files that are there are compared with their SHA-256."""
    lines = [
        f"{model.pillar}/{model.name}",
        f"source: {model.source}",
        f"licence: {model.licence}",
        f"score: {model.score}",
        *(f"{name}: {fact}" for name, fact in model.facts.items()),
        f"cached: {'yes' if model.cached else 'no'}",
    ]
    for file in model.files:
        lines += [
            f"file: {file.path}",
            *([f"  from: {file.address}"] if file.address else []),
            f"  size: {_megabytes(file.size, file.about)}",
            f"  SHA-256: {_judged(file)}",
        ]
    return "\n".join(lines) + "\n"


def _judged(file: File) -> str:
    """Give the SHA-256, the whole one where the file is there."""
    if not file.path.exists():
        return f"{file.sha256}..." if file.sha256 else UNKNOWN
    whole = digest(file.path)
    if whole.startswith(file.sha256):
        return whole
    return f"{whole}, expected {file.sha256}...: damaged, remove and download it again"


def _size(model: Entry) -> str:
    about = any(file.about for file in model.files)
    least = sum(file.size or 0 for file in model.files)
    if model.size is None and least:
        return f"> {_megabytes(least, about)}"
    return _megabytes(model.size, about)


def _megabytes(size: int | None, about: bool) -> str:
    return UNKNOWN if size is None else f"{'~' * about}{size / 1e6:.1f} MB"


def _points(card: str) -> dict[str, str]:
    """Read the points of a card, what stands before the colon by what follows it."""
    points: dict[str, str] = {}
    for item in f"\n{card}".split("\n- ")[1:]:
        text = " ".join(item.split("\n\n")[0].split())
        name, _, rest = text.partition(": ")
        points[name] = rest
    return points


def as_json(model: Entry) -> dict[str, Any]:
    """Give all of a model in values of JSON."""
    values = asdict(model) | {"size": model.size, "facts": dict(model.facts)}
    for file in values["files"]:
        file["path"] = str(file["path"])
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser("common.weights.registry", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print one line for each model")
    showing = commands.add_parser("show", help="print all facts of a model")
    showing.add_argument("name", help="its name, or PILLAR/NAME")
    for each in (listing, showing):
        each.add_argument("--json", action="store_true", help="print a list in JSON")
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code("common.weights.registry", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    models = entries()
    if options.command == "show":
        models = _named(models, options.name)
    if options.json:
        text = json.dumps([as_json(model) for model in models], indent=2) + "\n"
    elif options.command == "show":
        text = "\n".join(describe(model) for model in models)
    else:
        text = table(models)
    sys.stdout.write(text)
    return 0


def _named(models: Sequence[Entry], name: str) -> list[Entry]:
    found = [m for m in models if name in (m.name, f"{m.pillar}/{m.name}")]
    if not found:
        names = ", ".join(f"{model.pillar}/{model.name}" for model in models)
        raise RegistryError(f"{name} is an unknown model; expected one of {names}")
    return found


if __name__ == "__main__":
    sys.exit(main())
