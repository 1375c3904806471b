"""What is interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = "out"
"""Folder of the results, below the folder of an operation."""


def digest(content: bytes | Path) -> str:
    """Hash bytes, or those of a file."""
    if isinstance(content, Path):
        content = content.read_bytes()
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Operation:
    """Something that writes files, and goes on when it is started again.

    Attributes:
        prepare: Makes the inputs in a folder, and what an earlier run left in ``out``.
        run: Runs it in that folder; returns the exit code.
        unfinished: Whether a file of that name may be incomplete.
        content: Returns what two runs have in common of a file.
        leftover: Whether a file of that name may stay after a restart.
        synced: Whether each file is on disk before it has its name; TensorFlow writes
            checkpoints otherwise, of which a run takes the newest whole one.
    """

    prepare: Callable[[Path], object]
    run: Callable[[Path], int]
    unfinished: Callable[[str], bool] = lambda name: False
    content: Callable[[Path], Any] = digest
    leftover: Callable[[str], bool] = lambda name: False
    synced: bool = True
