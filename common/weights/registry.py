"""List, describe and download models: ``list``, ``show NAME``, ``fetch NAME``.

The module ``published`` of a package lists its pretrained and bundled models by the
function ``entries``, and downloads a pretrained one by ``fetch``. A package without
this module has only the models in its folder ``bundled``; one that is not installed is
skipped.
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

from common import files
from common.download import DownloadError, recorded, verify
from common.errors import exit_code
from common.files import digest
from common.weights import card
from common.weights.card import NOT_MEASURED, UNSTATED

PILLARS = ("mixit", "unmix", "adversarial", "clustering")
UNKNOWN = "unknown"
NOT_DOWNLOADED = "unknown until first download"
CONFIG = "config.json"
WEIGHTS = ("*.data-*-of-*", "*.pth", "*.safetensors")
MOST_LETTERS = 60
HEAD = 8
NAME_HELP = "its name, or PACKAGE/NAME"


class RegistryError(ValueError):
    """A name that no model has."""


@dataclass(frozen=True)
class File:
    """One file of weights.

    Attributes:
        path: Its path, also before it is downloaded.
        address: Where it is published; empty if it is bundled.
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
        name: Name for ``load`` and ``--model`` of the package.
        pillar: Name of the package.
        source: Where it comes from.
        licence: Of the weights.
        score: Its score on held-out sound, or ``not measured``.
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
    def bundled(self) -> bool:
        """Whether it comes with the package."""
        return not any(file.address for file in self.files)

    @property
    def size(self) -> int | None:
        """Size of all files in bytes, None where one is unknown."""
        unknown = any(file.size is None for file in self.files)
        return None if unknown else sum(file.size or 0 for file in self.files)


def entries() -> list[Entry]:
    """Return the models of all installed packages, bundled ones first."""
    models: list[Entry] = []
    for pillar in PILLARS:
        try:
            module = importlib.import_module(f"{pillar}.published")
        except ModuleNotFoundError as error:
            if error.name not in (pillar, f"{pillar}.published"):
                raise
            models += _bundled(pillar) if error.name != pillar else []
            continue
        models += module.entries()
    return sorted(models, key=lambda entry: not entry.bundled)


def _bundled(pillar: str) -> list[Entry]:
    """Describe the models of a package that has no published ones."""
    (folder,) = importlib.import_module(pillar).__path__
    return shipped(pillar, Path(folder) / "bundled")


def bundled_names(models: Path) -> list[str]:
    """List the names of the bundled models of a package.

    Args:
        models: Folder of its bundled models.
    """
    return sorted(path.parent.name for path in models.glob(f"*/{CONFIG}"))


def find_bundled(models: Path, name: str | Path) -> Path | None:
    """Return the run folder of a bundled model, or None for any other name.

    Args:
        models: Folder of the bundled models of a package.
        name: A name of a model, or any other text.
    """
    folder = models / name
    is_name = Path(name).name == str(name)
    return folder if is_name and (folder / CONFIG).exists() else None


def shipped(pillar: str, folder: Path) -> list[Entry]:
    """Describe the models that come with a package.

    Args:
        pillar: Name of the package.
        folder: Holds a run folder for each model, with its :class:`card.Card`.

    Returns:
        One entry for each model.

    Raises:
        CardError: A card is damaged or incomplete.
    """
    return [_shipped(pillar, folder / name) for name in bundled_names(folder)]


def _shipped(pillar: str, folder: Path) -> Entry:
    about = card.read(folder)
    paths = sorted(path for suffix in WEIGHTS for path in folder.rglob(suffix))
    return Entry(
        folder.name,
        pillar,
        "comes with the package",
        about.licence if about else UNSTATED,
        about.score if about else NOT_MEASURED,
        True,
        [File(path, "", path.stat().st_size, sha256=digest(path)) for path in paths],
        _facts(about) if about else {},
    )


def _facts(about: card.Card) -> dict[str, Any]:
    scores = "; ".join(map(str, about.scores[1:]))
    facts = {
        "summary": about.summary,
        "sources": ", ".join(about.sources),
        "sample rate": f"{about.sample_rate} Hz",
        "channels": about.channels,
        "trained on": about.trained_on,
        "trained by": about.command,
    }
    return facts | ({"further scores": scores} if scores else {})


def published_file(
    path: Path,
    address: str,
    size: int | None = None,
    about: bool = False,
    sha256: str = "",
) -> File:
    """Describe a file that is downloaded, by the record of its download if any.

    Args:
        path: Its path, also before it is downloaded.
        address: Where it is published.
        size: Its published size in bytes, None where that is unknown.
        about: Whether the size is computed from the number of weights.
        sha256: Its published SHA-256 or the head of it; empty where that is unknown.
    """
    download = recorded(path)
    if download:
        return File(path, address, download.size, sha256=download.sha256)
    if path.exists():
        return File(path, address, path.stat().st_size, sha256=sha256)
    return File(path, address, size, about, sha256)


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
            f"  SHA-256: {_judged(file)}",
        ]
    return "\n".join(lines) + "\n"


def _judged(file: File) -> str:
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
    for each in (listing, showing):
        each.add_argument("--json", action="store_true", help="print a list in JSON")
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
