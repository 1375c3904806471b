"""The scores of all songs as a picture: a box for each target, a panel a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.plots import PlotError
from unmix.scoring.scores import METRICS, Medians

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOX, POINT, MARK = "#0072b2", "0.35", "#d55e00"


def draw(
    songs: Mapping[str, Medians],
    title: str,
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Draw the median, the quartiles and every song, for each target and metric.

    Whiskers reach to the last song within one and a half times the distance of the
    quartiles.

    Args:
        songs: Scores by song.
        title: Line above the panels.
        published: Medians by target and metric to mark, if there are some.

    Returns:
        A figure 11 inches wide.

    Raises:
        PlotError: There is no matplotlib, or no score at all.

    >>> scores = dict.fromkeys(["SDR", "SIR", "SAR", "ISR"], 5.0)
    >>> len(draw({"song": {"vocals": scores}}, "a model").axes)
    4
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(
            "pictures need matplotlib; install it with pip install matplotlib"
        ) from error
    names = list(dict.fromkeys(name for scores in songs.values() for name in scores))
    if not names:
        raise PlotError("there are no scores to draw")
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=10, parse_math=False)
    for axes, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        values = [
            [s[name][metric] for s in songs.values() if name in s] for name in names
        ]
        _draw_panel(axes, names, values)
        marks = [(published or {}).get(name, {}).get(metric) for name in names]
        _mark(axes, marks)
        axes.set_title(metric, fontsize=10)
    figure.axes[0].set_ylabel("dB")
    return figure


def _draw_panel(
    axes: Axes, names: Sequence[str], values: Sequence[Sequence[float]]
) -> None:
    there = [[each for each in column if math.isfinite(each)] for column in values]
    axes.boxplot(
        there,
        widths=0.6,
        showfliers=False,
        medianprops={"color": BOX, "linewidth": 2.0},
        boxprops={"color": BOX},
        whiskerprops={"color": BOX},
        capprops={"color": BOX},
    )
    rng = np.random.default_rng(0)
    for place, column in enumerate(there, start=1):
        around = place + rng.uniform(-0.18, 0.18, len(column))
        axes.plot(around, column, ".", color=POINT, markersize=3, alpha=0.6)
    axes.set_xticks(range(1, len(names) + 1), names, rotation=30, ha="right")
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", linewidth=0.3)


def _mark(axes: Axes, marks: Sequence[float | None]) -> None:
    there = [(place, y) for place, y in enumerate(marks, start=1) if y is not None]
    if there:
        axes.plot(
            *zip(*there, strict=True),
            "D",
            color=MARK,
            markersize=5,
            label="published median",
        )
        axes.legend(fontsize=7, loc="upper right")
