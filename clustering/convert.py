"""Convert models of others: ``python -m clustering.convert SOURCE DEST``.

The command restores a file of nussl's ``SeparationModel.save``, a TasNet of asteroid
or a Conv-TasNet of asteroid or torchaudio. It compares our network with that of the
file, computed in float64 by :mod:`clustering.foreign.float64`, and writes the run
folder DEST, which :mod:`clustering.separate` loads. ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from clustering import load, weights
from clustering.config import ClusteringConfig
from clustering.foreign.conv_tasnet_file import ConvTasnetFile
from clustering.foreign.float64 import magnitude_reference, waveform_reference
from clustering.foreign.lstm_tasnet_file import LstmTasnetFile
from clustering.foreign.nussl_file import NusslModel
from clustering.models.network import named_outputs, network
from common.config import load as load_config
from common.config import save
from common.files import replacing_folder
from common.training.checkpoint import (
    CONFIG,
    CheckpointError,
    restore_network,
    save_network,
)
from common.weights import bundled, convert_command
from common.weights.bundled import BUNDLED, Form
from common.weights.card import Card, Score
from common.weights.locate import locate_model

TOLERANCE = 1e-4
"""Largest accepted difference, relative to the largest number."""

Waveforms = ConvTasnetFile | LstmTasnetFile
Model = NusslModel | Waveforms


def check(model: Model, frames: int = 40) -> float:
    """Compare a network with that of its file, computed in float64.

    Args:
        model: The restored model.
        frames: Length of the noise for the comparison.

    Returns:
        Largest difference relative to the largest output, over all outputs in training
        and in inference.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    if isinstance(model, NusslModel):
        pairs = _spectra(model, frames)
    else:
        pairs = _waveforms(model, frames)
    differences = [_difference(*pair) for pair in pairs]
    if not max(differences) <= TOLERANCE:
        raise CheckpointError(
            f"the network differs from that of its file, computed in float64, by "
            f"{max(differences):.3g}, expected at most {TOLERANCE:g}: it was not "
            "restored"
        )
    return max(differences)


def export(
    model: Model, folder: str | Path, sample_rate: int | None = None
) -> ClusteringConfig:
    """Write the run folder of a model, all files or none.

    Args:
        model: The restored model.
        folder: The folder to make.
        sample_rate: Rate in Hz, if the file does not state it.

    Raises:
        CheckpointError: The folder exists, or the sample rate is unknown or another
            one than in the file.
        OSError: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; name a folder that does not")
    config = model.config(sample_rate)
    with replacing_folder(folder) as work:
        save(config, work / CONFIG)
        save_network(work, model.network)
    return config


def bundle(run: str | Path, folder: str | Path, form: Form = BUNDLED) -> Card:
    """Write the network of a run, without optimizer and paths.

    Args:
        run: Run folder.
        folder: The folder to make, or of a bundled model to replace, whose cards stay.
        form: How it is written.

    Returns:
        The card of the model.

    Raises:
        ConfigError: The network is too large for the package.
        CheckpointError: The run has no checkpoint.
    """
    config = load_config(ClusteringConfig, Path(run) / CONFIG)
    net = network(config)
    restore_network(run, net)
    bundled.refuse_large(run, net.count_params(), form)
    bare = replace(config, data_root=None, records=None, initial=None, output=None)
    scores = partial(card_scores, config)
    return bundled.write(run, folder, {"": (net, bare)}, load, form, scores)


def card_scores(config: ClusteringConfig, summary: Mapping[str, Any]) -> list[Score]:
    """Make the score of a card of the ``summary.json`` of an evaluation.

    Args:
        config: Configuration of the run.
        summary: Of :mod:`clustering.evaluate`.
    """
    means = summary["all"]
    where = f"{means['count']} sources of the test split of {config.dataset}"
    has_score = "si_sdr_improvement" in means
    values = {"mean": round(means["si_sdr_improvement"], 2)} if has_score else {}
    return [
        Score("SI-SDRi", "dB", where, bundled.is_recorded(config.data_root), values)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Check or convert a model of nussl 1.x, asteroid or torchaudio."""
    parser = convert_command.parser(
        "clustering.convert",
        main.__doc__,
        "compare the network with that of the file in float64, as before writing a "
        f"run folder; refuse a largest difference above {TOLERANCE:g}",
    )
    parser.add_argument(
        "--sample-rate",
        type=int,
        metavar="HZ",
        help="rate of the model, if the file does not state it",
    )
    return convert_command.command(parser, _main, bundle, load, argv)


def _main(options: argparse.Namespace) -> int:
    model = weights.read(locate_model(options.source, weights.MODELS))
    count = sum(v.shape.num_elements() for v in model.network.trainable_variables)
    sys.stdout.write(f"{options.source}: {model.kind}, {count} weights\n")
    sys.stdout.write(f"largest difference {check(model):.3g}\n")
    if options.dest:
        config = export(model, options.dest, options.sample_rate)
        sys.stdout.write(f"{options.dest}: {_description(config)}\n")
    return 0


def _description(config: ClusteringConfig) -> str:
    size, hop = config.window_samples, config.hop_samples
    if config.kind in ("tasnet", "conv_tasnet"):
        bank = getattr(config, config.kind).filterbank
        size, hop = bank.size, bank.stride
    return f"{config.kind}, {config.sample_rate} Hz, frames of {size} every {hop}"


def _spectra(model: NusslModel, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs of a network on magnitudes of all levels, and those of the file."""
    random = np.random.default_rng(0)
    shape = (2, frames, model.network.config.features.bins)
    levels = 10.0 ** random.uniform(-5.0, 0.0, shape)
    magnitude = levels * np.abs(random.standard_normal(shape))
    magnitude = magnitude.astype(np.float32)
    expected = magnitude_reference(model, magnitude)
    pairs = []
    for run in (model.network, model.network.infer):
        outputs = named_outputs(model.kind, run(tf.constant(magnitude)))._asdict()
        pairs += [(outputs[name].numpy(), expected[name]) for name in model.heads]
    return pairs


def _waveforms(model: Waveforms, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs of a network on waveforms, and those of the file."""
    bank = model.network.config.filterbank
    samples = bank.size + (frames - 1) * bank.stride + 1
    waveform = np.random.default_rng(0).standard_normal([2, samples]) / 4
    waveform = waveform.astype(np.float32)
    output = model.network(tf.constant(waveform)).numpy()
    return [(output, waveform_reference(model, waveform))]


def _difference(output: np.ndarray, expected: np.ndarray) -> float:
    largest = float(np.abs(expected).max()) or 1.0
    return float(np.abs(output - expected).max()) / largest


if __name__ == "__main__":
    sys.exit(main())
