"""Names of checkpoints that TensorFlow does not take for patterns.

TensorFlow looks for the files of a checkpoint by a pattern, and has no spelling of a
path with ``[ ] * ?`` or a backslash that it both finds and opens. So such a folder is
reached by a link from a temporary folder.
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
        path: Prefix of a checkpoint, or a folder of checkpoints. The folder that it
            lies in must exist.

    Returns:
        The path as it is, or over a link to the folder that it lies in, which lasts as
        long as the process.

    >>> literal("runs/mine/latest")
    'runs/mine/latest'
    >>> Path(literal("runs/mine[1]/latest")).name
    'latest'
    """
    whole = Path(path).absolute()
    if SPECIAL.isdisjoint(str(whole.parent)):
        return str(path)
    return str(_link(whole.parent) / whole.name)


@functools.cache
def _link(folder: Path) -> Path:
    link = _links() / str(next(_numbers))
    link.symlink_to(folder, target_is_directory=True)
    return link


@functools.cache
def _links() -> Path:
    """Make the folder of all links, which goes with the process."""
    folder = TemporaryDirectory(prefix="links-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
