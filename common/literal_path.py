"""Paths of checkpoints with characters that TensorFlow takes for patterns.

TensorFlow finds the files of a checkpoint by a pattern, and no escaping of ``[ ] * ?``
or a backslash both matches and opens them. Instead, such a folder is opened by a
symbolic link in a temporary folder.
"""

from __future__ import annotations

import atexit
import functools
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

SPECIAL = frozenset("[]*?\\")
_numbers = itertools.count()


def literal(path: str | Path) -> str:
    r"""Return a path to the same file or folder for TensorFlow.

    Args:
        path: Prefix of a checkpoint, or a folder of checkpoints. Its parent must exist.

    Returns:
        The path itself, or a path by a link to its parent, which lasts as long as the
        process.

    >>> literal("runs/mine/latest")
    'runs/mine/latest'
    >>> Path(literal("runs/mine[1]/latest")).name
    'latest'
    """
    absolute = Path(path).absolute()
    # On Windows a backslash separates folders and is not special.
    if SPECIAL.isdisjoint(absolute.parent.as_posix()):
        return str(path)
    return str(_link(absolute.parent) / absolute.name)


@functools.cache
def _link(folder: Path) -> Path:
    link = _links() / str(next(_numbers))
    link.symlink_to(folder, target_is_directory=True)
    return link


@functools.cache
def _links() -> Path:
    """Return a temporary folder for the links, which is removed with the process."""
    folder = TemporaryDirectory(prefix="links-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
