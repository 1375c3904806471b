"""Published scores of the networks on mixtures of speakers, and the models to load.

``published.csv`` holds the numbers, each with its source and whether it was read there
or is quoted. ``python -m clustering.evaluate`` prints them beside its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from common.download import obtain
from common.files import cache_folder
from common.weights.entry import Entry, published_file

if TYPE_CHECKING:
    from clustering.config import ClusteringConfig
    from common.evaluation.published import Number

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

HUGGING_FACE = "https://huggingface.co"
PYTORCH = "https://download.pytorch.org"
"""Hosts of publications; the environment variable ``CLUSTERING_URL`` names another."""

BY_SA = "CC BY-SA 4.0; the notice in its card says 3.0"
NOISE = f"{BY_SA}; trained with noise under CC BY-NC 4.0"
NOT_VERIFIED = "not verified; torchaudio's code is BSD-2-Clause"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """A network that others published.

    Attributes:
        host: Address of the host of its file.
        path: Path of its file there.
        licence: Of the weights.
        sample_rate: In Hz.
        score: What its authors measured.
        aliases: Other names of it.
        page: Address of a page about it; empty where there is none but the file.
    """

    host: str
    path: str
    licence: str
    sample_rate: int
    score: str
    aliases: tuple[str, ...] = ()
    page: str = ""

    @property
    def url(self) -> str:
        """Address of the file."""
        root = os.environ.get("CLUSTERING_URL") or self.host
        return f"{root.rstrip('/')}/{self.path}"


def _asteroid(
    repository: str, rate: int, licence: str, score: str, *aliases: str
) -> Publication:
    """Describe a Conv-TasNet of asteroid by its repository on Hugging Face."""
    path = f"{repository}/resolve/main/pytorch_model.bin"
    names, page = (repository, *aliases), f"{HUGGING_FACE}/{repository}"
    return Publication(HUGGING_FACE, path, licence, rate, score, names, page)


LIBRI2MIX = "JorisCos/ConvTasNet_Libri2Mix"
MODELS: Mapping[str, Publication] = MappingProxyType(
    {
        "convtasnet_libri2mix": _asteroid(
            f"{LIBRI2MIX}_sepclean_8k", 8000, BY_SA, "SI-SDRi 14.8 dB (Libri2Mix, min)"
        ),
        "convtasnet_libri2mix_16k": _asteroid(
            f"{LIBRI2MIX}_sepclean_16k",
            16000,
            BY_SA,
            "SI-SDRi 15.2 dB (Libri2Mix, min)",
        ),
        "convtasnet_libri2mix_noisy": _asteroid(
            f"{LIBRI2MIX}_sepnoisy_8k",
            8000,
            NOISE,
            "SI-SDRi 11.9 dB (noisy Libri2Mix, min)",
        ),
        "convtasnet_libri2mix_noisy_16k": _asteroid(
            f"{LIBRI2MIX}_sepnoisy_16k",
            16000,
            NOISE,
            "SI-SDRi 12.6 dB (noisy Libri2Mix, min)",
        ),
        "convtasnet_wham": _asteroid(
            "mpariente/ConvTasNet_WHAM_sepclean",
            8000,
            f"{BY_SA}; trained with WSJ0, for research only",
            "SI-SDRi 16.2 dB (WHAM! without noise, min)",
            "mpariente/ConvTasNet_WHAM!_sepclean",
        ),
        "conv_tasnet_base_libri2mix": Publication(
            PYTORCH,
            "torchaudio/models/conv_tasnet_base_libri2mix.pt",
            NOT_VERIFIED,
            8000,
            "not measured",
            ("CONVTASNET_BASE_LIBRI2MIX",),
        ),
    }
)
"""Publications by name: Conv-TasNet of two speakers, of 5.05 million weights."""

ALIASES = MappingProxyType(
    {alias: name for name, model in MODELS.items() for alias in model.aliases}
)
"""Names of publications by other names of them."""

WEIGHTS = 5_050_545
"""Weights of each of them; torchaudio's has fewer by one path."""


def rows(config: ClusteringConfig) -> list[Number]:
    """List the published scores on the corpus and the task of a run.

    They are at 8 kHz, for mixtures cut to the shorter utterance.

    >>> from clustering.config import ClusteringConfig
    >>> rows(ClusteringConfig())[0].text
    '10.3 dB'
    """
    # Separation needs no scores.
    from common.evaluation import published as numbers

    task = config.task if config.dataset == "wham" else "mix_clean"
    run = config.dataset, task
    return [
        number
        for number in numbers.read(Path(__file__).parent)
        if number.value and (number.table, number.condition) == run
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
        means: Means of the measures: ``all`` of the run, and ``ideal_binary`` and
            ``ideal_ratio`` of ideal masks, if any; None if they are not comparable.

    Returns:
        A table of Markdown, empty for a corpus without published scores.
    """
    from common.evaluation.table import markdown

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
    measured = means.get(row.row if ideal else "all")
    if measured is None:
        return NOT_RUN
    measure = NAMES[row.measure]
    return f"{measured[measure]:.2f} dB" if measure in measured else NOT_MEASURED


def entries() -> list[Entry]:
    """Describe all models for the registry."""
    return [_entry(name, model) for name, model in MODELS.items()]


def path_of(name: str) -> Path:
    """Return the path in the cache that a publication is downloaded to.

    >>> path_of("convtasnet_libri2mix").name
    'pytorch_model.bin'
    """
    return cache_folder("published", name) / Path(MODELS[name].path).name


def fetch(name: str) -> Path:
    """Download the file of a publication that the cache does not hold.

    Args:
        name: Key of :data:`MODELS`.

    Raises:
        DownloadError: It cannot be downloaded, or is another one than at first.
    """
    path = path_of(name)
    if not path.exists():
        logger.info("%s: licence of the weights: %s", name, MODELS[name].licence)
    return obtain(MODELS[name].url, path)


def _entry(name: str, model: Publication) -> Entry:
    path = path_of(name)
    return Entry(
        name,
        "clustering",
        model.page or f"{model.host}/{model.path}",
        model.licence,
        model.score,
        path.exists(),
        [published_file(path, model.url, 4 * WEIGHTS, True)],
        {
            "targets": "two speakers",
            "sample rate": f"{model.sample_rate} Hz",
            "also named": ", ".join(model.aliases),
            "weights": WEIGHTS,
            "checked": VERIFIED,
        },
    )
