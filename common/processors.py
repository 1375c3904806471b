"""How many processors this process may use."""

from __future__ import annotations

import os


def count() -> int:
    """Return the number of processors that the system gives to this process.

    Linux may give it some of those of the machine, as in a container; other systems do
    not tell, and all of them are counted.

    >>> count() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
