"""The separators that ``benchmarks/mir1k.py`` trains on MIR-1K, one for each row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

Keys = Mapping[str, object]


class Row(NamedTuple):
    """A separator to train.

    Attributes:
        pillar: Package that trains it.
        preset: Preset of the package.
        keys: Keys that differ from the preset.
        about: What the table says of it.
    """

    pillar: str
    preset: str
    keys: Keys
    about: str


# Sources of an excerpt come from clips and offsets of their own, as Huang et al. shift
# the accompaniment against the voice.
SPECTRAL = {
    "window_samples": 1024,
    "hop_samples": 256,
    "spectral.features.bins": 513,
    "spectral.recurrent.hidden": 150,
    "spectral.recurrent.layers": 2,
    "mixing": "random",
    "snr_db": "-5,5",
    "segment_seconds": 2.4,
    "batch_size": 16,
    "lr": 1e-3,
    "clip_percentile": 10.0,
    "lr_decay_patience": 4,
    "train.epochs": 40,
    "train.steps_per_epoch": 75,
    "train.checkpoint_steps": 75,
    "train.log_steps": 25,
}
# Two singers are few: at other speeds they have other pitches and other vocal tracts.
SPEED = {
    **SPECTRAL,
    "spectral.recurrent.hidden": 256,
    "loss.inference_kind": "snr",
    "augment.speed": "0.8,1.25",
}
WAVEFORM = {
    **{key: SPECTRAL[key] for key in ("mixing", "snr_db", "clip_percentile")},
    "conv_tasnet.filterbank.filters": 128,
    "conv_tasnet.filterbank.size": 32,
    "conv_tasnet.filterbank.stride": 16,
    "conv_tasnet.bottleneck": 64,
    "conv_tasnet.hidden": 128,
    "conv_tasnet.skip": 64,
    "conv_tasnet.blocks": 7,
    "conv_tasnet.repeats": 2,
    "segment_seconds": 2.0,
    "batch_size": 4,
    "lr": 1e-3,
    "lr_decay_patience": 4,
    "train.epochs": 40,
    "train.steps_per_epoch": 100,
    "train.checkpoint_steps": 100,
    "train.log_steps": 25,
}
UNMIX = {
    "model.sample_rate": 16000,
    "model.window_samples": 1024,
    "model.hop_samples": 512,
    "model.channels": 1,
    "model.bandwidth": 8000,
    "model.hidden_size": 192,
    "target": "vocals,accompaniment",
    "source_augmentations": "gain",
    "random_track_mix": "true",
    "segment_seconds": 3.0,
    "lr_decay_patience": 6,
    "patience": 20,
    "train.epochs": 40,
    "train.steps_per_epoch": 50,
    "train.checkpoint_steps": 50,
    "train.log_steps": 25,
}
ADVERSARIAL = {
    "corpora.unpaired": "none",
    "model_config.log_dir": "none",
    "expected_sr": 16000,
    "num_fft": 1024,
    "num_hop": 512,
    "num_layers": 4,
    "num_frames": 32,
    "initial_filters": 8,
    "disc_filters": 8,
    "num_disc": 2,
    "head": "mask",
    "batch_size": 8,
    "excerpts_reused": "false",
    "gain_low": 1.0,
    "gain_high": 1.0,
    "center_pad": "reflect",
    "epoch_it": 100,
    "patience": 8,
    "init_sup_sep_lr": 1e-3,
    "init_unsup_sep_lr": 1e-3,
    "alpha": 0.01,
    "beta": 0.0,
    "train.epochs": 30,
    "train.checkpoint_steps": 100,
    "train.log_steps": 25,
}
MIXIT = {
    "model.sample_rate": 16000,
    "model.num_sources": 4,
    "model.window_samples": 64,
    "model.hop_samples": 32,
    "model.num_coeffs": 128,
    "model.bottleneck": 64,
    "model.conv_channels": 128,
    "model.num_dilations": 7,
    "model.num_repeats": 2,
    "segment_seconds": 3.0,
    "batch_size": 8,
    "validation_examples": 0,
    "lr": 1e-3,
    "lr_decay_steps": 2000,
    "train.epochs": 30,
    "train.steps_per_epoch": 100,
    "train.checkpoint_steps": 100,
    "train.log_steps": 25,
}
# The same network for longer, on voices and accompaniments that never met, at other
# speeds and levels.
AUGMENTED = {
    **ADVERSARIAL,
    "phases": "sup",
    "augment.speed": "0.8,1.25",
    "augment.gain_db": "-4,4",
    "augment.remix": "true",
    "patience": 30,
    "train.epochs": 80,
    "train.lr_schedule": "cosine",
    "train.ema": 0.999,
}
FEW = {"corpora.paired_tracks": 20}
SECOND = {**FEW, "phases": "semisup"}
LABELLED = {"labelled": 20 / 171}

ROWS: Mapping[str, Row] = {
    "mask_inference": Row("clustering", "mask_inference", SPECTRAL, "mask inference"),
    "mask_inference_speed": Row(
        "clustering",
        "mask_inference",
        SPEED,
        "mask inference, larger, trained by SNR at speeds of 0.8 to 1.25",
    ),
    "unmix": Row("unmix", "umx", UNMIX, "Open-Unmix, a network for each source"),
    "adversarial_20": Row(
        "adversarial",
        "museval",
        {**ADVERSARIAL, **FEW, "phases": "sup"},
        "supervised, 20 clips",
    ),
    "adversarial_20_151": Row(
        "adversarial",
        "museval",
        {**ADVERSARIAL, **SECOND},
        "semi-supervised, 20 clips and 151 unpaired ones",
    ),
    "dpcl": Row("clustering", "dpcl", SPECTRAL, "deep clustering"),
    "chimera": Row("clustering", "chimera", SPECTRAL, "chimera, its masks"),
    "adversarial_171": Row(
        "adversarial",
        "museval",
        {**ADVERSARIAL, "phases": "sup"},
        "supervised, 171 clips",
    ),
    "adversarial_171_augmented": Row(
        "adversarial",
        "museval",
        AUGMENTED,
        "supervised, 171 clips, remixed at speeds of 0.8 to 1.25, 80 epochs",
    ),
    "conv_tasnet": Row("clustering", "conv_tasnet", WAVEFORM, "Conv-TasNet"),
    "mixit": Row("mixit", "fuss", MIXIT, "MixIT, no labels"),
    "mixit_20": Row(
        "mixit", "fuss", {**MIXIT, **LABELLED}, "MixIT, 20 of 171 clips labelled"
    ),
    "mixit_171": Row(
        "mixit",
        "fuss",
        {**MIXIT, "labelled": 1.0},
        "the same network, all 171 clips labelled",
    ),
}
"""Rows by name, in the order in which they are trained."""
TIMES: Mapping[str, Mapping[str, Keys]] = {
    "unmix": {"": {"niter": 1}, "_unfiltered": {"niter": 0}},
}
"""Options of the separation by what they add to the name of a row, where not one."""


def words(row: Row, root: Path, output: Path, seed: int, tiny: bool) -> list[str]:
    """Make the command line of the training of a row.

    Args:
        row: The row.
        root: Folder of the corpus.
        output: Run folder.
        seed: Of weights, order and draws.
        tiny: Train for a few steps, to try the way from sound to table.
    """
    corpus = {
        "clustering": {"dataset": "mir1k", "data_root": root},
        "unmix": {"dataset": "mir1k", "data_root": root},
        "adversarial": {"corpora.paired": "mir1k", "corpora.data_root": root},
        "mixit": {"dataset": "mir1k", "data_root": root},
    }[row.pillar]
    keys = {**row.keys, **(_few(row.keys) if tiny else {}), **corpus}
    keys |= {"train.seed": seed, "output": output}
    return ["with", row.preset, *(f"{key}={value}" for key, value in keys.items())]


def _few(keys: Keys) -> Keys:
    """Shorten a training to two epochs of two steps, and part of the miniature."""
    short: dict[str, object] = {"train.epochs": 2}
    short["epoch_it" if "epoch_it" in keys else "train.steps_per_epoch"] = 2
    if "corpora.paired_tracks" in keys:
        short["corpora.paired_tracks"] = 2
    if 0 < float(str(keys.get("labelled", 0))) < 1:
        short["labelled"] = 0.5
    return short
