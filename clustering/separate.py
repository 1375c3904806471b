"""Separation by all networks: ``python -m clustering.separate a.wav``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.clusterers.cluster import cluster
from clustering.config import ON_SPECTRA, ClusteringConfig
from clustering.light import levelled
from clustering.models.network import infer
from clustering.models.spectral import magnitude
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
        path: Run folder or prefix of one of its checkpoints, the name of a bundled or
            published model, a file of nussl, asteroid or torchaudio, or an experiment
            file (``.yml``) that names a model; see :func:`clustering.weights.restore`.
        consistent: Add the rest of the mixture to all estimates in equal parts.
        segment_seconds: Longest sound in one pass; longer sound is separated in
            chunks, whose sources are aligned over the overlap.
        overlap: Fraction of a chunk that neighbouring chunks share.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: The folder holds no run, or its weights do not fit.
        DownloadError: A published model cannot be downloaded.
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
    spectral = config.role in ON_SPECTRA
    estimate = _of_spectra(net, config) if spectral else _of_waveforms(net, config)
    count, levels = source_count(config), is_levelled(config)

    def separate(mixture: np.ndarray) -> np.ndarray:
        channels = mixture.shape[1]
        waveform = tf.constant(mixture.reshape(-1, mixture.shape[-1]))
        estimates = estimate(waveform)
        if levels:
            estimates = tf.constant(levelled(estimates.numpy(), waveform.numpy()))
        if consistent:
            estimates = mixture_consistency(waveform, estimates)
        split = estimates.numpy().reshape(-1, channels, *estimates.shape[1:])
        return split.transpose(0, 2, 1, 3)

    return Separator(
        separate,
        sources=[f"source{number}" for number in range(count)],
        sample_rate=config.sample_rate,
        channels=config.spectral.features.channels if spectral else 1,
        segment_seconds=segment_seconds,
        overlap=overlap,
        grid_samples=config.hop_samples if spectral else frame(config).stride,
        complete=consistent or _masks_add_up(config),
        digest=lambda: fingerprint(net.variables, *_facts(config)),
    )


def _facts(config: ClusteringConfig) -> tuple[Any, ...]:
    """List all that estimates depend on besides the weights."""
    shapes = config.spectral, config.tasnet, config.conv_tasnet
    role = "dpcl" if config.clusters else config.role
    facts = role, config.stft, config.cluster, config.sample_rate, *shapes
    # Those of other front ends stay as they were before there was a floor.
    return (*facts, config.power_floor) if config.power_floor else facts


def _masks_add_up(config: ClusteringConfig) -> bool:
    """Whether the masks of the spectrum add up to 1 at all points."""
    softmax = config.spectral.mask_activation[-1:] == ("softmax",)
    return config.clusters or (config.role in ON_SPECTRA and softmax)


def is_levelled(config: ClusteringConfig) -> bool:
    """Whether the loss of a network leaves the level of its estimates open."""
    return config.role not in ON_SPECTRA and config.loss.inference_kind == "si_sdr"


def source_count(config: ClusteringConfig) -> int:
    """Count the sources that a configuration separates."""
    if config.clusters:
        return config.cluster.sources
    counts = {
        "tasnet": config.tasnet.sources,
        "conv_tasnet": config.conv_tasnet.sources,
    }
    return counts.get(config.role, config.spectral.sources)


def _of_spectra(
    net: keras.Model, config: ClusteringConfig
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Estimate waveforms [batch, sources, samples] by masks on the mixture.

    Channels that a network takes at once follow one another in the batch.
    """
    params = config.whole_stft
    channels = config.spectral.features.channels

    def estimate(waveform: tf.Tensor) -> tf.Tensor:
        spectrum = stft(waveform, params)
        inputs = _joined(magnitude(spectrum, config.power_floor), channels)
        embedding, masks = infer(net, config.role, inputs)
        if config.clusters:
            masks = cluster(embedding, inputs, config.cluster).masks
        masks = _split(masks, channels)
        masked = tf.cast(masks, tf.complex64) * spectrum[:, tf.newaxis]
        return istft(masked, params, tf.shape(waveform)[-1])

    return estimate


def _joined(magnitudes: tf.Tensor, channels: int) -> tf.Tensor:
    """[items * channels, frames, bins] -> [items, frames, bins * channels]."""
    if channels == 1:
        return magnitudes
    frames, bins = tf.unstack(tf.shape(magnitudes)[1:])
    parts = tf.reshape(magnitudes, [-1, channels, frames, bins])
    return tf.reshape(tf.transpose(parts, [0, 2, 3, 1]), [-1, frames, bins * channels])


def _split(masks: tf.Tensor, channels: int) -> tf.Tensor:
    """[items, sources, frames, bins * channels] -> [items * channels, sources, ...]."""
    if channels == 1:
        return masks
    count, frames, bins = tf.unstack(tf.shape(masks)[1:])
    parts = tf.reshape(masks, [-1, count, frames, bins // channels, channels])
    parts = tf.transpose(parts, [0, 4, 1, 2, 3])
    return tf.reshape(parts, [-1, count, frames, bins // channels])


def _of_waveforms(
    net: keras.Model, config: ClusteringConfig
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Estimate waveforms; zeros pad the last frame, which would be left out."""
    size, stride = frame(config)
    run = graph(net, input_signature=[tf.TensorSpec([None, None], tf.float32)])

    def estimate(waveform: tf.Tensor) -> tf.Tensor:
        samples = int(waveform.shape[-1] or 0)
        missing = max(size - samples, (size - samples) % stride)
        return run(tf.pad(waveform, [[0, 0], [0, missing]]))[..., :samples]

    return estimate


class Frame(NamedTuple):
    """Samples of sound that the first frame needs, and the distance between frames."""

    size: int
    stride: int


def frame(config: ClusteringConfig) -> Frame:
    """Return the frames of a network on waveforms."""
    if config.role == "tasnet":
        bank, padding = config.tasnet.filterbank, 0
    else:
        bank, padding = config.conv_tasnet.filterbank, config.conv_tasnet.padding
    return Frame(bank.size - 2 * padding, bank.stride)


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
