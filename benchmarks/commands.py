"""Commands of the packages as a benchmark calls them, several at once."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.files import write_text

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


def train(module: str, words: Sequence[str], run: Path) -> None:
    """Train a separator in its run folder, and record the command and its cost.

    A training that was stopped continues, one that has ended is not repeated. Its
    messages go to a file in the folder ``logs`` beside the run folder.
    """
    if (run / "done").exists():
        return
    command = [sys.executable, "-m", f"{module}.train", *words]
    logs = run.parent / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    began, resumed = time.monotonic(), run.exists()
    with (logs / f"{run.name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **THREADS}, stdout=log, stderr=log
        )
        _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{run.name}: the training failed, see {log.name}")
    cost = {
        "wall_hours": (time.monotonic() - began) / 3600,
        "cpu_hours": (used.ru_utime + used.ru_stime) / 3600,
        "resumed": resumed,
        "command": " ".join(command[1:]),
    }
    write_text(run / "done", json.dumps(cost))


def listed(runs: Mapping[str, Path], output: Path) -> Iterator[str]:
    """Yield lines of Markdown: the first command, and what differs in the others.

    Args:
        runs: Run folders of trainings that have ended, by name.
        output: Folder that the lines call DIR.
    """
    first: list[str] = []
    for name, run in runs.items():
        command = json.loads((run / "done").read_text("utf-8"))["command"]
        words = command.replace(str(output), "DIR").split()
        if first:
            differing = " ".join(word for word in words if word not in first)
            yield f"- {name}: `{differing}`"
        else:
            yield f"- {name}: `python {' '.join(words)}`"
            first = words


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a benchmark whose page grows with its trainings."""
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--seeds", type=int, nargs="+", default=[0])
    add("--report", type=Path, help="file to write the page to as well")
    add("--page", action="store_true", help="only write the page")
    add("--quick", action="store_true", help="20 steps and 10 mixtures")


def publish(text: str, picture: Path, report: Path | None) -> None:
    """Print a page, and write it to a report with its picture in a folder beside."""
    if report:
        write_text(report, text)
        folder = report.with_suffix("")
        folder.mkdir(exist_ok=True)
        shutil.copyfile(picture, folder / picture.name)
    sys.stdout.write(text)
