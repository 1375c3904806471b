"""Time and memory of programs that do the same work in turn, each in its own process.

A program calls :func:`serve`. The benchmark starts several as :class:`Worker` and gives
them the same work in turn, so that other load on the machine affects them all. Where
the environment variable ``BENCHMARK_RECORD`` names a file, each comparison is added to
it, for ``results.py``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Spent = dict[str, float]
Answers = Mapping[str, Sequence[Mapping[str, float]]]
"""What each program spent in every turn, ours first."""

RECORD = "BENCHMARK_RECORD"
COLUMNS = ("wall s", "CPU s", "lowest CPU s", "peak MB")


class Worker:
    """A program in its own process that works on request.

    Args:
        words: Its command line, the interpreter first.
        ours: Whether it may import this suite.
        variables: Further variables of its environment.
    """

    def __init__(self, words: list[str], ours: bool, **variables: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT) if ours else "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            **variables,
        }
        self.words = words
        self.process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, *what: Any) -> Spent:
        """Let it do a piece of work; its seconds, and its memory so far."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, what)) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """End it."""
        self.process.communicate()

    def _answer(self) -> Spent:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):
                return dict(json.loads(line.removeprefix("answer ")))
        raise SystemExit(f"{' '.join(self.words)} ended early, see its messages above")


def serve(work: Callable[..., Any]) -> None:
    """Call ``work`` with the words of each line of standard input; tell the cost."""
    _reply({})
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        work(*line.split())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        _reply({"wall": wall, "cpu": cpu, "peak": megabytes("VmHWM")})


def compare(
    workers: Mapping[str, Worker], runs: int, *what: Any
) -> dict[str, list[Spent]]:
    """Let all do the same in turn; what each spent in every turn.

    Args:
        workers: Programs by name.
        runs: How often, after once that compiles and allocates.
        what: What to ask them for.
    """
    answers: dict[str, list[Spent]] = {name: [] for name in workers}
    for _ in range(runs + 1):
        for name, worker in workers.items():
            answers[name].append(worker.ask(*what))
    return {name: times[1:] for name, times in answers.items()}


def record(title: str, answers: Answers) -> None:
    """Add a comparison to the file that ``BENCHMARK_RECORD`` names.

    Args:
        title: What was done.
        answers: What each program spent: ``cpu``, ``wall`` and ``peak``, or some.
    """
    if RECORD in os.environ:
        with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"title": title, "answers": answers}) + "\n")


def publish(parts: Iterable[str], program: str, quick: bool) -> None:
    """Print the parts of a page as they come, and write it beside the benchmark.

    Args:
        parts: Texts of Markdown, one after another.
        program: File of the benchmark; the page has the suffix ``.md``.
        quick: Only print.
    """
    text = ""
    for part in parts:
        sys.stdout.write(part)
        sys.stdout.flush()
        text += part
    if not quick:
        Path(program).with_suffix(".md").write_text(text, "utf-8")


def timed(pairs: Sequence[Sequence[float]], **more: float) -> list[Spent]:
    """Name the numbers of turns, each a pair of wall and CPU seconds.

    >>> timed([(2.0, 3.0)], peak=5.0)
    [{'wall': 2.0, 'cpu': 3.0, 'peak': 5.0}]
    """
    return [{"wall": wall, "cpu": cpu, **more} for wall, cpu in pairs]


def table(title: str, answers: Answers) -> str:
    """Record a comparison; make lines of Markdown with it.

    Returns:
        Medians, lowest CPU seconds and peak memory of each program, and what the others
        take of the first's.
    """
    record(title, answers)
    results = {name: _summary(times) for name, times in answers.items()}
    (first, ours), *others = results.items()
    lines = [
        f"\n## {title}\n\n| | {' | '.join(COLUMNS)} |\n",
        f"|{'---|' * (1 + len(COLUMNS))}\n",
    ]
    for name, row in results.items():
        cells = [
            f"{row[key]:.0f}" if key == "peak" else f"{row[key]:.2f}" for key in row
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |\n")
    for name, row in others:
        cells = [f"x {row[key] / ours[key]:.2f}" for key in row]
        lines.append(f"| {name} / {first} | {' | '.join(cells)} |\n")
    return "".join(lines)


def megabytes(field: str) -> float:
    """Memory of this process by a field of Linux, such as ``VmHWM``, its peak."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}; this script needs Linux")


def _summary(answers: Sequence[Mapping[str, float]]) -> Spent:
    cpu = [answer["cpu"] for answer in answers]
    return {
        "wall": statistics.median(answer["wall"] for answer in answers),
        "cpu": statistics.median(cpu),
        "lowest": min(cpu),
        "peak": max(answer["peak"] for answer in answers),
    }


def _reply(answer: Spent) -> None:
    sys.stdout.write(f"answer {json.dumps(answer)}\n")
    sys.stdout.flush()
