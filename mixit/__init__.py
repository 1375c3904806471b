"""Unsupervised sound separation by mixture invariant training.

Wisdom, Tzinis, Erdogan, Weiss, Wilson, Hershey: Unsupervised Sound Separation Using
Mixture Invariant Training, NeurIPS 2020, arXiv 2006.12701.
"""

import common

if getattr(common, "__suite__", None) != "tf-separation-suite":
    raise ImportError(
        f"the package 'common' was found at {common.__path__[0]}, which is not the one "
        "of tf-separation-suite; rename that folder or file, or run 'python -P -m ...' "
        "so that the current folder is not searched first"
    )

from mixit.separate import load

__all__ = ["load"]
