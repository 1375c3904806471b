"""Published scores of the networks on mixtures of speakers, and the bundled models.

``published.csv`` holds the numbers, each with its source and whether it was read there
or is quoted. ``python -m clustering.evaluate`` prints them beside its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clustering.config import BUNDLED, ClusteringConfig
from common.evaluation import published as numbers
from common.evaluation.published import Number
from common.evaluation.table import markdown
from common.weights.registry import Entry, shipped

NOT_RUN = "not run here"
NOT_MEASURED = "not measured"
TRACKS = 3000
"""Mixtures of the test set of each of these corpora."""
RATE = 8000
NAMES = {
    "SI-SDR": "si_sdr",
    "SI-SDRi": "si_sdr_improvement",
    "SDR": "bss_sdr",
    "SDRi": "bss_sdr_improvement",
}
"""Our names of the measures, by those of papers."""

PUBLISHED: Sequence[Number] = tuple(
    number for number in numbers.read(Path(__file__).parent) if number.value
)
"""Numbers at 8 kHz for mixtures cut to the shorter utterance."""


def rows(config: ClusteringConfig) -> list[Number]:
    """List the published scores on the corpus and the task of a run.

    >>> from clustering.config import ClusteringConfig
    >>> rows(ClusteringConfig())[0].text
    '10.3 dB'
    """
    task = config.task if config.dataset == "wham" else "mix_clean"
    run = config.dataset, task
    return [each for each in PUBLISHED if (each.table, each.condition) == run]


def is_comparable(config: ClusteringConfig, split: str, count: int) -> bool:
    """Return whether scores are those of the whole published test set."""
    options = config.sample_rate, config.length, split, count, config.sources
    return options == (RATE, "min", "test", TRACKS, ())


def table(
    config: ClusteringConfig, means: Mapping[str, Mapping[str, float]] | None
) -> str:
    """Format the published scores on the corpus of a run beside its own.

    Args:
        config: Configuration of the run.
        means: Means of the measures: ``all`` of the run, and ``ideal_binary`` and
            ``ideal_ratio`` of ideal masks, if any; None if they are not comparable.

    Returns:
        A table of Markdown, empty for a corpus without published scores.
    """
    published = rows(config)
    if not published:
        return ""
    cells = [
        (row.row, row.measure, row.text, _here(row, config, means), row.origin)
        for row in published
    ]
    return markdown(["network", "measure", "published", "here", "source"], cells)


def row_of(config: ClusteringConfig) -> str:
    """Return the row of the published numbers that a network belongs to.

    >>> from clustering.config import ClusteringConfig
    >>> row_of(ClusteringConfig())
    'dpcl, classic'
    """
    embeds = config.kind in ("dpcl", "chimera")
    loss = config.loss.clustering_kind if embeds else ""
    parts = config.kind, loss, "AutoClip" if config.clip_percentile is not None else ""
    return ", ".join(filter(None, parts))


def _here(
    row: Number,
    config: ClusteringConfig,
    means: Mapping[str, Mapping[str, float]] | None,
) -> str:
    ideal = row.row.startswith("ideal")
    if means is None or not (ideal or row.row == row_of(config)):
        return NOT_RUN
    own = means.get(row.row if ideal else "all")
    if own is None:
        return NOT_RUN
    measure = NAMES[row.measure]
    return f"{own[measure]:.2f} dB" if measure in own else NOT_MEASURED


def entries() -> list[Entry]:
    """Describe the bundled models, for :mod:`common.weights.registry`."""
    return shipped("clustering", BUNDLED)
