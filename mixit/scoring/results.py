"""Published numbers, and ours beside them.

Only numbers that were seen in a publication stand here. ``python -m mixit.evaluate
--table SUMMARY...`` writes the table of ``mixit/results.md`` from the ``summary.json``
of evaluations; what was not run says so, and the synthetic miniature has a table of its
own, without published numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mixit.config import FUSS, FUSS_SUPERVISED, MixitConfig
from mixit.scoring import scores

NOT_RUN = "not run here"
NOT_ESTABLISHED = "not established"


class Published(NamedTuple):
    """A row of a publication.

    Attributes:
        model: What was trained, and on what.
        test_set: What it was measured on.
        values: Numbers as printed, by measure; what is absent could not be read.
        source: The publication.
    """

    model: str
    test_set: str
    values: Mapping[str, str]
    source: str


PUBLISHED = {
    "fuss": Published("MixIT on FUSS alone", "FUSS", {}, "arXiv 2006.12701, table 1"),
    "yfcc100m": Published("MixIT on YFCC100m", "FUSS", {}, "arXiv 2006.12701, table 1"),
    "fuss_supervised": Published(
        "FUSS baseline, with labels",
        "FUSS, reverberant",
        {"1S": "35.5 dB", "MSi": "9.8 dB"},
        "arXiv 2011.00803, abstract",
    ),
    "sparse": Published(
        "MixIT with more outputs and sparsity",
        "FUSS",
        {"1S": "> 17 dB above MixIT", "MSi": "> 13 dB"},
        "arXiv 2106.00847, abstract",
    ),
}
"""Rows by the preset that repeats them; ``sparse`` is any run with a sparsity loss."""


def row_of(config: MixitConfig) -> str | None:
    """Find the published row that a run repeats.

    Args:
        config: Configuration of the run.

    Returns:
        Its name in ``PUBLISHED``; None where network or losses are others.
    """
    if config.sparsity != "none":
        shape = replace(config.model, num_sources=FUSS.model.num_sources)
        return "sparse" if shape == FUSS.model and not config.labelled else None
    for name, preset in (("fuss", FUSS), ("fuss_supervised", FUSS_SUPERVISED)):
        same = (config.model, config.labelled, config.segment_seconds)
        if same == (preset.model, preset.labelled, preset.segment_seconds):
            return name
    return None


def read(path: str | Path) -> dict[str, Any]:
    """Read a ``summary.json``.

    Raises:
        ValueError: The file is something else.
    """
    try:
        summary = json.loads(Path(path).read_text("utf-8"))
        return {**summary, "examples": int(summary["examples"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no summary.json of an evaluation ({error!r}); name one that "
            "python -m mixit.evaluate wrote"
        ) from error


def summary_table(summary: Mapping[str, Any]) -> str:
    """Write the summary of one evaluation as a Markdown table.

    Args:
        summary: Of :func:`mixit.scoring.scores.summarise` or
            ``summarise_mixtures``, with ``row`` (a name in ``PUBLISHED`` or None) and
            ``synthetic``.

    Returns:
        A line of origin and a table with a published column where a row is known.
    """
    row = None if summary.get("synthetic") else PUBLISHED.get(summary.get("row") or "")
    names = scores.measures(dict(summary))
    lines = [_origin(summary, row), ""]
    head = ["measure", "mean", "deviation", _pool_name(summary)]
    lines += _table([*head, "published"] if row else head, _cells(summary, names, row))
    return "\n".join(lines) + "\n"


def table(summaries: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write published numbers and ours beside them as Markdown tables.

    Args:
        summaries: Contents of ``summary.json`` files.

    Returns:
        A table of the published rows, and one of the runs on synthetic sounds.
    """
    real = {each.get("row"): each for each in summaries if not each.get("synthetic")}
    head = ["preset", "model", "test set", "1S", "published", "MSi", "published"]
    cells = []
    for name, row in PUBLISHED.items():
        line = [f"`{name}`", row.model, row.test_set]
        for measure in ("1S", "MSi"):
            ours = _mean(real[name], measure) if name in real else NOT_RUN
            line += [ours, row.values.get(measure, NOT_ESTABLISHED)]
        cells.append([*line, row.source])
    lines = _table([*head, "published in"], cells)
    made = [each for each in summaries if each.get("synthetic")]
    if made:
        lines += ["", "On synthetic sounds, which say nothing about recordings:", ""]
        head = ["model", "examples", "1S", "MSi"]
        lines += _table(head, [_synthetic_cells(each) for each in made])
    return "\n".join(lines) + "\n"


def _origin(summary: Mapping[str, Any], row: Published | None) -> str:
    if summary.get("synthetic"):
        return "Synthetic sounds: these numbers say nothing about real recordings."
    if row is None:
        return "No published number stands for this model and this set."
    return f"Published: {row.model}, measured on {row.test_set} ({row.source})."


def _pool_name(summary: Mapping[str, Any]) -> str:
    return "mixtures" if "MoMi" in summary else "sources"


def _cells(
    summary: Mapping[str, Any], names: Sequence[str], row: Published | None
) -> list[list[str]]:
    lines = []
    for name in names:
        cell = summary[name]
        numbers = [_mean(summary, name), _decibels(cell["deviation"])]
        line = [name, *numbers, str(cell["sources"])]
        lines.append([*line, row.values.get(name, NOT_ESTABLISHED)] if row else line)
    examples = f"{summary['examples']} examples"
    for name in scores.RATES:
        if name in summary:
            line = [f"{name}-separation", f"{summary[name]:.2f}", "", examples]
            lines.append([*line, ""] if row else line)
    return lines


def _synthetic_cells(summary: Mapping[str, Any]) -> list[str]:
    measured = [_mean(summary, measure) for measure in ("1S", "MSi")]
    return [f"`{summary.get('model')}`", str(summary["examples"]), *measured]


def _mean(summary: Mapping[str, Any], measure: str) -> str:
    cell = summary.get(measure)
    if cell is None:
        return NOT_RUN
    return _decibels(cell["mean"]) or "none in this set"


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} dB"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
