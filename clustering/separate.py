"""Separation by all networks: ``python -m clustering.separate a.wav``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.cluster import cluster
from clustering.config import ClusteringConfig
from clustering.objective import SPECTRAL
from clustering.shapes import Filterbank
from clustering.weights import restore
from common.separation.command import command
from common.separation.separator import Separator, graph
from common.signal.masking import mixture_consistency
from common.signal.stft import istft, stft
from common.weights.fingerprint import fingerprint

SEGMENT_SECONDS = 60.0
DEFAULT = "speech2"
"""Model of the command line: two speakers, bundled."""


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
        path: Run folder or prefix of one of its checkpoints, the name of a bundled
            model, a model of nussl (``.pth``), or an experiment file (``.yml``) that
            names one of these; see :func:`clustering.weights.restore`.
        consistent: Add the rest of the mixture to all estimates in equal parts.
        segment_seconds: Longest sound in one pass; longer sound is separated in
            chunks, whose sources are aligned over the overlap.
        overlap: Fraction of a chunk that neighbouring chunks share.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: The folder holds no run, or its weights do not fit.
    """
    net, config = restore(path, checkpoint=checkpoint)
    return separator(net, config, consistent, segment_seconds, overlap)


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
        digest=lambda: fingerprint(net.variables, *_facts(config)),
    )


def _facts(config: ClusteringConfig) -> tuple[Any, ...]:
    """List all that estimates depend on besides the weights."""
    shapes = config.spectral, config.tasnet, config.conv_tasnet
    return config.role, config.stft, config.cluster, config.sample_rate, *shapes


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
    # Centred frames cover the whole sound, in any case of training.
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
    """Estimate waveforms; zeros pad the last frame, which would be left out."""
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
    """Run the command line of the separation; return the exit code."""
    return command(
        load,
        argv,
        "Separate speech or music into sources.",
        pillar="clustering",
        model=DEFAULT,
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
