"""Seconds until a new process has separated its first second, and what is installed.

``python benchmarks/cold_start.py`` writes ``cold_start.md`` beside itself: the commands
of the bundled models beside onnxruntime alone, the import of TensorFlow as their lower
bound, and the megabytes of the packages that each of both ways needs. ``--quick``
takes two turns of one model and writes nothing.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import turns
from light_runtime import PILLARS, noise, spend

LARGEST = 6
"""Packages of an installation that the table names."""

NAME = re.compile(r"[\w.-]+")


def starts(folder: Path, pillar: str, runs: int) -> turns.Answers:
    """Start the command of a package, with TensorFlow and without, in turn."""
    sound = noise(folder / f"{pillar}.wav", 1, PILLARS[pillar])
    exported = str(folder / pillar)
    spend(f"{pillar}.export", "mini", "--output", exported, python=sys.executable)
    stems = "--overwrite", "--output", str(folder / "stems")
    commands = {
        "`X.light`": [f"{pillar}.light", sound, "--model", exported, *stems],
        "`X.separate`": [f"{pillar}.separate", sound, "--model", "mini", *stems],
    }
    answers: dict[str, list[turns.Spent]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, words in commands.items():
            cost = spend(*words, python=sys.executable)
            spent = {"wall": cost.wall, "cpu": cost.cpu, "peak": cost.megabytes}
            answers[name].append(spent)
    return answers


def seconds_to_import(module: str, runs: int) -> float:
    """Take the least time in which a new interpreter imports a module."""
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        spent.append(time.perf_counter() - began)
    return min(spent)


def requirements(names: Sequence[str]) -> dict[str, Distribution]:
    """Collect the installed packages that some need, themselves included."""
    found: dict[str, Distribution] = {}
    left = list(names)
    while left:
        name = left.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:  # for another system or Python
            continue
        lines = found[key].requires or []
        needed = [line for line in lines if "extra ==" not in line]
        left += [match[0] for line in needed if (match := NAME.match(line))]
    return found


def megabytes(package: Distribution) -> float:
    """Size of the files of a package, without bytecode."""
    paths = [Path(str(file.locate())) for file in package.files or []]
    sizes = [p.stat().st_size for p in paths if p.suffix != ".pyc" and p.is_file()]
    return sum(sizes) / 1e6


def sizes() -> Iterator[str]:
    """Write the table of what is installed."""
    light = (turns.ROOT / "constraints" / "light.txt").read_text("utf-8")
    names = [match[0] for line in light.splitlines() if (match := NAME.match(line))]
    yield "\n## Installed\n\n| | packages | MB | largest |\n|---|---|---|---|\n"
    for title, wanted in (
        ("with TensorFlow", ["tf-separation-suite"]),
        ("without, `constraints/light.txt`", names),
    ):
        found = requirements(wanted)
        size = {name: megabytes(package) for name, package in found.items()}
        largest = sorted(size, key=lambda name: -size[name])[:LARGEST]
        listed = ", ".join(f"{name} {size[name]:.0f}" for name in largest)
        yield f"| {title} | {len(size)} | {sum(size.values()):.0f} | {listed} |\n"
    yield "\n| this suite's package | MB with its bundled models |\n|---|---|\n"
    for package in ("common", *PILLARS, "harmony_split"):
        files = (turns.ROOT / package).rglob("*")
        own = [p for p in files if p.is_file() and p.suffix != ".pyc"]
        yield f"| `{package}` | {sum(p.stat().st_size for p in own) / 1e6:.1f} |\n"


def tables(pillars: Sequence[str], runs: int) -> Iterator[str]:
    """Measure everything; parts of the text."""
    yield (
        "# Cold start and size\n\nWritten by `python benchmarks/cold_start.py`; from "
        f"the start of a process to its end, medians of {runs} alternating runs.\n\n"
        "| | wall s | CPU s | peak MB |\n|---|---|---|---|\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for pillar in pillars:
            answers = starts(Path(folder), pillar, runs)
            turns.record(f"Cold start of `{pillar}/mini`, 1 s of sound", answers)
            for name, spent in answers.items():
                wall, cpu, peak = (
                    statistics.median(each[key] for each in spent)
                    for key in ("wall", "cpu", "peak")
                )
                label = f"{name.replace('X', pillar)} of 1 s"
                yield f"| {label} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |\n"
    for module in ("tensorflow", "onnxruntime"):
        yield f"| `import {module}` | {seconds_to_import(module, runs):.1f} | | |\n"
    yield from sizes()


def main() -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    pillars = list(PILLARS)[:1] if options.quick else list(PILLARS)
    runs = 2 if options.quick else options.runs
    turns.publish(tables(pillars, runs), __file__, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
