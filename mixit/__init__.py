"""Unsupervised sound separation by mixture invariant training.

Wisdom, Tzinis, Erdogan, Weiss, Wilson, Hershey: Unsupervised Sound Separation Using
Mixture Invariant Training, NeurIPS 2020, arXiv 2006.12701.
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


def load(path: str | Path, **options: Any) -> Separator:
    """Make a separator; see :func:`mixit.separate.load` for the options.

    Args:
        path: Run folder, checkpoint of Google's program, or name of a bundled or
            published model.
        **options: Options of :func:`mixit.separate.load`.

    Returns:
        The separator: ``separator(mixture)`` takes [channels, samples] and returns a
        dictionary of such arrays by source.
    """
    from mixit import separate

    return separate.load(path, **options)


__all__ = ["load"]
