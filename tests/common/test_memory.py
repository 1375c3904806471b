"""Memory of a process after large arrays are freed."""

import subprocess
import sys

import pytest

# The first array makes the C library take those of its size for small, and the last one
# lies above the holes of those before.
HOLES = """
import re
import numpy as np
from common import memory
if {release_memory}:
    memory.release_memory()
np.ones(30 << 20, np.uint8)
arrays = [np.ones(4 << 20, np.uint8) for _ in range(50)]
del arrays[:-1]
with open("/proc/self/status") as status:
    print(re.search(r"VmRSS:\\s+(\\d+)", status.read())[1])
"""


def kilobytes(release_memory):
    code = HOLES.format(release_memory=release_memory)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_freed_arrays_are_released():
    assert kilobytes(True) < kilobytes(False) - 150_000
