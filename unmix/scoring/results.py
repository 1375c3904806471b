"""Published scores of Open-Unmix, and ours beside them.

Only numbers that the authors printed stand here. ``python -m unmix.evaluate --table
SUMMARY...`` writes them as one table with those of ``summary.json`` files; what was not
run says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmix.config import UMX, UMXHQ, UnmixConfig
from unmix.published import SCORES
from unmix.scoring.scores import METRICS

NOT_RUN = "not run here"
NOT_PUBLISHED = "not published"
TRACKS = 50
"""Songs of the test set of MUSDB18."""
WHOLE_SECONDS = 60.0
"""Songs are longer than this, excerpts of them shorter."""


def row_of(config: UnmixConfig) -> str | None:
    """Find the publication that a run repeats; None where its network is another.

    >>> row_of(UMXHQ)
    'umxhq'
    """
    if (config.dataset, config.model) != ("musdb", UMX.model):
        return None
    return "umxhq" if config.is_wav == UMXHQ.is_wav else "umx"


def read(path: str | Path) -> dict[str, Any]:
    """Read a ``summary.json``.

    Raises:
        ValueError: The file is something else.
    """
    try:
        summary = json.loads(Path(path).read_text("utf-8"))
        return {**summary, "targets": dict(summary["targets"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no summary.json of an evaluation ({error!r}); name one that "
            "python -m unmix.evaluate wrote"
        ) from error


def is_comparable(summary: Mapping[str, Any]) -> bool:
    """Whether scores are those of the whole songs of the whole test set."""
    whole = (summary.get("seconds") or 0.0) > WHOLE_SECONDS
    complete = summary.get("subset") == "test" and summary.get("tracks") == TRACKS
    return whole and complete and not summary.get("synthetic")


def summary_table(summary: Mapping[str, Any]) -> str:
    """Write the scores of one evaluation as a Markdown table.

    Args:
        summary: Scores by target in ``targets``, ``row`` (a name in
            :data:`SCORES` or None), ``tracks``, ``seconds``, ``subset`` and
            ``synthetic``.

    Returns:
        A line of origin, and a table with the published numbers where there are some.
    """
    row = None if summary.get("synthetic") else SCORES.get(summary.get("row") or "")
    head = ["target"]
    for metric in METRICS:
        head += [metric, "published"] if row else [metric]
    rows = []
    for target, cells in summary["targets"].items():
        line = [target]
        for metric in METRICS:
            line.append(_decibels(cells[metric]))
            if row:
                line.append(_published(row, target, metric))
        rows.append([*line, str(cells["tracks"])])
    lines = [_origin(summary, row is not None), "", *_table([*head, "tracks"], rows)]
    return "\n".join(lines) + "\n"


def table(summaries: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write published numbers and ours beside them as Markdown tables.

    Args:
        summaries: Contents of ``summary.json`` files.

    Returns:
        A table of the publications, and one of what compares with none of them.
    """
    ours = {each.get("row"): each for each in summaries if is_comparable(each)}
    head = ["model", "target"]
    for metric in METRICS:
        head += [f"{metric} published", "here"]
    cells = []
    for name, row in SCORES.items():
        for target in row:
            line = [f"`{name}`", target]
            here = ours.get(name, {}).get("targets", {}).get(target, {})
            for metric in METRICS:
                value = here.get(metric)
                line.append(_published(row, target, metric))
                line.append(NOT_RUN if value is None else _decibels(value))
            cells.append(line)
    lines = _table(head, cells)
    others = [each for each in summaries if ours.get(each.get("row")) is not each]
    for each in others:
        lines += ["", f"`{each.get('model')}`:", "", summary_table(each).rstrip()]
    return "\n".join(lines) + "\n"


def _origin(summary: Mapping[str, Any], has_row: bool) -> str:
    if summary.get("synthetic"):
        return "Synthetic sounds: these numbers say nothing about real recordings."
    here = (
        f"the median over {summary.get('tracks')} songs of {summary.get('subset')}, "
        f"{summary.get('seconds') or 0.0:.0f} s long in the median"
    )
    if not has_row:
        return f"Here {here}. No published number stands for this model."
    row = f"Published: {summary.get('row')}, the {TRACKS} whole songs of the test set"
    if is_comparable(summary):
        return f"{row}; here the same."
    return f"{row}; here {here}, which is not the same and compares with nothing."


def _published(row: Mapping[str, Mapping[str, float]], target: str, metric: str) -> str:
    value = row.get(target, {}).get(metric)
    return NOT_PUBLISHED if value is None else _decibels(value)


def _decibels(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
