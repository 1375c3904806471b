"""Where things lie that can be made again: miniatures, records, downloads."""

from __future__ import annotations

import os
from pathlib import Path


def folder(*parts: str) -> Path:
    """Name a folder of the cache, ``SEPARATION_CACHE`` or one in the home folder.

    >>> folder("records").name
    'records'
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = os.environ.get("SEPARATION_CACHE") or Path(home) / "tf-separation-suite"
    return Path(root, *parts)
