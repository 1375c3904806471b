"""Commands of the packages as a benchmark calls them, several at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
THREADS = {
    **{f"TF_NUM_{pool}_THREADS": "1" for pool in ("INTRAOP", "INTEROP")},
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Variables of a command that runs beside others."""


def call(module: str, *words: str) -> None:
    """Run a command on one thread, as several run at once."""
    subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**os.environ, **THREADS},
        stdout=subprocess.DEVNULL,
        check=True,
    )
