"""The table of ``benchmarks/mir1k.py``, from the files of scores that it wrote."""

from __future__ import annotations

import csv
import json
import shutil
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mir1k_rows import ROWS, TIMES
from mir1k_scores import GLOBAL

from common import plots
from common.evaluation import table
from common.files import replacing, write_text

CLIPS = 825
"""Test clips of Huang et al."""
BOUNDS = {
    "mixture": "the mixture itself",
    "ideal_binary": "ideal binary mask",
    "ideal_ratio": "ideal ratio mask",
}
SUFFIXES = {"": ", with the filter", "_unfiltered": ", without the filter"}
SEPARATED = {"Ani_1_01": 11.39, "Ani_1_02": 10.82}
"""NSDR of the voice in test clips that Huang et al. publish separated by a network of
theirs (codes/mir1k/demo/results, soft mask), measured here."""
NO_ERROR = 100.0
"""Ratio in dB above which an error is that of float64."""
VOICE, REST = "vocals", "accompaniment"


class Published(NamedTuple):
    """A row of a paper, and whether its table could be read for this one."""

    about: str
    numbers: tuple[float, float, float] | None
    status: str
    separated: str = ""


PUBLISHED = (
    Published(
        "Huang et al., ISMIR 2014 and TASLP 2015, their best recurrent network",
        (7.45, 13.08, 9.68),
        "quoted: only the abstract was available, which states gains of 2.30 to 2.48 "
        "dB GNSDR and 4.32 to 5.42 dB GSIR over earlier systems; the NSDR of two clips "
        "was measured on separated sounds that come with their program",
        f"{statistics.mean(SEPARATED.values()):.2f}",
    ),
    Published(
        "SVSGAN, arXiv 1710.11428",
        None,
        "not read: only the abstract was available, which states no score",
    ),
)


def write(output: Path) -> str:
    """Write the rows of all files of scores as Markdown and CSV, and the plots."""
    rows = [summary(file) for file in sorted((output / "scores").glob("[!.]*.csv"))]
    rows = [row | _cost(output, row) for row in rows if row["clips"]]
    _write_rows(rows, output / "mir1k.csv")
    for row in {(row["row"], row["seed"]) for row in rows}:
        draw(output, *row)
    return _write_table(rows, output / "mir1k.md")


def publish(output: Path, page: Path) -> str:
    """Write the table to a page, and to a folder beside it its rows and the curves.

    Rows of that folder that were not measured again stay, so that a table may be
    measured in parts, on several machines.

    Args:
        output: Where the rows were measured, after :func:`write`.
        page: The page; the folder has its name without a suffix.

    Returns:
        The table as Markdown.
    """
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    for plot in (output / "curves").glob("*.png"):
        shutil.copyfile(plot, folder / plot.name)
    rows = {}
    for file in (folder / "rows.csv", output / "mir1k.csv"):
        rows |= {(row["row"], row["seed"]): row for row in _read_rows(file)}
    _write_rows(list(rows.values()), folder / "rows.csv")
    curves = sorted(folder.glob("*.png"))
    links = [f"[{plot.stem}]({folder.name}/{plot.name})" for plot in curves]
    return _write_table(
        _read_rows(folder / "rows.csv"),
        page,
        f"\nLearning curves: {', '.join(links)}.\n",
    )


def _read_rows(file: Path) -> list[dict[str, Any]]:
    """Read rows; a cell without a number is not a number."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        rows: list[dict[str, Any]] = list(csv.DictReader(opened))
    for row in rows:
        for name in row.keys() - {"row", "seed", "command"}:
            row[name] = float(row[name] or "nan")
    return rows


def _write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    rows = sorted(rows, key=_rank)
    with replacing(path) as draft, draft.open("w", newline="") as file:
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_table(
    rows: Sequence[Mapping[str, Any]], path: Path, further: str = ""
) -> str:
    text = "\n".join(lines(sorted(rows, key=_rank))) + "\n" + further
    write_text(path, text)
    return text


def summary(file: Path) -> dict[str, Any]:
    """Average a file of scores, clips weighted by their length."""
    with file.open(encoding="utf-8", newline="") as opened:
        clips = table.read(opened)
    name, _, seed = file.stem.partition("-")
    row: dict[str, Any] = {"row": name, "seed": seed, "clips": len(clips)}
    for source in (VOICE, REST):
        for measure, name in {"SDR": "SDR", **GLOBAL}.items():
            values = np.array([clip[f"{source}_{measure}"] for clip in clips])
            lengths = np.array([clip["samples"] for clip in clips])
            finite = np.isfinite(values)
            weights = lengths[finite] / max(1, lengths[finite].sum())
            row[f"{source}_{name}"] = round(float(values[finite] @ weights), 3)
            if measure == "SDR":
                row[f"{source}_silent"] = int((~finite).sum())
    same = [clip[f"{VOICE}_NSDR"] for clip in clips if clip["clip"] in SEPARATED]
    row["two_clips"] = round(statistics.mean(same), 3) if same else float("nan")
    return row


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of the Markdown: our rows, then the published ones, then the commands."""
    yield "# MIR-1K: separating a voice from its accompaniment\n"
    count = min((row["clips"] for row in rows), default=0)
    if count != CLIPS:
        yield f"**{count:.0f} clips, not the {CLIPS} of the published rows.**\n"
    yield (
        "Means over the test clips in dB, weighted by length; mixed at 0 dB, BSS Eval "
        "3. With several seeds: their mean, with minimum and maximum in brackets. CPU "
        "hours are those of one training, if it was not interrupted. The two clips are "
        f"{' and '.join(SEPARATED)}.\n"
    )
    yield (
        "| separator | GNSDR | GSIR | GSAR | GNSDR of the accompaniment "
        "| NSDR of two clips | seeds | CPU hours |"
    )
    yield f"|{'---|' * 8}"
    columns = [f"{VOICE}_{measure}" for measure in GLOBAL.values()]
    others = f"{REST}_GNSDR", "two_clips"
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["row"]].append(row)
    for name, group in groups.items():
        cells = [_spread(group, column) for column in (*columns, *others)]
        cells += ["" if name in BOUNDS else str(len(group)), _hours(group)]
        yield f"| {about(name)} | {' | '.join(cells)} |"
    for row in PUBLISHED:
        numbers = [f"{number:.2f}" for number in row.numbers or ()] or ["?"] * len(
            columns
        )
        status = row.status.partition(":")[0]
        cells = [f"{row.about} ({status})", *numbers, "", row.separated]
        yield f"| {' | '.join(cells)} | | |"
    yield ""
    yield from (f"- {row.about}: {row.status}." for row in PUBLISHED)
    commands = {row["row"]: row.get("command") for row in rows if row["seed"] == "0"}
    if any(commands.values()):
        yield from ("", "Training commands with seed 0; DIR is --output:", "")
    for name, command in commands.items():
        if name in ROWS and command:
            yield f"- {ROWS[name].pillar}, {ROWS[name].about}: `python {command}`"


def about(name: str) -> str:
    """Describe a row.

    >>> about("unmix_unfiltered")
    'unmix: Open-Unmix, a network for each source, without the filter'
    """
    if name in BOUNDS:
        return BOUNDS[name]
    for row, ways in TIMES.items():
        for suffix in ways:
            if name == f"{row}{suffix}":
                return f"{ROWS[row].pillar}: {ROWS[row].about}{SUFFIXES[suffix]}"
    return f"{ROWS[name].pillar}: {ROWS[name].about}" if name in ROWS else name


def draw(output: Path, name: str, seed: str) -> None:
    """Plot the losses of a training, one plot for each part that has its own."""
    run = output / f"{name}-{seed}"
    (output / "curves").mkdir(exist_ok=True)
    for file in sorted(run.rglob("scalars.jsonl")) if run.is_dir() else ():
        records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        losses = [record for record in records if "loss" in record]
        parts = [run.name, *file.parent.relative_to(run).parts]
        if losses:
            figure = plots.curves(losses, ["loss"])
            plots.save(figure, output / "curves" / f"{'-'.join(parts)}.png")


def _spread(group: Sequence[Mapping[str, Any]], column: str) -> str:
    values = [row[column] for row in group]
    if np.isnan(values).all():
        return ""
    if min(values) > NO_ERROR:
        return "inf"
    mean = f"{statistics.mean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.2f} to {max(values):.2f})"


def _rank(row: Mapping[str, Any]) -> tuple[int, str, str]:
    name, order = row["row"], [*BOUNDS, *ROWS]
    matches = [at for at, prefix in enumerate(order) if name.startswith(prefix)]
    rank = max(matches, key=lambda at: len(order[at])) if matches else len(order)
    return rank, name, row["seed"]


def _hours(group: Sequence[Mapping[str, Any]]) -> str:
    hours = [row.get("cpu_hours", np.nan) for row in group]
    return "" if np.isnan(hours).all() else f"{np.nanmean(hours):.1f}"


def _cost(output: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return hours and command of a training, no hours where it was interrupted."""
    # Separators of one network that differ in the separation have one training.
    trained = max(
        (name for name in ROWS if row["row"].startswith(name)), key=len, default=""
    )
    file = output / f"{trained}-{row['seed']}" / "done"
    if not file.is_file():
        return {}
    record = json.loads(file.read_text(encoding="utf-8"))
    hours = np.nan if record.get("resumed") else record["cpu_hours"]
    return {
        "cpu_hours": hours,
        "command": record["command"].replace(str(output), "DIR"),
    }
