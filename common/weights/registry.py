"""List, describe and download models: ``list``, ``show NAME``, ``fetch NAME``.

The module ``published`` of a package lists its pretrained models by the function
``entries``, and downloads one by ``fetch``. A package without this module has only
bundled models; one that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from common import files
from common.download import DownloadError, verify
from common.errors import exit_code
from common.files import digest
from common.weights import bundled
from common.weights.entry import Entry, File

PILLARS = ("mixit", "unmix", "adversarial", "clustering")
UNKNOWN = "unknown"
NOT_DOWNLOADED = "unknown until first download"
MOST_LETTERS = 60
HEAD = 8
NAME_HELP = "its name, or PACKAGE/NAME"


class RegistryError(ValueError):
    """A name that no model has."""


def entries() -> list[Entry]:
    """Return the models of all installed packages, bundled ones first."""
    models = [
        entry
        for pillar in PILLARS
        for entry in (*bundled.entries(pillar), *_published(pillar))
    ]
    return sorted(models, key=lambda entry: not entry.bundled)


def _published(pillar: str) -> Sequence[Entry]:
    """Describe the models of a package that others published, if it has any."""
    try:
        module = importlib.import_module(f"{pillar}.published")
    except ModuleNotFoundError as error:
        if error.name not in (pillar, f"{pillar}.published"):
            raise
        return []
    entries: Sequence[Entry] = module.entries()
    return entries


def table(models: Sequence[Entry]) -> str:
    """Format models as a table, one on a line.

    >>> entry = Entry("tiny", "mixit", "here", "MIT", "5 dB", True, [], {})
    >>> print(table([entry]).splitlines()[1])
    tiny  mixit    yes     0.0 MB  MIT      here    5 dB   unknown
    """
    head = "name", "package", "cached", "size", "licence", "source", "score", "SHA-256"
    rows = [head, *(_row(model) for model in models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _row(model: Entry) -> tuple[str, ...]:
    digests = [file.sha256 for file in model.files if file.sha256]
    heads = digests if len(model.files) == 1 else [sha256[:HEAD] for sha256 in digests]
    return (
        model.name,
        model.pillar,
        "yes" if model.cached else "no",
        _size(model),
        model.licence,
        model.source,
        textwrap.shorten(model.score, MOST_LETTERS, placeholder=" ..."),
        " ".join(heads) or (UNKNOWN if model.cached else NOT_DOWNLOADED),
    )


def describe(model: Entry) -> str:
    """Describe a model, and verify the SHA-256 of its downloaded files."""
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
            f"  SHA-256: {_digest_status(file)}",
        ]
    return "\n".join(lines) + "\n"


def _digest_status(file: File) -> str:
    """Return the SHA-256, in full if the file exists."""
    if not file.path.exists():
        return f"{file.sha256}..." if file.sha256 else NOT_DOWNLOADED
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


def as_json(model: Entry) -> dict[str, Any]:
    """Return all facts of a model as values of JSON; null is unknown."""
    facts = {"size": model.size, "bundled": model.bundled, "facts": dict(model.facts)}
    values = asdict(model) | facts
    for file in values["files"]:
        file["path"] = str(file["path"])
        file["sha256"] = file["sha256"] or None
    return values


def fetch(model: Entry) -> str:
    """Download the missing files of a model, and verify the others.

    Args:
        model: The model.

    Returns:
        Folder and size of the model, in one line.

    Raises:
        DownloadError: A file cannot be downloaded, or is not the published one.
        OSError: The cache cannot be written.
    """
    name = f"{model.pillar}/{model.name}"
    if model.bundled:
        return f"{name} comes with the package: nothing to download\n"
    importlib.import_module(f"{model.pillar}.published").fetch(model.name)
    sizes = []
    for file in model.files:
        verify(file.path, file.sha256)
        sizes.append(file.path.stat().st_size)
    folder = files.cache_folder()
    return (
        f"{name}: {_count(len(sizes))}, {_megabytes(sum(sizes), False)} in "
        f"{model.files[0].path.parent}; SEPARATION_CACHE={folder} finds it there\n"
    )


def _count(number: int) -> str:
    return f"{number} file{'s' * (number != 1)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser("common.weights.registry", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print one line for each model")
    showing = commands.add_parser("show", help="print all facts of a model")
    showing.add_argument("names", nargs=1, metavar="NAME", help=NAME_HELP)
    fetching = commands.add_parser("fetch", help="download published models")
    fetching.add_argument("names", nargs="+", metavar="NAME", help=NAME_HELP)
    fetching.add_argument(
        "--output",
        metavar="FOLDER",
        help="cache folder to write to, for use on another machine as its "
        "SEPARATION_CACHE (default: the cache of this user)",
    )
    for command in (listing, showing):
        command.add_argument("--json", action="store_true", help="print a list in JSON")
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code("common.weights.registry", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    if options.command == "fetch":
        return _fetch(options)
    models = entries()
    if options.command == "show":
        models = _named(models, options.names[0])
    if options.json:
        text = json.dumps([as_json(model) for model in models], indent=2) + "\n"
    elif options.command == "show":
        text = "\n".join(describe(model) for model in models)
    else:
        text = table(models)
    sys.stdout.write(text)
    return 0


def _fetch(options: argparse.Namespace) -> int:
    """Download all named models; a failure does not stop the others."""
    if options.output:
        os.environ["SEPARATION_CACHE"] = str(files.user_path(options.output))
    models = entries()
    code = 0
    for model in [entry for name in options.names for entry in _named(models, name)]:
        try:
            sys.stdout.write(fetch(model))
        except (DownloadError, OSError) as error:
            code = 1
            sys.stderr.write(f"{model.pillar}/{model.name}: {error}\n")
    return code


def _named(models: Sequence[Entry], name: str) -> list[Entry]:
    matches = [m for m in models if name in (m.name, f"{m.pillar}/{m.name}")]
    if not matches:
        names = ", ".join(f"{model.pillar}/{model.name}" for model in models)
        raise RegistryError(f"{name} is an unknown model; expected one of {names}")
    return matches


if __name__ == "__main__":
    sys.exit(main())
