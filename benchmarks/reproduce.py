"""Repeat a table of a paper: ``python benchmarks/reproduce.py TABLE --root CORPUS``.

Every row of ``tables.py`` trains a preset or restores published weights, separates one
test mixture, and evaluates on the test set, each step in its own process.
``DIR/TABLE.md`` holds the measured numbers beside the published ones, with tolerance,
commit, versions, hours and commands. After an interruption the same command
continues: finished steps are not repeated. ``--tiny`` uses small networks and synthetic
sounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from commands import ROOT
from tables import (
    BUNDLED,
    MINIATURES,
    ROOT_KEYS,
    TABLES,
    TINY,
    UNPAIRED_KEY,
    Row,
    Table,
)

from common.corpora import catalogue
from common.corpora.track import Options
from common.errors import exit_code
from common.evaluation import published
from common.evaluation.published import Number
from common.evaluation.table import markdown
from common.files import write_json, write_text
from common.synthetic import miniature

RESTORED, TRAINED = 0.1, 0.5
"""Tolerance in dB of restored weights and of a training."""
STEPS = "steps.json"
PACKAGES = ("tensorflow", "tf-keras", "numpy")
SPLITS = ("train", "valid", "test")
SPEECH_MEASURES = {
    "SI-SDR": "si_sdr",
    "SI-SDRi": "si_sdr_improvement",
    "SDR": "bss_sdr",
    "SDRi": "bss_sdr_improvement",
}
"""Measures of ``clustering.evaluate`` by their names in papers."""
Summary = Mapping[str, Any]


class TableError(ValueError):
    """A table cannot be repeated with these options."""


class Step(NamedTuple):
    """A command of a row: a module, its arguments, and the name of its log."""

    module: str
    words: list[str]
    log: str

    @property
    def command(self) -> str:
        """The command without the interpreter."""
        return shlex.join(["-m", self.module, *self.words])


class Task(NamedTuple):
    """The table, its corpora, the output folder and the options."""

    name: str
    table: Table
    roots: Sequence[Path]
    output: Path
    tiny: bool = False
    limit: int | None = None


Start = Callable[[Step, Path], int]
"""Runs a step with a file for its output; returns the exit code."""


def main(argv: Sequence[str] | None = None, start: Start | None = None) -> int:
    """Run the unfinished rows and write the table; return the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("run_table.sh", lambda: _main(options, start or spawn))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("run_table.sh", description=__doc__)
    add = parser.add_argument
    add("name", choices=TABLES, metavar="TABLE", help=", ".join(TABLES))
    add("--root", type=Path, help="folder of the corpus")
    add("--unpaired-root", type=Path, help="folder of MoisesDB, for adversarial")
    add("--output", type=Path, required=True, metavar="DIR")
    add("--rows", nargs="+", metavar="ROW", help="default: all")
    add("--limit", type=int, metavar="N", help="test mixtures to score (default: all)")
    add("--tiny", action="store_true", help="two steps on synthetic sounds")
    return parser


def _main(options: argparse.Namespace, start: Start) -> int:
    table, output = TABLES[options.name], options.output.absolute()
    rows = options.rows or list(table.rows)
    unknown = [row for row in rows if row not in table.rows]
    if unknown:
        raise TableError(
            f"{options.name} has no row {unknown[0]!r}; expected some of "
            f"{', '.join(table.rows)}"
        )
    roots = prepare(table, output, options)
    task = Task(options.name, table, roots, output, options.tiny, options.limit)
    failed = [row for row in rows if not run(task, row, start)]
    text = "\n".join(lines(task)) + "\n"
    write_text(output / f"{options.name}.md", text)
    sys.stdout.write(f"{text}\ntable: {output / f'{options.name}.md'}\n")
    for row in failed:
        sys.stderr.write(f"run_table.sh: {row} failed, see {output / 'logs'}\n")
    return 1 if failed else 0


def prepare(table: Table, output: Path, options: argparse.Namespace) -> list[Path]:
    """Make the miniatures of ``--tiny``, or check the corpora before hours of work."""
    corpora = [table.corpus, *filter(None, [table.unpaired])]
    if options.tiny:
        return [
            miniature.WRITERS[each](output / "corpora" / each, **MINIATURES[each])
            for each in corpora
        ]
    roots = [options.root, options.unpaired_root][: len(corpora)]
    for corpus, root, flag in zip(
        corpora, roots, ("root", "unpaired-root"), strict=False
    ):
        if root is None:
            raise TableError(
                f"the corpus {corpus} is not named; give its folder by --{flag}, or "
                "try --tiny"
            )
        for split in SPLITS:
            catalogue.tracks(corpus, root, split, Options(task=table.condition))
    return [root.absolute() for root in roots]


def run(task: Task, name: str, start: Start) -> bool:
    """Run the unfinished steps of a row; return whether all are finished."""
    folder = task.output / "rows" / name
    finished = read_steps(folder)
    for number, step in enumerate(steps(task, name)):
        if number < len(finished):
            _expect_same(folder, finished[number], step)
            continue
        log = task.output / "logs" / f"{name}-{step.log}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stderr.write(f"{name}: python {step.command}\n")
        began, used = time.monotonic(), os.times()
        if start(step, log):
            return False
        spent = os.times()
        cpu = sum(spent[:4]) - sum(used[:4])
        finished.append(
            {
                "command": step.command,
                "hours": (time.monotonic() - began) / 3600,
                "cpu_hours": cpu / 3600,
                "commit": commit(),
                "versions": versions(),
            }
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(finished, folder / STEPS)
    return True


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """Read the finished steps of a row."""
    file = folder / STEPS
    steps: list[dict[str, Any]] = (
        json.loads(file.read_text("utf-8")) if file.exists() else []
    )
    return steps


def _expect_same(folder: Path, finished: Mapping[str, Any], step: Step) -> None:
    if finished["command"] != step.command:
        raise TableError(
            f"{folder} holds results of another command, {finished['command']}; name "
            "another --output, or remove that folder"
        )


def spawn(step: Step, log: Path) -> int:
    """Run a step in its own process."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as file:
        command = [sys.executable, "-m", step.module, *step.words]
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        return subprocess.run(
            command, env=environment, stdout=file, stderr=file, check=False
        ).returncode


def steps(task: Task, name: str) -> list[Step]:
    """List the steps of a row: train or restore, separate a mixture, evaluate."""
    row, pillar = task.table.rows[name], task.table.pillar
    folder = task.output / "rows" / name
    model = str(folder / "run") if row.preset else row.restore
    if row.restore and task.tiny:
        model = BUNDLED
    made = [Step(f"{pillar}.train", training(task, row, model), "train")]
    separate = [str(mixture(task)), "--model", model, "--overwrite"]
    separate += ["--output", str(folder / "separated")]
    evaluate = [model, "--data", str(task.roots[0]), *row.evaluation]
    evaluate += ["--output", str(folder / "evaluation")]
    if task.limit:
        evaluate += ["--limit", str(task.limit)]
    return [
        *(made if row.preset else ()),
        Step(f"{pillar}.separate", separate, "separate"),
        Step(f"{pillar}.evaluate", evaluate, "evaluate"),
    ]


def training(task: Task, row: Row, run_folder: str) -> list[str]:
    """Make the arguments of the training of a row."""
    pillar = task.table.pillar
    keys = {**row.keys, **(TINY[pillar] if task.tiny else {})}
    keys[ROOT_KEYS[pillar]] = task.roots[0]
    if task.table.unpaired:
        keys[UNPAIRED_KEY] = task.roots[1]
    keys["output"] = run_folder
    return ["with", row.preset, *(f"{key}={value}" for key, value in keys.items())]


def mixture(task: Task) -> Path:
    """Find the first test mixture of the corpus."""
    for pattern in task.table.mixtures:
        files = sorted(task.roots[0].glob(pattern))
        if files:
            return files[0]
    raise TableError(
        f"{task.roots[0]} holds no test mixture; expected "
        f"{' or '.join(task.table.mixtures)}"
    )


def commit() -> str:
    """Return the commit of this code, with a plus sign where files are changed."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    return head + ("+" if _git("status", "--porcelain", "-uno") else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def versions() -> str:
    """Name the versions that numbers depend on."""
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"Python {python}", *(f"{n} {version(n)}" for n in PACKAGES)])


def lines(task: Task) -> Iterator[str]:
    """Lines of the Markdown: the numbers, then what each row was made of."""
    yield f"# {task.table.title}\n"
    if (task.roots[0] / miniature.MARKER).exists():
        yield "**Synthetic sounds: these numbers say nothing about real recordings.**\n"
    yield (
        f"Tolerance: {RESTORED} dB for published weights, {TRAINED} dB for a training. "
        "Numbers compare over the whole test set. Hours do not count starts "
        "that were interrupted. `+` after a commit: with changes.\n"
    )
    head = ["row", "of", "measure", "measured", "published", "tolerance", "within"]
    cells = [cell for name in task.table.rows for cell in _numbers(task, name)]
    yield markdown([*head, "published in"], cells)
    head = ["row", "made of", "hours", "CPU hours", "commit"]
    yield markdown(head, [_origin(task, name) for name in task.table.rows])
    done = [step for name in task.table.rows for step in _finished(task, name)]
    for each in dict.fromkeys(step["versions"] for step in done):
        yield f"{each}.\n"
    if done:
        yield "Commands, where DIR is `--output`:\n"
    for step in done:
        yield f"- `python {step['command'].replace(str(task.output), 'DIR')}`"


def _finished(task: Task, name: str) -> list[dict[str, Any]]:
    return read_steps(task.output / "rows" / name)


def _numbers(task: Task, name: str) -> Iterator[list[str]]:
    table, row = task.table, task.table.rows[name]
    summary = read_summary(task, name)
    missing = "not run" if summary is None else "not measured"
    for number in published.read(ROOT / table.pillar):
        if number.table != table.numbers or number.row not in row.published:
            continue
        if table.condition and number.condition != table.condition:
            continue
        own = None if summary is None else MEASURED[table.pillar](summary, number)
        tolerance = TRAINED if row.preset else RESTORED
        label = number.row if number.row.startswith("ideal") else name
        yield [
            label,
            number.condition,
            number.measure,
            missing if own is None else f"{own:.2f} {number.unit}",
            number.text,
            f"{tolerance} dB",
            within(task, summary, own, number, tolerance),
            number.origin,
        ]


def within(
    task: Task,
    summary: Summary | None,
    own: float | None,
    number: Number,
    tolerance: float,
) -> str:
    """Tell whether a number equals the published one, if they can be compared."""
    if own is None or number.amount is None:
        return ""
    made_up = (task.roots[0] / miniature.MARKER).exists()
    assert summary is not None
    if made_up or COUNTS[task.table.pillar](summary) != task.table.tests:
        return "not comparable"
    return "yes" if abs(own - number.amount) <= tolerance else "no"


def read_summary(task: Task, name: str) -> Summary | None:
    """Read the summary of a row whose evaluation is finished."""
    if len(_finished(task, name)) < len(steps(task, name)):
        return None
    file = task.output / "rows" / name / "evaluation" / "summary.json"
    summary: Summary = json.loads(file.read_text("utf-8"))
    return summary


def _origin(task: Task, name: str) -> list[str]:
    row, finished = task.table.rows[name], _finished(task, name)
    made = f"preset `{row.preset}`" if row.preset else f"weights `{row.restore}`"
    if row.restore and task.tiny:
        made = f"weights `{BUNDLED}`, instead of `{row.restore}`"
    hours = [f"{sum(s[key] for s in finished):.2f}" for key in ("hours", "cpu_hours")]
    commits = ", ".join(dict.fromkeys(step["commit"] for step in finished))
    return [f"`{name}`: {row.about}", made, *(hours if finished else ("", "")), commits]


def _mixit(summary: Summary, number: Number) -> float | None:
    return summary.get(number.measure, {}).get("mean")


def _unmix(summary: Summary, number: Number) -> float | None:
    return summary["targets"].get(number.condition, {}).get(number.measure)


def _clustering(summary: Summary, number: Number) -> float | None:
    group = number.row if number.row.startswith("ideal") else "all"
    return summary.get(group, {}).get(SPEECH_MEASURES[number.measure])


def _adversarial(summary: Summary, number: Number) -> float | None:
    (songs,) = summary["databases"].values()
    return songs[number.condition][number.measure]["mean"]


MEASURED: Mapping[str, Callable[[Summary, Number], float | None]] = {
    "mixit": _mixit,
    "unmix": _unmix,
    "clustering": _clustering,
    "adversarial": _adversarial,
}
"""Functions that return the number to compare with a published one, by package."""
COUNTS: Mapping[str, Callable[[Summary], int]] = {
    "mixit": lambda summary: summary["examples"],
    "unmix": lambda summary: summary["tracks"],
    "clustering": lambda summary: summary["all"]["count"],
    "adversarial": lambda summary: max(
        measures["SDR"]["count"]
        for songs in summary["databases"].values()
        for measures in songs.values()
    ),
}
"""Functions that count the scored examples, by package."""


if __name__ == "__main__":
    sys.exit(main())
