"""Scores of songs laid out: means and medians, a table, the form of the original."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from adversarial.scores import MEASURES
from common.evaluation.table import Row

SHOWN = "SDR", "SIR", "SAR", "NSDR", "museval_SDR"
"""What the table tells; the files tell all."""
ALL = "all"


def summary(rows: Sequence[Row], sources: Sequence[str]) -> dict[str, Any]:
    """Take mean and median over the songs of each corpus, and over all.

    Args:
        rows: Those of :func:`score`.
        sources: Names of the sources.

    Returns:
        By corpus, source and measure: ``mean``, ``median`` and ``count`` of songs.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["Database"], []).append(row)
    if len(groups) > 1:
        groups[ALL] = list(rows)
    return {
        group: {
            source: {m: _middle(r[f"{source}_{m}"] for r in some) for m in MEASURES}
            for source in sources
        }
        for group, some in groups.items()
    }


def table(whole: Mapping[str, Any]) -> str:
    """Write a summary as a table of Markdown, medians before means."""
    band = f"{whole['bandwidth_hz'] / 1000:.1f} kHz"
    head = f"| corpus | source | songs | bandwidth | {' | '.join(SHOWN)} |"
    lines = [head, f"|{'---|' * (4 + len(SHOWN))}"]
    for group, sources in whole["databases"].items():
        for source, cells in sources.items():
            told = " | ".join(_told(cells[measure]) for measure in SHOWN)
            songs = cells["SDR"]["count"]
            lines.append(f"| {group} | {source} | {songs} | {band} | {told} |")
    return "\n".join([*lines, "", "Medians (means in brackets) over songs in dB.\n"])


def nested(row: Row, sources: Sequence[str]) -> dict[str, Any]:
    """Lay out a row as the original does, each measure by source.

    Args:
        row: That of a song.
        sources: Names of the sources.

    Returns:
        Values for JSON; what has no score is None.
    """
    told = {
        name: row[name] for name in ("Title", "Database", "Bandwidth_Hz", "Seconds")
    }
    told["Silent"] = row["Silent"].split(", ") if row["Silent"] else []
    for measure in MEASURES:
        values = {source: row[f"{source}_{measure}"] for source in sources}
        told[measure] = {k: v if math.isfinite(v) else None for k, v in values.items()}
    return told


def _middle(values: Iterable[float]) -> dict[str, float | int | None]:
    there = [value for value in values if math.isfinite(value)]
    if not there:
        return {"mean": None, "median": None, "count": 0}
    mean, median = float(np.mean(there)), float(np.median(there))
    return {"mean": round(mean, 5), "median": round(median, 5), "count": len(there)}


def _told(cell: Mapping[str, float | None]) -> str:
    if cell["median"] is None:
        return "none"
    return f"{cell['median']:.2f} ({cell['mean']:.2f})"
