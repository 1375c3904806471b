"""Separation of singing from its accompaniment, trained with and without the sources.

Stoller, Ewert, Dixon: Adversarial semi-supervised audio source separation applied to
singing voice extraction, ICASSP 2018 (arXiv 1711.00048).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import common

if getattr(common, "__suite__", None) != "tf-separation-suite":
    raise ImportError(
        f"the package 'common' was found at {common.__path__[0]}, which is not the one "
        "of tf-separation-suite; rename that folder or file, or run 'python -P -m ...' "
        "so that the current folder is not searched first"
    )

if TYPE_CHECKING:
    from common.separation.separator import Separator


def load(path: str | Path = "newest", **options: Any) -> Separator:
    """Make a separator of a trained network.

    Args:
        path: Run folder, folder of a phase, prefix of a checkpoint, ``newest``, the
            name of a bundled model, or prefix or folder of a checkpoint of the
            original.
        **options: Options of :func:`adversarial.separate.load`.

    Returns:
        The separator: ``separator(mixture)`` takes [channels, samples] and returns a
        dictionary of such arrays by source.
    """
    from adversarial import separate

    return separate.load(path, **options)


__all__ = ["load"]
