"""Music into vocals, drums, bass and other by the networks of Open-Unmix.

Stöter, Uhlich, Liutkus, Mitsufuji: Open-Unmix - A Reference Implementation for Music
Source Separation, Journal of Open Source Software 4 (41), 2019.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    from common.separation.separator import Separator

if getattr(common, "__suite__", None) != "tf-separation-suite":
    raise ImportError(
        f"the package 'common' was found at {common.__path__[0]}, which is not the one "
        "of tf-separation-suite; rename that folder or file, or run 'python -P -m ...' "
        "so that the current folder is not searched first"
    )


def load(path: str | Path, *args: Any, **options: Any) -> Separator:
    """Make a separator; see :func:`unmix.separate.load` for the options.

    Args:
        path: Name of published networks, run folder, or folder of the original.
        *args: The targets, see :func:`unmix.separate.load`.
        **options: Options of :func:`unmix.separate.load`.

    Returns:
        The separator: ``separator(mixture)`` takes [channels, samples] and returns a
        dictionary of such arrays by source.
    """
    from unmix import separate

    return separate.load(path, *args, **options)


__all__ = ["load"]
