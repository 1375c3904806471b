"""From the scores of every second to one number for each target.

The median over the seconds of a song that have a score, then the median over the songs,
as in the campaign of 2018 and in what the authors published since.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import replacing

METRICS = ("SDR", "SIR", "SAR", "ISR")

Medians = dict[str, dict[str, float]]
"""Score of a song by target and metric in dB, NaN where no second has one."""


def read(path: Path) -> Medians:
    """Read the scores of a song from museval's JSON, as medians over its seconds.

    Raises:
        ValueError: The file is something else.
    """
    try:
        targets = json.loads(path.read_text("utf-8"))["targets"]
        return {
            target["name"]: {
                metric: median(frame["metrics"][metric] for frame in target["frames"])
                for metric in METRICS
            }
            for target in targets
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no scores of museval ({error!r}); remove it, and the song "
            "is scored again"
        ) from error


def seconds(path: Path) -> int:
    """Count the seconds of a song that museval looked at."""
    (first, *_) = json.loads(path.read_text("utf-8"))["targets"]
    return len(first["frames"])


def median(values: Iterable[float]) -> float:
    """Take the median of what is a number.

    >>> median([1.0, float("nan"), 3.0])
    2.0
    """
    there = [float(value) for value in values if math.isfinite(value)]
    return float(np.median(there)) if there else math.nan


def summarise(songs: Mapping[str, Medians]) -> dict[str, dict[str, Any]]:
    """Take the medians over songs.

    Args:
        songs: Scores by song.

    Returns:
        By target the score of each metric in dB, None where there is none, and as
        ``tracks`` the number of songs with an SDR.
    """
    names = dict.fromkeys(target for scores in songs.values() for target in scores)
    summary: dict[str, dict[str, Any]] = {}
    for target in names:
        there = [scores[target] for scores in songs.values() if target in scores]
        cells: dict[str, Any] = {}
        for metric in METRICS:
            value = median(each[metric] for each in there)
            cells[metric] = None if math.isnan(value) else round(value, 5)
        cells["tracks"] = sum(not math.isnan(each["SDR"]) for each in there)
        summary[target] = cells
    return summary


def write(songs: Mapping[str, Medians], path: Path) -> None:
    """Write a row for each song and target; what has no score stays empty."""
    with (
        replacing(path) as draft,
        draft.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["track", "target", *METRICS])
        for name, scores in songs.items():
            for target, cells in scores.items():
                rows.writerow([name, target, *_cells(cells)])


def _cells(cells: Mapping[str, float]) -> Sequence[float | str]:
    values = [cells[metric] for metric in METRICS]
    return ["" if math.isnan(value) else round(value, 5) for value in values]
