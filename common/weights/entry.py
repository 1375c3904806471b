"""Entries of the list of models: where the weights of each lie, licence and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.download import recorded


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
