"""How soon the first seconds of all stems of a long sound can be read.

``python benchmarks/live.py HOUR.mp3`` separates its beginning by the bundled models,
with ``--live``, and prints the rows of the table in docs/separating.md. Without a sound
it is noise; ``--quick`` separates 30 s by the first two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
from light_runtime import noise

MODELS = (
    ("mixit", "universal"),
    ("unmix", "mini"),
    ("unmix", "singing"),
    ("adversarial", "mini"),
    ("clustering", "speech2"),
)
EARLY_SECONDS = 5
QUICK_SECONDS = 30
RATE = 44100
READY = b"can be read from now on"
"""Printed when the model is loaded and the stems begin."""


class Cost(NamedTuple):
    """Seconds until the model is loaded, from then to the first stems, and behind."""

    load: float
    early: float
    latency: float
    megabytes: float


def readable_seconds(folder: Path) -> float:
    """Seconds of the shortest stem that somebody reads now."""
    lengths = []
    for path in folder.rglob("*.part.wav"):
        if path.stat().st_size > 100 and "original" not in path.name:
            info = soundfile.info(path)
            lengths.append(info.frames / info.samplerate)
    return min(lengths, default=0.0)


def measure(pillar: str, model: str, song: Path, seconds: float) -> Cost:
    """Separate the beginning of a sound and look at its stems meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"{pillar}.separate", str(song), "--live"]
        command += ["--model", model, "--output", folder, "--json"]
        command += ["--duration", str(seconds)]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        assert process.stdout is not None
        while READY not in process.stderr.readline():
            pass
        loaded = time.perf_counter()
        while readable_seconds(Path(folder)) < EARLY_SECONDS:
            time.sleep(0.02)
        early = time.perf_counter()
        report = json.loads(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}")
    latency = report["latency_seconds"]
    return Cost(loaded - began, early - loaded, latency, used.ru_maxrss / 1024)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all models; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("song", type=Path, nargs="?", help="a long sound")
    parser.add_argument("--seconds", type=float, default=240, help="of it, separated")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    seconds = QUICK_SECONDS if options.quick else options.seconds
    columns = "model | model loaded | first 5 s of all stems | latency | peak memory"
    sys.stdout.write(f"| {columns} |\n|{'---|' * 5}\n")
    with tempfile.TemporaryDirectory() as folder:
        song = options.song or Path(noise(Path(folder) / "noise.wav", 600, RATE))
        for pillar, model in MODELS[:2] if options.quick else MODELS:
            cost = measure(pillar, model, song, seconds)
            sys.stdout.write(
                f"| `{pillar}/{model}` | {cost.load:.1f} s | {cost.early:.1f} s after "
                f"that | {cost.latency:.1f} s | {cost.megabytes:.0f} MB |\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
