"""A day of field recordings: memory, real-time factor, activity, and a kill.

``python benchmarks/field_day.py --output DIR`` writes ``field_day.md`` beside itself.
The recordings are synthetic, at 22.05 kHz: calls and rain over wind that swells. One
file of 24 hours goes through the small network ``mixit/universal``; the network of the
published bird models, with random weights, has some minutes. Then a folder of shorter
recordings is killed in the middle and separated again. ``--quick`` takes a minute of
each and writes nothing. A recording in ``DIR`` is not made again.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import turns
from light_runtime import spend

from common import audio, files
from common.synthetic import sounds

RATE = 22050
HOUR = 3600
CALLS, CALL_SECONDS = 200, 4
BLOCK_SECONDS = 60
ACTIVITY_SECONDS = 60
SMALL = "universal"
FORMAT, SUFFIX = "flac16", "flac"
LIMIT_MB = 2000
"""What a day must not need more of."""


def recording(path: Path, seconds: int, seed: int = 0) -> Path:
    """Write wind with calls and rain in it, a minute at a time."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    length = CALL_SECONDS * RATE
    makers = sounds.chirps, sounds.chirps, sounds.chirps, sounds.rain
    calls = [makers[n % 4](length, RATE, rng) for n in range(CALLS)]
    with audio.Writer(path, RATE, 1, FORMAT) as file:
        for start in range(0, seconds, BLOCK_SECONDS):
            samples = RATE * min(BLOCK_SECONDS, seconds - start)
            swell = 0.01 * (1.1 + np.sin(np.arange(samples) / RATE + start))
            wave = rng.standard_normal(samples, np.float32) * swell
            for _ in range(rng.integers(12)):
                at = int(rng.integers(max(1, samples - length)))
                call = calls[rng.integers(CALLS)][: samples - at]
                wave[at : at + length] += rng.uniform(0.05, 0.5) * call
            file.write(np.clip(wave, -1.0, 1.0)[np.newaxis])
    return path


def full_network(folder: Path) -> Path:
    """Make a run folder of the network of the bird models, with random weights."""
    from common import config as configuration
    from common.training.checkpoint import save_network
    from mixit.config import PRESETS
    from mixit.model import Tdcn

    preset = PRESETS["yfcc100m"]
    shape = replace(preset.model, sample_rate=RATE, num_sources=4)
    folder.mkdir(parents=True, exist_ok=True)
    configuration.save(replace(preset, model=shape), folder / "config.json")
    save_network(folder, Tdcn(shape))
    return folder


def separated(sound: Path, seconds: int, model: str, output: Path) -> str:
    """Separate a recording; return a row of the table.

    Raises:
        RuntimeError: The report lacks windows of some output.
    """
    words = [str(sound), "--model", model, "--output", str(output), "--overwrite"]
    words += ["--format", FORMAT, "--activity", str(ACTIVITY_SECONDS)]
    cost = spend("mixit.separate", *words, python=sys.executable)
    report = json.loads((output / sound.stem / "report.json").read_text("utf-8"))
    stems = report["activity"]["stems"]
    windows = {len(stem["levels_db"]) for stem in stems.values()}
    if windows != {-(-seconds // ACTIVITY_SECONDS)}:
        raise RuntimeError(f"{sound}: the activity has {windows} windows")
    title = f"{seconds / HOUR:.3g} h at {RATE} Hz by {Path(model).name}"
    spent = {"wall": cost.wall, "cpu": cost.cpu, "peak": cost.megabytes}
    turns.record(title, {"ours": [spent]})
    return (
        f"| {Path(model).name} | {seconds / HOUR:.3g} | {len(stems)} | "
        f"{cost.wall / seconds:.3f} | {cost.cpu / seconds:.3f} | "
        f"{cost.megabytes:.0f} | {len(stems)} x {windows.pop()} |\n"
    )


def killed(folder: Path, seconds: int, count: int) -> str:
    """Kill the separation of a folder in the middle, repeat it, and compare."""
    recordings = folder / "recordings"
    recordings.mkdir(exist_ok=True)
    for number in range(count):
        recording(recordings / f"{number:02}.{SUFFIX}", seconds, number + 1)
    whole, broken = folder / "whole", folder / "broken"
    words = ["mixit.separate", str(recordings), "--model", SMALL, "--format", FORMAT]
    words += ["--skip-done"]
    spend(*words, "--output", str(whole), python=sys.executable)
    process = subprocess.Popen(
        [sys.executable, "-m", *words, "--output", str(broken)],
        stdout=subprocess.DEVNULL,
    )
    while len(reports(broken)) < count // 2 and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in reports(broken)}
    spend(*words, "--output", str(broken), python=sys.executable)
    again = [path for path in before if path.stat().st_mtime_ns != before[path]]
    stems = [path.relative_to(whole) for path in sorted(whole.rglob(f"*.{SUFFIX}"))]
    _, other, missing = filecmp.cmpfiles(whole, broken, map(str, stems), shallow=False)
    return (
        f"\n{count} recordings of {seconds} s in a folder, killed by SIGKILL when "
        f"{len(before)} were done: the same command separated the other "
        f"{count - len(before)}, {len(again)} of the done ones again. "
        f"Of {len(stems)} stems {len(other) + len(missing)} differ from those of an "
        "undisturbed run in a bit.\n"
    )


def reports(folder: Path) -> list[Path]:
    """List the reports of the recordings that are done."""
    return sorted(folder.rglob("report.json"))


def page(folder: Path, quick: bool) -> Iterator[str]:
    """Measure, and yield the parts of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    day, part, shorter = (60, 30, 20) if quick else (24 * HOUR, HOUR // 6, 600)
    yield (
        "# A day of field recordings\n\nWritten by `python benchmarks/field_day.py`. "
        f"Synthetic recordings, mono at {RATE} Hz, as {FORMAT}; levels of every "
        f"output in windows of {ACTIVITY_SECONDS} s in the report. `universal` has 1.5 "
        "M weights and works at 16 kHz; `bird4` is the network of the published bird "
        "models with 9.1 M weights at 22.05 kHz, here random. TensorFlow "
        f"{version('tensorflow')}, {os.cpu_count()} cores with other work on them; "
        "from the start of the command to its end.\n\n"
        "| model | hours | outputs | wall s per second | CPU s per second | "
        "peak MB | windows of activity |\n|---|---|---|---|---|---|---|\n"
    )
    sound = recording(folder / f"day-{day}.{SUFFIX}", day)
    yield separated(sound, day, SMALL, folder / "stems")
    sound = recording(folder / f"part-{part}.{SUFFIX}", part)
    bird = full_network(folder / "bird4")
    yield separated(sound, part, str(bird), folder / "stems")
    yield killed(folder, shorter, 6)


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="default: in the cache")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    folder = options.output or files.cache_folder("benchmarks", "field_day")
    turns.publish(page(folder, options.quick), __file__, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
