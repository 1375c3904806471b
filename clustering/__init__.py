"""Speech and music into sources by clustering of learned embeddings, and its kin.

Hershey, Chen, Le Roux, Watanabe: Deep clustering: discriminative embeddings for
segmentation and separation, ICASSP 2016.
"""

from __future__ import annotations

import common

if getattr(common, "__suite__", None) != "tf-separation-suite":
    raise ImportError(
        f"the package 'common' was found at {common.__path__[0]}, which is not the one "
        "of tf-separation-suite; rename that folder or file, or run 'python -P -m ...' "
        "so that the current folder is not searched first"
    )
