"""The number of CPUs that this process may use, and of threads to use them."""

from __future__ import annotations

import argparse
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


def threads(text: str) -> int:
    """Read a number of threads from a command line, as ``type`` of an option.

    Raises:
        ArgumentTypeError: It is no whole number of at least 1.

    >>> threads("2")
    2
    """
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
