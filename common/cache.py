"""Where things lie that can be made again: miniatures, records, downloads."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def folder(*parts: str) -> Path:
    """Name a folder of the cache, ``SEPARATION_CACHE`` or one in the home folder.

    >>> folder("records").name
    'records'
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = os.environ.get("SEPARATION_CACHE") or Path(home) / "tf-separation-suite"
    return Path(root, *parts)


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Let one process at a time make what lies at a place; the others wait for it.

    Args:
        place: File or folder to be made; the lock is a hidden file beside it, which
            goes with the work and holds nobody up after a kill.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.parent / f".{place.name}.lock"
    with _hold(path):
        try:
            yield
        finally:
            path.unlink()


def _hold(path: Path) -> TextIO:
    """Lock a file that still has its name once it is locked."""
    while True:
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except FileNotFoundError:
            pass  # The process before has removed it: make a new one.
        file.close()
