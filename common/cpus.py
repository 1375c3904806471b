"""The number of CPUs that this process may use."""

from __future__ import annotations

import os


def count() -> int:
    """Return the number of CPUs that this process may use.

    On Linux that may be fewer than the machine has, as in a container. Other systems do
    not say, so there all CPUs of the machine count.

    >>> count() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
