"""This suite and a peer at the same work in turn, each in its own process.

A benchmark names its roles, functions that prepare some work and return it:
``our-X`` in this interpreter and ``their-X`` in that of the peer's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import turns

Work = Callable[..., Any]
Roles = Mapping[str, Callable[[Path], Work]]
Start = Callable[[str, str], dict[str, turns.Worker]]
Part = Callable[[Start, int, Path], Iterator[str]]
"""Starts both programs, compares them a number of times and yields tables."""


def pair(
    file: str, options: argparse.Namespace, folder: Path, what: str, peer: str
) -> dict[str, turns.Worker]:
    """Start both programs for one task, with the same number of threads."""
    workers, threads = {}, str(options.threads)
    names = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
    for name, whose, program in (
        ("ours", "our", sys.executable),
        (peer, "their", options.python),
    ):
        words = [program, file, "--role", f"{whose}-{what}", "--folder", str(folder)]
        workers[name] = turns.Worker(
            words, whose == "our", **dict.fromkeys(names, threads)
        )
    return workers


def compared(
    title: str, workers: Mapping[str, turns.Worker], runs: int, *what: Any, folder: Path
) -> str:
    """Compare both programs; return the times and the results of each."""
    file = folder / "results.json"
    table = turns.table(title, turns.compare(workers, runs, *what, file))
    measured = []
    for name, worker in workers.items():
        worker.ask(*what, file)
        values = json.loads(file.read_text("utf-8")).items()
        measured.append(f"{name}: " + ", ".join(f"{k} {v:.6g}" for k, v in values))
    return f"{table}\n{'; '.join(measured)}.\n"


def end(workers: Mapping[str, turns.Worker]) -> None:
    """End programs."""
    for worker in workers.values():
        worker.end()


def tell(result: str, **values: float) -> None:
    """Write results to a file for :func:`compared`."""
    numbers = {name: float(value) for name, value in values.items()}
    Path(result).write_text(json.dumps(numbers), encoding="utf-8")


def main(file: str, head: str, roles: Roles, parts: Mapping[str, Part]) -> int:
    """Run all comparisons and write their tables beside ``file``, or play a role."""
    parser = argparse.ArgumentParser(description=head)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=list(parts), help="write no file")
    parser.add_argument("--role", choices=list(roles), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        turns.serve(roles[options.role](options.folder))
        return 0
    options.runs = 2 if options.quick else options.runs
    text = (
        f"# {head}\n\nWritten by `python benchmarks/{Path(file).name} --threads "
        f"{options.threads}`. {os.cpu_count()} cores of a shared machine, whose load "
        "is stated below each table. CPU seconds, summed over all threads, are the "
        "fairer measure; on a busy machine they include the time that PyTorch's "
        f"threads wait for each other. Medians of {options.runs} alternating runs.\n"
    )
    sys.stdout.write(text)
    with tempfile.TemporaryDirectory() as folder:
        start = partial(pair, file, options, Path(folder))
        for name in [options.only] if options.only else parts:
            for table in parts[name](start, options.runs, Path(folder)):
                section = f"{table}\nLoad {os.getloadavg()[0]:.1f}.\n"
                sys.stdout.write(section)
                sys.stdout.flush()
                text += section
    if not (options.quick or options.only):
        Path(file).with_suffix(".md").write_text(text, encoding="utf-8")
    return 0
