"""The tables of the papers that ``benchmarks/reproduce.py`` repeats, as data.

A row trains a preset, or restores published weights by their name. The published
numbers to compare it with are in ``published.csv`` of its package.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

Keys = Mapping[str, object]
NO_KEYS: Keys = MappingProxyType({})


class Row(NamedTuple):
    """A separator of a table.

    Attributes:
        about: Name in the table.
        published: Rows of ``published.csv`` to compare it with.
        preset: Preset to train; empty if nothing is trained.
        keys: Keys that differ from the preset.
        restore: Name of published weights, if they are used instead.
        evaluation: Further arguments of the evaluation.
    """

    about: str
    published: tuple[str, ...]
    preset: str = ""
    keys: Keys = NO_KEYS
    restore: str = ""
    evaluation: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table of a paper.

    Attributes:
        title: Title of the table.
        pillar: Package of its rows.
        corpus: Its corpus in ``common.corpora.catalogue``.
        tests: Number of test mixtures, or rows of scores, of the published ones.
        mixtures: Patterns of a test mixture in the corpus; the first is separated.
        rows: The rows by name.
        numbers: Name of the table in ``published.csv``.
        condition: Condition of its numbers, if only one is measured.
        unpaired: A second corpus, without pairs of mixtures and sources.
    """

    title: str
    pillar: str
    corpus: str
    tests: int
    mixtures: tuple[str, ...]
    rows: Mapping[str, Row]
    numbers: str
    condition: str = ""
    unpaired: str = ""


SONGS = ("test/*/mixture.wav", "test/*.stem.mp4")
FUSS = ("eval/*.wav", "ssdata/eval/*.wav")
RATE = {"sample_rate": 8000}
WSJ0 = {"dataset": "wsj0_2mix", **RATE}
NOISY = {"dataset": "wham", "task": "mix_both", **RATE}
FOUR = {"target": "vocals,drums,bass,other"}
WAV = {"is_wav": "true"}

TABLES: Mapping[str, Table] = {
    "mixit": Table(
        "MixIT on FUSS (Wisdom et al. 2020, table 1)",
        "mixit",
        "fuss",
        1000,
        FUSS,
        {
            "fuss": Row("MixIT on FUSS alone", ("fuss",), "fuss"),
            "yfcc100m": Row("MixIT on YFCC100m", ("yfcc100m",), restore="yfcc100m"),
        },
        "mixit",
    ),
    "fuss_baseline": Table(
        "The baseline of FUSS, with labels (Wisdom et al. 2021)",
        "mixit",
        "fuss",
        1000,
        FUSS,
        {
            "trained": Row(
                "trained here, the network of Google's later program",
                ("fuss_supervised",),
                "fuss_supervised",
            ),
            "published": Row(
                "published weights", ("fuss_supervised",), restore="fuss_baseline"
            ),
        },
        "fuss_baseline",
    ),
    "musdb18": Table(
        "Open-Unmix on MUSDB18 and MUSDB18-HQ",
        "unmix",
        "musdb",
        50,
        SONGS,
        {
            "umx": Row("umx, published weights", ("umx",), restore="umx"),
            "umxhq": Row("umxhq, published weights", ("umxhq",), restore="umxhq"),
            "umxl": Row("umxl, published weights", ("umxl",), restore="umxl"),
            "umx_trained": Row("umx, trained here", ("umx",), "umx", FOUR),
            "umxhq_trained": Row(
                "umxhq, trained here",
                ("umxhq",),
                "umxhq",
                {**FOUR, **WAV},
                evaluation=("--is-wav",),
            ),
        },
        "musdb18",
    ),
    "wsj0_2mix": Table(
        "Two speakers, WSJ0-2mix",
        "clustering",
        "wsj0_2mix",
        6000,
        ("2speakers/wav8k/min/tt/mix/*.wav",),
        {
            "dpcl": Row(
                "deep clustering, with ideal masks beside it",
                ("dpcl, classic", "ideal_binary", "ideal_ratio"),
                "dpcl_paper",
                WSJ0,
                evaluation=("--bss", "--oracle"),
            ),
            "autoclip_dc": Row(
                "deep clustering, AutoClip",
                ("dpcl, classic, AutoClip",),
                "autoclip_dc",
                WSJ0,
            ),
            "autoclip_wkm": Row(
                "deep clustering, whitened, AutoClip",
                ("dpcl, whitened, AutoClip",),
                "autoclip_wkm",
                WSJ0,
            ),
            "mask_inference": Row(
                "mask inference, AutoClip",
                ("mask_inference, AutoClip",),
                "autoclip_mi",
                WSJ0,
            ),
            "chimera": Row(
                "chimera",
                ("chimera, classic",),
                "chimera_paper",
                WSJ0,
                evaluation=("--bss",),
            ),
            "autoclip_mi_wkm": Row(
                "chimera, whitened, AutoClip",
                ("chimera, whitened, AutoClip",),
                "autoclip_mi_wkm",
                WSJ0,
            ),
            "tasnet": Row(
                "TasNet",
                ("tasnet",),
                "asteroid_whamr_tasnet",
                WSJ0,
                evaluation=("--bss",),
            ),
            "conv_tasnet": Row(
                "Conv-TasNet",
                ("conv_tasnet",),
                "asteroid_wham_convtasnet",
                WSJ0,
                evaluation=("--bss",),
            ),
        },
        "wsj0_2mix",
    ),
    "wham": Table(
        "Two speakers, WHAM! without its noise",
        "clustering",
        "wham",
        6000,
        ("wav8k/min/tt/mix_clean/*.wav",),
        {
            "dpcl": Row(
                "deep clustering, with ideal masks beside it",
                ("dpcl, classic", "ideal_binary", "ideal_ratio"),
                "nussl_wham_dpcl",
                evaluation=("--oracle",),
            ),
            "mask_inference": Row(
                "mask inference", ("mask_inference",), "nussl_wham_mi"
            ),
            "tasnet": Row("TasNet", ("tasnet",), "asteroid_whamr_tasnet"),
            "conv_tasnet": Row(
                "Conv-TasNet",
                ("conv_tasnet",),
                "asteroid_wham_convtasnet",
                evaluation=("--bss",),
            ),
        },
        "wham",
        "mix_clean",
    ),
    "wham_noisy": Table(
        "Two speakers in noise, WHAM!",
        "clustering",
        "wham",
        6000,
        ("wav8k/min/tt/mix_both/*.wav",),
        {
            "tasnet": Row("TasNet", ("tasnet",), "asteroid_whamr_tasnet", NOISY),
            "chimera": Row("chimera", ("chimera, classic",), "chimera_paper", NOISY),
        },
        "wham",
        "mix_both",
    ),
    "adversarial": Table(
        "Singing voice, with critics (Stoller et al. 2018)",
        "adversarial",
        "musdb",
        25,
        SONGS,
        {
            "supervised": Row(
                "supervised", ("supervised",), "musdb_moisesdb", {"phases": "sup"}
            ),
            "semi_supervised": Row(
                "semi-supervised, with critics", ("semi_supervised",), "musdb_moisesdb"
            ),
        },
        "adversarial",
        unpaired="moisesdb",
    ),
}
"""The tables by name; that of MIR-1K is a program of its own, ``mir1k.py``."""

ROOT_KEYS = {
    "mixit": "data_root",
    "unmix": "data_root",
    "clustering": "data_root",
    "adversarial": "corpora.data_root",
}
"""Keys of the corpus by earlier names: a table goes on by the same commands alone."""
UNPAIRED_KEY = "corpora.unpaired_root"

SHORT = {"train.epochs": 1, "train.steps_per_epoch": 2, "train.checkpoint_steps": 2}
TINY: Mapping[str, Keys] = {
    "mixit": {
        **SHORT,
        "segment_seconds": 1.0,
        "batch_size": 2,
        "model.bottleneck": 8,
        "model.conv_channels": 16,
        "model.num_dilations": 2,
        "model.num_repeats": 1,
    },
    "unmix": {
        **SHORT,
        "model.sample_rate": 16000,
        "model.window_samples": 1024,
        "model.hop_samples": 512,
        "model.bandwidth": 8000,
        "model.hidden_size": 8,
        "model.layers": 1,
        "segment_seconds": 1.0,
        "batch_size": 2,
    },
    "clustering": {
        **SHORT,
        "segment_seconds": 0.8,
        "batch_size": 2,
        "spectral.recurrent.hidden": 8,
        "spectral.recurrent.layers": 1,
        "tasnet.recurrent.hidden": 8,
        "tasnet.recurrent.layers": 1,
        "conv_tasnet.bottleneck": 8,
        "conv_tasnet.hidden": 8,
        "conv_tasnet.skip": 8,
        "conv_tasnet.blocks": 2,
        "conv_tasnet.repeats": 1,
    },
    "adversarial": {
        "train.epochs": 1,
        "train.checkpoint_steps": 2,
        "epoch_it": 2,
        "batch_size": 2,
        "num_frames": 16,
        "num_layers": 2,
        "initial_filters": 4,
        "disc_filters": 4,
        "num_disc": 1,
        "model_config.log_dir": "none",
    },
}
"""Keys of ``--tiny``: small networks, two steps."""
MINIATURES: Mapping[str, Mapping[str, float]] = {
    "fuss": {
        "sample_rate": 16000,
        "seconds": 2.0,
        "train": 4,
        "validation": 2,
        "eval": 2,
    },
    "musdb": {"sample_rate": 16000, "seconds": 4.0, "train": 4, "test": 2},
    "moisesdb": {"sample_rate": 16000, "seconds": 4.0, "songs": 6},
    "wsj0_2mix": {"train": 4, "validation": 2, "test": 2},
    "wham": {"train": 4, "validation": 2, "test": 2},
}
"""Sizes of the corpora of ``--tiny``."""
BUNDLED = "mini"
"""Weights that ``--tiny`` restores instead of published ones, without a download."""
