"""Separation without TensorFlow beside separation with it: size, time and memory.

A fresh environment is made by the two lines of ``constraints/light.txt``, the bundled
models are exported, and both commands separate the same sound. ``--quick`` leaves out
the long sound and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import turns

ROOT = Path(__file__).resolve().parents[1]
PILLARS = {"mixit": 8000, "unmix": 16000, "adversarial": 8192, "clustering": 16000}
"""Sample rate of the bundled model of each pillar."""
SHORT, LONG = 10, 3600
INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")


class Cost(NamedTuple):
    """Cost of a command: seconds on the clock and of all cores, and peak megabytes."""

    wall: float
    cpu: float
    megabytes: float


def spend(*command: str, python: str) -> Cost:
    """Run ``python -m`` and measure it."""
    # The fresh environment takes nothing from that of this process.
    own = os.environ.get("PYTHONPATH", "") if python == sys.executable else ""
    paths = [str(ROOT), *filter(None, own.split(os.pathsep))]
    began = time.perf_counter()
    process = subprocess.Popen(
        [python, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}")
    wall = time.perf_counter() - began
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def environment(folder: Path) -> str:
    """Make an environment for separation without TensorFlow; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # Packages on PYTHONPATH would count as installed.
    pip = ["env", "-u", "PYTHONPATH", folder / "bin" / "pip", "install", "-q"]
    copy = folder / "source"
    subprocess.run(["git", "clone", "-q", ROOT, copy], check=True)
    subprocess.run([*pip, "--no-deps", copy], check=True)
    light = ROOT / "constraints" / "light.txt"
    subprocess.run([*pip, "-r", light], check=True)
    return str(folder / "bin" / "python")


def megabytes(python: str) -> float:
    """Size of the packages of an environment, unpacked, without bytecode and pip."""
    (site,) = Path(python).parents[1].glob("lib/python*/site-packages")
    sizes = [
        path.stat().st_size
        for path in site.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        if path.relative_to(site).parts[0].split("-")[0] not in INSTALLERS
    ]
    return sum(sizes) / 1e6


def noise(path: Path, seconds: int, rate: int) -> str:
    """Write stereo noise that swells and fades, a minute at a time."""
    with soundfile.SoundFile(path, "w", rate, 2) as file:
        for start in range(0, seconds, 60):
            samples = rate * min(60, seconds - start)
            drawn = np.random.default_rng(start).normal(0.0, 0.1, [samples, 2])
            swell = np.sin(np.arange(samples) / rate)[:, np.newaxis]
            file.write(drawn * swell)
    return str(path)


def compare(folder: Path, python: str, pillar: str, seconds: int, runs: int) -> str:
    """Separate a sound by both commands; returns a row of the table."""
    sound = noise(folder / f"{pillar}{seconds}.wav", seconds, PILLARS[pillar])
    model = str(folder / pillar)
    shared = "--overwrite", "--output", str(folder / "stems")
    light = [f"{pillar}.light", sound, "--model", model, *shared]
    ours = [f"{pillar}.separate", sound, "--model", "mini", *shared]
    spent: dict[str, list[Cost]] = {"without TensorFlow": [], "with TensorFlow": []}
    for _ in range(runs):
        spent["without TensorFlow"].append(spend(*light, python=python))
        spent["with TensorFlow"].append(spend(*ours, python=sys.executable))
    turns.record(
        f"`{pillar}.separate` of {seconds} s",
        {
            name: [{"wall": c.wall, "cpu": c.cpu, "peak": c.megabytes} for c in costs]
            for name, costs in spent.items()
        },
    )
    costs = [Cost(*map(min, zip(*each, strict=True))) for each in spent.values()]
    cells = " | ".join(
        f"{a:.{digits}f} | {b:.{digits}f}"
        for a, b, digits in zip(*costs, (1, 1, 0), strict=True)
    )
    row = f"| `{pillar}` | {seconds} | {cells} |"
    sys.stderr.write(f"{row}\n")
    return row


def table(rows: list[str], size: float, runs: int) -> str:
    """Write the table."""
    lines = [
        "# Separation without TensorFlow",
        "",
        "`python -m X.light` with the exported bundled models in a fresh environment, "
        "compared with `python -m X.separate --model mini`; written by "
        "`python benchmarks/light_runtime.py`.",
        "",
        f"The packages of the environment take {size:.0f} MB unpacked, without pip and "
        f"bytecode. TensorFlow {version('tensorflow')}, {os.cpu_count()} cores of a "
        f"shared machine; minimum of {runs} runs for 10 s, one run for longer sound. "
        "Time is from the start of the command to its end, when all stems are written; "
        "CPU counts all cores; memory is the peak of the process.",
        "",
        "| bundled model of | sound s | light s | TensorFlow s | light CPU s "
        "| TensorFlow CPU s | light MB | TensorFlow MB |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--long", nargs="*", default=list(PILLARS))
    options = parser.parse_args()
    options.runs = 1 if options.quick else options.runs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        python = environment(folder / "environment")
        size = megabytes(python)
        for pillar in PILLARS:
            where = "--output", str(folder / pillar)
            spend(f"{pillar}.export", "mini", *where, python=sys.executable)
        rows = [compare(folder, python, p, SHORT, options.runs) for p in PILLARS]
        if not options.quick:
            rows += [compare(folder, python, p, LONG, 1) for p in options.long]
    written = table(rows, size, options.runs)
    sys.stdout.write(written)
    if not options.quick:
        Path(__file__).with_suffix(".md").write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
