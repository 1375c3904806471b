"""Separation by any network of the pillar: ``python -m clustering.separate a.wav``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering import convert, embedded, experiment_file
from clustering.cluster import cluster
from clustering.config import ClusteringConfig
from clustering.network import network
from clustering.objective import SPECTRAL
from clustering.shapes import Filterbank
from common.config import ConfigError, override
from common.config import load as load_config
from common.files import user_path
from common.separation.command import command
from common.separation.separator import Separator, graph
from common.signal.masking import mixture_consistency
from common.signal.stft import istft, stft
from common.training.checkpoint import (
    CheckpointError,
    not_a_run,
    restore_network,
    run_of,
)
from common.weights.bundled import NAME

CONFIG = "config.json"
SEGMENT_SECONDS = 60.0
TORCH = (".pth", ".pt")


class Trained(NamedTuple):
    """A network with its weights, and its configuration."""

    net: keras.Model
    config: ClusteringConfig


def load(
    path: str | Path,
    *,
    consistent: bool = False,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = 0.25,
    checkpoint: str | None = None,
) -> Separator:
    """Make a separator of a trained network.

    Args:
        path: Run folder or prefix of one of its checkpoints, the name of a model that
            comes with the package, a model of nussl (``.pth``), or an experiment file
            (``.yml``) that names one of these.
        consistent: Give what the estimates leave of the mixture to all of them alike.
        segment_seconds: Longest sound in one pass; longer sound goes through in blocks,
            whose sources are matched over the overlap.
        overlap: Part of a segment that neighbouring blocks share.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: The folder holds no run, or its weights do not fit.
    """
    net, config = restore(path, checkpoint=checkpoint)
    return separator(net, config, consistent, segment_seconds, overlap)


def restore(
    path: str | Path, sample_rate: int | None = None, checkpoint: str | None = None
) -> Trained:
    """Restore a trained network.

    Args:
        path: See :func:`load`. What an experiment file tells of clustering holds in
            place of what the model was trained with.
        sample_rate: In Hz, of a model of nussl that does not tell it.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: The folder holds no run, or its weights do not fit.
        ConfigError: The experiment file does not fit or names no model.
    """
    if experiment_file.is_file(path):
        return restore_named(experiment_file.read(path), checkpoint)
    if Path(path).suffix.lower() in TORCH:
        if checkpoint is not None:
            raise not_a_run(path, checkpoint)
        restored = convert.load(path)
        convert.check(restored)
        return Trained(restored.model, convert.config(restored, sample_rate))
    folder = embedded.find(path) or user_path(path)
    run = run_of(folder)
    if run is None:
        raise CheckpointError(
            f"{folder} holds no {CONFIG}; expected a run folder, the name of a model "
            f"that comes with the package, {NAME}, a model of nussl (.pth) or an "
            "experiment file (.yml)"
        )
    config = load_config(ClusteringConfig, run / CONFIG)
    net = network(config)
    restore_network(folder, net, checkpoint)
    return Trained(net, config)


def restore_named(
    experiment: experiment_file.Experiment, checkpoint: str | None = None
) -> Trained:
    """Restore the network that an experiment file names; see :func:`restore`."""
    name = experiment_file.model(experiment)
    if experiment_file.is_file(name):
        raise ConfigError(
            f"{experiment.path}: the model is {name}, an experiment file; expected a "
            "run folder, the name of a model of the package, or a .pth of nussl"
        )
    net, config = restore(name, experiment.config.sample_rate, checkpoint)
    return Trained(net, override(config, experiment.masks))


def separator(
    net: keras.Model,
    config: ClusteringConfig,
    consistent: bool = False,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = 0.25,
) -> Separator:
    """Make a separator of a network."""
    spectral = config.role in SPECTRAL
    estimate = _of_spectra(net, config) if spectral else _of_waveforms(net, config)
    count = sources(config)

    def separate(mixture: np.ndarray) -> np.ndarray:
        waveform = tf.constant(mixture[:, 0])
        estimates = estimate(waveform)
        if consistent:
            estimates = mixture_consistency(waveform, estimates)
        return estimates.numpy()[:, :, np.newaxis]

    return Separator(
        separate,
        sources=[f"source{number}" for number in range(count)],
        sample_rate=config.sample_rate,
        segment_seconds=segment_seconds,
        overlap=overlap,
        grid_samples=config.hop_samples if spectral else _bank(config).stride,
    )


def sources(config: ClusteringConfig) -> int:
    """Count the sources that a configuration separates."""
    counts = {
        "dpcl": config.cluster.sources,
        "tasnet": config.tasnet.sources,
        "conv_tasnet": config.conv_tasnet.sources,
    }
    return counts.get(config.role, config.spectral.sources)


def _of_spectra(
    net: keras.Model, config: ClusteringConfig
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Estimate waveforms [batch, sources, samples] by masks on the mixture."""
    # Centred frames reach all of a sound, however the network was trained.
    params = replace(config.stft, padding="constant_whole")
    infer = getattr(net, "infer", net)

    def estimate(waveform: tf.Tensor) -> tf.Tensor:
        spectrum = stft(waveform, params)
        magnitude = tf.abs(spectrum)
        outputs = infer(magnitude)
        if config.role == "dpcl":
            masks = cluster(outputs, magnitude, config.cluster).masks
        else:
            masks = outputs.mask if config.role == "chimera" else outputs
        masked = tf.cast(masks, tf.complex64) * spectrum[:, tf.newaxis]
        return istft(masked, params, tf.shape(waveform)[-1])

    return estimate


def _of_waveforms(
    net: keras.Model, config: ClusteringConfig
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Estimate waveforms; zeros fill up the last frame, which would be left out."""
    bank = _bank(config)
    run = graph(net, input_signature=[tf.TensorSpec([None, None], tf.float32)])

    def estimate(waveform: tf.Tensor) -> tf.Tensor:
        samples = int(waveform.shape[-1] or 0)
        missing = max(bank.size - samples, (bank.size - samples) % bank.stride)
        return run(tf.pad(waveform, [[0, 0], [0, missing]]))[..., :samples]

    return estimate


def _bank(config: ClusteringConfig) -> Filterbank:
    shape = config.tasnet if config.role == "tasnet" else config.conv_tasnet
    return shape.filterbank


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; returns the exit code."""
    return command(
        load,
        argv,
        "Separate speech or music into sources.",
        model=NAME,
        configure=_configure,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="model",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="experiment file (.yml) that names the model",
    )


if __name__ == "__main__":
    sys.exit(main())
