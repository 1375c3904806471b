"""Set the memory allocators of TensorFlow and of the C library; measure the peak."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

LARGE_BYTES = 1 << 21
_M_MMAP_THRESHOLD = -3


def keep() -> None:
    """Make TensorFlow reuse the memory of large tensors, by its BFC allocator.

    Otherwise the C library returns the memory to the system after every operation, and
    page faults take a tenth of the time of a training step and half of that of the
    Wiener filter. Must be called before any operation.
    """
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    if not hasattr(os, "sysconf"):
        return  # On Windows TensorFlow has its own limit.
    megabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(megabytes))


def release_memory() -> None:
    """Make the C library release the memory of large arrays as soon as they are freed.

    Otherwise glibc raises its threshold to the size of each freed array, and the
    fragments of chunks of sound add up to some hundred megabytes. It has an effect only
    with glibc.
    """
    mallopt = None
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def peak() -> tuple[str, int]:
    """Measure the largest memory so far.

    Returns:
        The device and its bytes: the GPU that has used most, else this process, whose
        bytes are 0 if the system does not count them.
    """
    # The memory of a process is also measured without TensorFlow.
    import tensorflow as tf

    gpus = [
        gpu.name.partition("device:")[2]
        for gpu in tf.config.list_logical_devices("GPU")
    ]
    used = {gpu: tf.config.experimental.get_memory_info(gpu)["peak"] for gpu in gpus}
    if used:
        return max(used.items(), key=lambda item: item[1])
    return "the process", _peak_of_process()


def _peak_of_process() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # In getrusage a process inherits the peak of its parent.
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(sizes[0]) << 10 if sizes else 0
    try:
        import resource
    except ImportError:
        return 0
    kilobytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobytes
