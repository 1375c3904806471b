"""Published scores of the networks on mixtures of speakers, and the bundled models.

Each number was read in the source that its row names. ``python -m clustering.evaluate``
prints them beside its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from clustering.config import BUNDLED, ClusteringConfig
from common.evaluation.table import markdown
from common.weights.registry import Entry, shipped

NOT_RUN = "not run here"
NOT_MEASURED = "not measured"
TRACKS = 3000
"""Mixtures of the test set of each of these corpora."""
RATE = 8000
NAMES = {
    "si_sdr": "SI-SDR",
    "si_sdr_improvement": "SI-SDRi",
    "bss_sdr": "SDR",
    "bss_sdr_improvement": "SDRi",
}
"""Names of the measures in papers, by ours."""

ISIK = "Isik et al. 2016, abstract"
AUTOCLIP = "Seetharaman et al. 2020 (AutoClip)"
WANG = "Wang et al. 2018, quoted by AutoClip"
QUOTED = "the papers, quoted by recipes of asteroid"
ASTEROID = "recipe of asteroid 0.7"
NUSSL = "recipe of nussl 1.1, 3,000 mixtures"


@dataclass(frozen=True)
class Row:
    """One published number.

    Attributes:
        dataset: The corpus.
        kind: Name of the network, or of an ideal mask.
        loss: Name of the loss of embeddings; empty where there is none.
        autoclip: Whether gradients were clipped to a percentile of their history.
        measure: The measure, one of :data:`NAMES`.
        value: The mean over the test set, in dB.
        source: Publication that states it.
        task: Task of WHAM!.
    """

    dataset: str
    kind: str
    loss: str
    autoclip: bool
    measure: str
    value: float
    source: str
    task: str = "mix_clean"

    @property
    def label(self) -> str:
        """The network as the presets name it, with its loss."""
        parts = [self.kind, self.loss, "AutoClip" if self.autoclip else ""]
        return ", ".join(part for part in parts if part)


def _wsj0_2mix() -> list[Row]:
    row = partial(Row, "wsj0_2mix")
    return [
        row("dpcl", "classic", False, "bss_sdr_improvement", 10.3, ISIK),
        row("dpcl", "classic", False, "bss_sdr_improvement", 9.9, ASTEROID),
        row("dpcl", "classic", False, "si_sdr", 10.2, WANG),
        row("dpcl", "whitened", False, "si_sdr", 10.4, WANG),
        row("dpcl", "classic", True, "si_sdr", 10.8, AUTOCLIP),
        row("dpcl", "whitened", True, "si_sdr", 11.0, AUTOCLIP),
        row("mask_inference", "", False, "bss_sdr_improvement", 10.0, ASTEROID),
        row("mask_inference", "", False, "si_sdr", 10.0, WANG),
        row("mask_inference", "", True, "si_sdr", 10.2, AUTOCLIP),
        row("chimera", "classic", False, "bss_sdr_improvement", 11.5, ASTEROID),
        row("chimera", "classic", False, "si_sdr", 11.2, WANG),
        row("chimera", "whitened", True, "si_sdr", 11.3, AUTOCLIP),
        row("conv_tasnet", "", False, "si_sdr_improvement", 15.3, QUOTED),
        row("conv_tasnet", "", False, "bss_sdr_improvement", 15.6, QUOTED),
    ]


def _wham() -> list[Row]:
    row = partial(Row, "wham")
    noisy = partial(row, task="mix_both")
    return [
        row("dpcl", "classic", False, "si_sdr", 10.74, NUSSL),
        row("mask_inference", "", False, "si_sdr", 10.03, NUSSL),
        row("ideal_binary", "", False, "si_sdr", 13.48, NUSSL),
        row("ideal_ratio", "", False, "si_sdr", 12.69, NUSSL),
        row("tasnet", "", False, "si_sdr_improvement", 14.2, QUOTED),
        row("tasnet", "", False, "si_sdr_improvement", 16.8, ASTEROID),
        row("conv_tasnet", "", False, "si_sdr_improvement", 16.2, ASTEROID),
        noisy("tasnet", "", False, "si_sdr_improvement", 12.0, QUOTED),
        noisy("tasnet", "", False, "si_sdr_improvement", 13.7, ASTEROID),
    ]


THREE = Row("wsj0_3mix", "dpcl", "classic", False, "bss_sdr_improvement", 7.1, ISIK)
PUBLISHED: Sequence[Row] = (*_wsj0_2mix(), THREE, *_wham())
"""Numbers at 8 kHz, of mixtures that are cut to the shorter utterance."""


def rows(config: ClusteringConfig) -> list[Row]:
    """List the published scores on the corpus and the task of a run.

    >>> from clustering.config import ClusteringConfig
    >>> rows(ClusteringConfig())[0].value
    10.3
    """
    task = config.task if config.dataset == "wham" else "mix_clean"
    return [
        row for row in PUBLISHED if (row.dataset, row.task) == (config.dataset, task)
    ]


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
        means: Means of the measures, in ``all`` those of the run, in ``ideal_binary``
            and ``ideal_ratio`` those of ideal masks where there are any; None where
            they are not comparable.

    Returns:
        A table of Markdown, empty for a corpus without published scores.
    """
    published = rows(config)
    if not published:
        return ""
    cells = [
        (
            row.label,
            NAMES[row.measure],
            f"{row.value:.2f} dB",
            _here(row, config, means),
            row.source,
        )
        for row in published
    ]
    return markdown(["network", "measure", "published", "here", "source"], cells)


def _here(
    row: Row,
    config: ClusteringConfig,
    means: Mapping[str, Mapping[str, float]] | None,
) -> str:
    ideal = row.kind.startswith("ideal")
    if means is None or not (ideal or _is_of(row, config)):
        return NOT_RUN
    own = means.get(row.kind if ideal else "all")
    if own is None:
        return NOT_RUN
    return f"{own[row.measure]:.2f} dB" if row.measure in own else NOT_MEASURED


def _is_of(row: Row, config: ClusteringConfig) -> bool:
    embeds = config.kind in ("dpcl", "chimera")
    loss = config.loss.clustering_kind if embeds else ""
    run = config.kind, loss, config.clip_kind == "auto"
    return run == (row.kind, row.loss, row.autoclip)


def entries() -> list[Entry]:
    """Describe the bundled models, for :mod:`common.weights.registry`."""
    return shipped("clustering", BUNDLED)
