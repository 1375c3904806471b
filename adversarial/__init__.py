"""Singing voice and accompaniment, learned from songs with and without their sources.

Stoller, Ewert, Dixon: Adversarial semi-supervised audio source separation applied to
singing voice extraction, ICASSP 2018 (arXiv 1711.00048).
"""

from __future__ import annotations

import common

if getattr(common, "__suite__", None) != "tf-separation-suite":
    raise ImportError(
        f"the package 'common' was found at {common.__path__[0]}, which is not the one "
        "of tf-separation-suite; rename that folder or file, or run 'python -P -m ...' "
        "so that the current folder is not searched first"
    )
