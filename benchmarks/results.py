"""Assemble what the benchmarks of ``run.sh`` wrote into ``RESULTS.md``.

``python benchmarks/results.py FOLDER``: FOLDER holds, for each benchmark NAME,
``NAME.jsonl`` with its comparisons (:func:`turns.record`), ``NAME.md`` with what it
printed, ``NAME.done`` once it has ended, and ``NAME.failed`` with the reason if it
could not run. ``FOLDER/peers.json`` has the versions of the peers, and ``--quick`` says
that the sizes were small.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import scaling
import turns


class Benchmark(NamedTuple):
    """What a benchmark measures or stands beside, and the environment it needs."""

    what: str
    peer: str = "none"


BENCHMARKS = {
    "against_asteroid": Benchmark("asteroid on PyTorch", "asteroid"),
    "against_nussl": Benchmark("nussl on PyTorch and scikit-learn", "nussl"),
    "against_openunmix": Benchmark("openunmix on PyTorch", "openunmix"),
    "loading_openunmix": Benchmark("the data loading of openunmix", "openunmix"),
    "first_steps": Benchmark("losses of openunmix's first steps", "openunmix"),
    "against_google": Benchmark("Google's program for MixIT", "google"),
    "bss_eval": Benchmark("museval"),
    "recurrent": Benchmark("the LSTM of Keras"),
    "network": Benchmark("a port of the TDCN++ layer by layer"),
    "mixit_loss": Benchmark("the unrolled search of all assignments"),
    "memory": Benchmark("training without gradient checkpointing"),
    "light_runtime": Benchmark("separation with TensorFlow and without"),
    "cold_start": Benchmark("start with TensorFlow and without; size of both"),
    "first_preview": Benchmark("the web page with TensorFlow and without"),
    "folder_of_songs": Benchmark("one command for 100 songs, and one for each"),
    "growth": Benchmark("growth with length, batch, outputs and cores"),
    "field_day": Benchmark("a day of field recordings, and a kill"),
    "data_rates": Benchmark("rates of reading and writing data"),
    "adversarial_step": Benchmark("the graph of the original, quoted"),
    "live": Benchmark("latency of stems that are read while they are written"),
    "exporting": Benchmark("export"),
}

TRAININGS = (
    *("bundled_scores", "duels", "mir1k", "reproduce", "second_phase"),
    *("speakers", "two_speakers", "unlabelled"),
)
"""Programs of trainings, which take hours and have tables of their own."""

OURS = "tensorflow", "tf-keras", "numpy", "scipy", "onnxruntime", "museval"
COLUMNS = {"cpu": "CPU time", "wall": "wall time", "peak": "peak memory"}


def ratios(ours: list[dict], other: list[dict], key: str) -> str:
    """Write the median of the ratios of all turns, and the least and the largest.

    >>> ratios([{"cpu": 1.0}] * 3, [{"cpu": 2.0}, {"cpu": 4.0}, {"cpu": 3.0}], "cpu")
    'x 3.00 (2.00 to 4.00)'
    >>> ratios([{"cpu": 1.0}], [{"cpu": 2.0}], "wall")
    ''
    """
    pairs = [
        theirs[key] / mine[key]
        for mine, theirs in zip(ours, other, strict=False)
        if key in mine and key in theirs and mine[key]
    ]
    if not pairs:
        return ""
    if key == "peak" or len(pairs) == 1:
        return f"x {pairs[-1]:.2f}"
    middle = statistics.median(pairs)
    return f"x {middle:.2f} ({min(pairs):.2f} to {max(pairs):.2f})"


def comparisons(file: Path) -> Iterator[str]:
    """Write a row for each program that was compared with ours."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    for comparison in map(json.loads, lines):
        (first, ours), *others = comparison["answers"].items()
        for name, other in others:
            cells = [ratios(ours, other, key) for key in COLUMNS]
            turns_ = min(len(ours), len(other))
            yield (
                f"| {comparison['title']} | {name} / {first} | {' | '.join(cells)} "
                f"| {turns_} |"
            )


def failure(folder: Path, name: str) -> str:
    """Return why a benchmark did not run, or nothing."""
    reason = folder / f"{name}.failed"
    if reason.exists():
        return reason.read_text("utf-8").strip().replace("|", "/") or "it failed"
    if (folder / f"{name}.done").exists():
        return ""
    started = (folder / f"{name}.md").exists()
    return "it was stopped before its end" if started else "it was not started"


def printed(folder: Path, name: str) -> list[str]:
    """Return the text that a benchmark printed, its headings two levels lower."""
    text = (folder / f"{name}.md").read_text("utf-8")
    return re.sub(r"^(#+ )", r"##\1", text, flags=re.MULTILINE).splitlines()


def head(folder: Path, quick: bool) -> list[str]:
    """Describe the machine and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in OURS)
    peers = json.loads((folder / "peers.json").read_text("utf-8"))
    known = [f"{name}: {versions}" for name, versions in peers.items()]
    revision = ["git", "-C", str(turns.ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(revision, capture_output=True, text=True, check=False)
    command = "benchmarks/run.sh --quick" if quick else "benchmarks/run.sh"
    size = "small sizes and two turns" if quick else "full sizes"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        "# Results",
        "",
        f"Written by `{command}` with {size}, commit {commit.stdout.strip()}, "
        f"{dt.date.today():%Y-%m-%d}.",
        "",
        f"- Machine: {scaling.processor()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}.",
        f"- This suite: Python {platform.python_version()}, {packages}.",
        *[f"- Environment of {each}." for each in known],
        f"- Load at the end: {os.getloadavg()[2]:.1f} of 15 minutes. Other programs "
        "used the machine at the same time. They slow down both sides of a "
        "comparison, whose runs alternate; CPU time is the fairer measure. On a busy "
        "machine, threads of PyTorch spend CPU time waiting for each other, so the "
        "ratios to it are higher than on an idle one.",
        "",
    ]


def text(folder: Path, quick: bool) -> str:
    """Write everything."""
    lines = [
        *head(folder, quick),
        "## Comparisons",
        "",
        "How many times what ours takes, the median of the ratios of all turns and "
        "their range.",
    ]
    failed = {name: failure(folder, name) for name in BENCHMARKS}
    for name, benchmark in BENCHMARKS.items():
        rows = list(comparisons(folder / f"{name}.jsonl"))
        if not rows and not failed[name]:
            continue
        lines += ["", f"### `{name}.py`: {benchmark.what}", ""]
        if failed[name]:
            lines += [f"**No complete result: {failed[name]}**", *[""] * bool(rows)]
        if rows:
            lines += [
                f"| | ratio | {' | '.join(COLUMNS.values())} | turns |",
                f"|{'---|' * (3 + len(COLUMNS))}",
                *rows,
            ]
    names = ", ".join(f"`{name}.py`" for name in TRAININGS)
    lines += [
        "",
        f"Not part of these results: {names}, which train for hours and have tables "
        "of their own, and `scaling.py` with [scaling.md](scaling.md).",
        "",
        "## All figures",
    ]
    for name in BENCHMARKS:
        if not failed[name]:
            lines += ["", *printed(folder, name)]
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true", help="list benchmarks and peers")
    options = parser.parse_args()
    if options.list:
        lines = [f"{name} {each.peer}\n" for name, each in BENCHMARKS.items()]
        sys.stdout.write("".join(lines))
        return 0
    path = Path(__file__).with_name("RESULTS.md")
    path.write_text(text(options.folder, options.quick), "utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
