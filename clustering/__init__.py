"""Separation of speech and music by clustered embeddings, masks or waveforms.

Hershey, Chen, Le Roux, Watanabe: Deep clustering: discriminative embeddings for
segmentation and separation, ICASSP 2016.
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


def load(path: str | Path, **options: Any) -> Separator:
    """Make a separator; see :func:`clustering.separate.load` for the options.

    Args:
        path: Run folder, the name of a bundled or published model, or a file of nussl,
            asteroid or torchaudio.
        **options: Options of :func:`clustering.separate.load`.

    Returns:
        The separator: ``separator(mixture)`` takes [channels, samples] and returns a
        dictionary of such arrays by source.
    """
    from clustering import separate

    return separate.load(path, **options)


__all__ = ["load"]
