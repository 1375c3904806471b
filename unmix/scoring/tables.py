"""Summarise scores of every second by target, as tables and a plot.

Scores are medians over the seconds of a song, then medians over songs, as in the
campaign of 2018 and the later publications of the authors. ``python -m
unmix.evaluate --table SUMMARY...`` writes the published scores as one table with those
of ``summary.json`` files.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.evaluation.table import Row, markdown
from common.files import replacing
from common.plots import PlotError
from unmix.config import UMX, UMXHQ, UnmixConfig
from unmix.published import medians

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = ("SDR", "SIR", "SAR", "ISR")
STOI = {"STOI": "stoi", "STOI_mixture": "stoi_mixture"}
"""Intelligibility of speech in an estimate and in the mixture, by its key in the JSON
of a song, which has it where it was asked for."""
NOT_RUN = "not run here"
NOT_PUBLISHED = "not published"
TRACKS = 50
"""Songs of the test set of MUSDB18."""
WHOLE_SECONDS = 60.0
"""Shortest song in seconds, which is longer than any excerpt."""
BOX, POINT, MARK = "#0072b2", "0.35", "#d55e00"
"""Colours of the plot."""

Medians = dict[str, dict[str, float]]
"""Scores of a song by target and metric in dB, NaN if no second has one."""
Summary = Mapping[str, Any]
"""Contents of a ``summary.json``."""


def read_scores(path: Path) -> Medians:
    """Read the scores of a song from museval's JSON, as medians over its seconds.

    Raises:
        ValueError: The file has another format.
    """
    try:
        targets = json.loads(path.read_text("utf-8"))["targets"]
        return {target["name"]: _song_scores(target) for target in targets}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no scores of museval ({error!r}); remove it, and the song "
            "is scored again"
        ) from error


def _song_scores(target: Mapping[str, Any]) -> dict[str, float]:
    frames = [frame["metrics"] for frame in target["frames"]]
    medians = {name: median(frame[name] for frame in frames) for name in METRICS}
    stoi = {name: float(target[key]) for name, key in STOI.items() if key in target}
    return medians | stoi


def metrics(rows: Sequence[Row]) -> tuple[str, ...]:
    """List the metrics of rows, of which any may lack those of speech.

    >>> metrics([{"SDR": 5.0}])
    ('SDR', 'SIR', 'SAR', 'ISR')
    """
    return (*METRICS, *(name for name in STOI if any(name in row for row in rows)))


def count_seconds(path: Path) -> int:
    """Count the seconds of a song in a file of museval."""
    (first, *_) = json.loads(path.read_text("utf-8"))["targets"]
    return len(first["frames"])


def median(values: Iterable[float]) -> float:
    """Return the median of the finite values, NaN if there are none.

    >>> median([1.0, float("nan"), 3.0])
    2.0
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan


def rows_of(songs: Mapping[str, Medians]) -> list[Row]:
    """Make a row for each song and target; missing scores are None.

    >>> rows_of({"a": {"bass": dict.fromkeys(METRICS, 5.0)}})
    [{'track': 'a', 'target': 'bass', 'SDR': 5.0, 'SIR': 5.0, 'SAR': 5.0, 'ISR': 5.0}]
    """
    rows = []
    for name, scores in songs.items():
        for target, cells in scores.items():
            values = {m: None if math.isnan(x) else x for m, x in cells.items()}
            rows.append({"track": name, "target": target, **values})
    return rows


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Take the medians over songs.

    Args:
        rows: Scores by song and target.

    Returns:
        By target the score of each metric in dB, None if there is none, and as
        ``tracks`` the number of songs with an SDR.
    """
    summary: dict[str, dict[str, Any]] = {}
    for target in dict.fromkeys(row["target"] for row in rows):
        for metric in metrics(rows):
            values = _values(rows, target, metric)
            cell = round(median(values), 5) if values else None
            summary.setdefault(target, {})[metric] = cell
        summary[target]["tracks"] = len(_values(rows, target, "SDR"))
    return summary


def _values(rows: Sequence[Row], target: str, metric: str) -> list[float]:
    """List the existing scores of a target."""
    values = (row.get(metric) for row in rows if row["target"] == target)
    return [value for value in values if value is not None]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write a row for each song and target; missing scores are empty cells."""
    with (
        replacing(path) as draft,
        draft.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        columns = metrics(rows)
        writer.writerow(["track", "target", *columns])
        for row in rows:
            values = (row.get(metric) for metric in columns)
            scores = [None if value is None else round(value, 5) for value in values]
            writer.writerow([row["track"], row["target"], *scores])


def row_of(config: UnmixConfig) -> str | None:
    """Return the publication that a run reproduces; None for another network.

    >>> row_of(UMXHQ)
    'umxhq'
    """
    if (config.dataset, config.model) != ("musdb", UMX.model):
        return None
    return "umxhq" if config.is_wav == UMXHQ.is_wav else "umx"


def read_summary(path: str | Path) -> dict[str, Any]:
    """Read a ``summary.json``.

    Raises:
        ValueError: The file has another format.
    """
    try:
        summary = json.loads(Path(path).read_text("utf-8"))
        return {**summary, "targets": dict(summary["targets"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a summary.json of an evaluation ({error!r}); name one that "
            "python -m unmix.evaluate wrote"
        ) from error


def is_comparable(summary: Summary) -> bool:
    """Whether scores are those of the whole songs of the whole test set."""
    whole = (summary.get("seconds") or 0.0) > WHOLE_SECONDS
    complete = summary.get("subset") == "test" and summary.get("tracks") == TRACKS
    return whole and complete and not summary.get("synthetic")


def summary_table(summary: Summary) -> str:
    """Write the scores of one evaluation as a Markdown table.

    Args:
        summary: Scores by target in ``targets``, ``row`` (a name in
            :func:`unmix.published.medians` or None), ``tracks``, ``seconds``,
            ``subset`` and ``synthetic``.

    Returns:
        A line of origin, and a table, with published numbers if there are any.
    """
    row = None if summary.get("synthetic") else medians().get(summary.get("row") or "")
    head = ["target"]
    for metric in METRICS:
        head += [metric, "published"] if row else [metric]
    rows = []
    spoken = [
        m for m in STOI if any(m in cells for cells in summary["targets"].values())
    ]
    for target, cells in summary["targets"].items():
        line = [target]
        for metric in METRICS:
            line.append(_decibels(cells[metric]))
            if row:
                line.append(_published(row, target, metric))
        line += [_ratio(cells.get(name)) for name in spoken]
        rows.append([*line, str(cells["tracks"])])
    head += [name.replace("_", " of the ") for name in spoken]
    table = markdown([*head, "tracks"], rows)
    return f"{_origin(summary, row is not None)}\n\n{table}"


def published_table(summaries: Sequence[Summary] = ()) -> str:
    """Write published scores and ours beside them as Markdown tables.

    Args:
        summaries: Contents of ``summary.json`` files.

    Returns:
        A table of the publications, and one of every summary that cannot be compared
        with them.
    """
    ours = {
        summary.get("row"): summary for summary in summaries if is_comparable(summary)
    }
    head = ["model", "target"]
    for metric in METRICS:
        head += [f"{metric} published", "here"]
    cells = []
    for name, row in medians().items():
        for target in row:
            line = [f"`{name}`", target]
            here = ours.get(name, {}).get("targets", {}).get(target, {})
            for metric in METRICS:
                value = here.get(metric)
                line.append(_published(row, target, metric))
                line.append(NOT_RUN if value is None else _decibels(value))
            cells.append(line)
    others = [
        summary for summary in summaries if ours.get(summary.get("row")) is not summary
    ]
    further = [
        f"\n`{other.get('model')}`:\n\n{summary_table(other)}" for other in others
    ]
    return "".join([markdown(head, cells), *further])


def _origin(summary: Summary, has_row: bool) -> str:
    if summary.get("synthetic"):
        return "Synthetic sounds: these numbers say nothing about real recordings."
    here = (
        f"the median over {summary.get('tracks')} songs of {summary.get('subset')}, "
        f"{summary.get('seconds') or 0.0:.0f} s long in the median"
    )
    if not has_row:
        return f"Here {here}. There is no published number for this model."
    row = f"Published: {summary.get('row')}, the {TRACKS} whole songs of the test set"
    if is_comparable(summary):
        return f"{row}; here the same."
    return f"{row}; here {here}, which is not comparable."


def _published(row: Mapping[str, Mapping[str, float]], target: str, metric: str) -> str:
    value = row.get(target, {}).get(metric)
    return NOT_PUBLISHED if value is None else _decibels(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _decibels(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def plot_scores(
    rows: Sequence[Row],
    title: str,
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Plot the median, the quartiles and every song, for each target and metric.

    Whiskers reach to the last song within one and a half times the distance of the
    quartiles.

    Args:
        rows: Scores by song and target.
        title: Line above the panels.
        published: Published medians by target and metric to mark, if any.

    Returns:
        A figure 11 inches wide.

    Raises:
        PlotError: There is no matplotlib, or no score at all.

    >>> scores = dict.fromkeys(["SDR", "SIR", "SAR", "ISR"], 5.0)
    >>> len(plot_scores([{"target": "vocals", **scores}], "a model").axes)
    4
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(
            "plots need matplotlib; install it with pip install matplotlib"
        ) from error
    names = list(dict.fromkeys(row["target"] for row in rows))
    if not names:
        raise PlotError("there are no scores to plot")
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=10, parse_math=False)
    for axes, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        _plot_panel(axes, names, [_values(rows, name, metric) for name in names])
        marks = [(published or {}).get(name, {}).get(metric) for name in names]
        _mark(axes, marks)
        axes.set_title(metric, fontsize=10)
    figure.axes[0].set_ylabel("dB")
    return figure


def _plot_panel(
    axes: Axes, names: Sequence[str], values: Sequence[Sequence[float]]
) -> None:
    axes.boxplot(
        values,
        widths=0.6,
        showfliers=False,
        medianprops={"color": BOX, "linewidth": 2.0},
        boxprops={"color": BOX},
        whiskerprops={"color": BOX},
        capprops={"color": BOX},
    )
    rng = np.random.default_rng(0)
    for index, column in enumerate(values, start=1):
        spread = index + rng.uniform(-0.18, 0.18, len(column))
        axes.plot(spread, column, ".", color=POINT, markersize=3, alpha=0.6)
    axes.set_xticks(range(1, len(names) + 1), names, rotation=30, ha="right")
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", linewidth=0.3)


def _mark(axes: Axes, marks: Sequence[float | None]) -> None:
    points = [(index, y) for index, y in enumerate(marks, start=1) if y is not None]
    if points:
        axes.plot(
            *zip(*points, strict=True),
            "D",
            color=MARK,
            markersize=5,
            label="published median",
        )
        axes.legend(fontsize=7, loc="upper right")
