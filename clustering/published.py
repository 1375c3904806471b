"""Published scores of the networks on mixtures of speakers, and the models to load.

``published.csv`` holds the numbers, each with its source and whether it was read there
or is quoted. ``python -m clustering.evaluate`` prints them beside its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clustering import weights
from clustering.config import BUNDLED, ClusteringConfig
from clustering.weights import MODELS, Publication
from common.evaluation import published as numbers
from common.evaluation.published import Number
from common.evaluation.table import markdown
from common.weights.registry import Entry, published_file, shipped

NOT_RUN = "not run here"
NOT_MEASURED = "not measured"
VERIFIED = "verified on a synthetic file of the same layout"
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
    """Describe all models for the registry, the bundled ones first."""
    published = (_entry(name, model) for name, model in MODELS.items())
    return [*shipped("clustering", BUNDLED), *published]


def fetch(name: str) -> None:
    """Download a publication that the cache does not hold.

    Args:
        name: Key of :data:`clustering.weights.MODELS`.

    Raises:
        DownloadError: It cannot be downloaded, or is another one than at first.
    """
    weights.fetch(name)


def _entry(name: str, model: Publication) -> Entry:
    path = weights.published_path(name)
    return Entry(
        name,
        "clustering",
        model.page or f"{model.host}/{model.path}",
        model.licence,
        model.score,
        path.exists(),
        [published_file(path, model.url, 4 * weights.WEIGHTS, True)],
        {
            "targets": "two speakers",
            "sample rate": f"{model.sample_rate} Hz",
            "also named": ", ".join(model.aliases),
            "weights": weights.WEIGHTS,
            "checked": VERIFIED,
        },
    )
