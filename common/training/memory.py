"""Memory of a CPU: what TensorFlow keeps of it, and what the C library gives back."""

from __future__ import annotations

import ctypes
import os
import sys

LARGE_BYTES = 1 << 21
_M_MMAP_THRESHOLD = -3


def keep() -> None:
    """Let TensorFlow keep the memory of large tensors for the next ones.

    Otherwise the C library returns it to the system after every operation, and the
    pages are made anew: a tenth more time for a training step, twice the time for a
    filter. It must come before any operation.
    """
    megabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(megabytes))


def give_back() -> None:
    """Let the C library return large arrays to the system as soon as they are freed.

    Otherwise it takes the size of any such array for small from then on, and the holes
    that blocks of sound leave behind come to some hundred megabytes. Only where its
    C library is GNU's.
    """
    mallopt = None
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
