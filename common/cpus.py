"""The number of CPUs that this process may use, and of threads to use them."""

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


def threads(jobs: int | None) -> int:
    """Return the number of threads to start.

    Args:
        jobs: The number that was asked for; None takes one for each CPU.

    Raises:
        ValueError: It is below 1.

    >>> threads(2)
    2
    >>> threads(None) == count()
    True
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs is {jobs}; expected at least 1")
    return jobs or count()
