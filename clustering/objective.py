"""What each kind of network is trained for: from its outputs to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import tensorflow as tf

from clustering import extension, targets
from clustering.config import ClusteringConfig
from clustering.losses.deep_clustering import Kind as ClusteringLoss
from clustering.losses.deep_clustering import deep_clustering, whitened_kmeans
from clustering.losses.permutation_invariant import Kind as InferenceLoss
from clustering.losses.permutation_invariant import pit
from common.config import ConfigError
from common.signal.stft import istft, stft

SPECTRAL = ("dpcl", "mask_inference", "chimera")
RATIOS = ("si_sdr", "snr")
"""Losses that only waveforms have."""


class Given(NamedTuple):
    """What a step knows of a batch.

    Attributes:
        input: What the network sees: magnitudes [batch, frames, bins], or waveforms
            [batch, samples].
        targets: What its estimates are compared with: magnitudes [batch, sources,
            frames, bins], or waveforms [batch, sources, samples].
        magnitudes: Of the sources [batch, sources, frames, bins], which tell the
            loudest source of each bin; none for waveforms.
        spectrum: Of the mixture, complex64 [batch, frames, bins]; none for waveforms.
        sources: Waveforms [batch, sources, samples].
    """

    input: tf.Tensor
    targets: tf.Tensor
    magnitudes: tf.Tensor | None
    spectrum: tf.Tensor | None
    sources: tf.Tensor


def terms(config: ClusteringConfig) -> tuple[str, ...]:
    """Name the terms that the loss of a configuration is the weighted sum of."""
    both = "clustering", "inference"
    return {"dpcl": both[:1], "chimera": both}.get(config.role, both[1:])


def given(config: ClusteringConfig, batch: Mapping[str, tf.Tensor]) -> Given:
    """Transform a batch as the network needs it."""
    mixture, sources = batch["mixture"], batch["sources"]
    if config.role not in SPECTRAL:
        return Given(mixture, sources, None, None, sources)
    spectrum, spectra = stft(mixture, config.stft), stft(sources, config.stft)
    made = {
        "msa": lambda: targets.msa(spectra),
        "irm": lambda: targets.irm(spectra, spectrum),
        "psa": lambda: targets.psa(spectra, spectrum),
        "psa_untruncated": lambda: targets.psa(spectra, spectrum, truncated=False),
    }
    wanted, magnitudes = made[config.loss.target](), tf.abs(spectra)
    return Given(tf.abs(spectrum), wanted, magnitudes, spectrum, sources)


def losses(
    config: ClusteringConfig, known: Given, outputs: Any
) -> dict[str, tf.Tensor]:
    """Compute the terms whose weight is not 0, and their weighted sum.

    Args:
        config: Gives the kind and the weights.
        known: From :func:`given`.
        outputs: Of the network.

    Returns:
        ``loss`` and each of :func:`terms` with a weight, float32 [batch].
    """
    weights = check_weights(config)
    found, both = {}, config.role == "chimera"
    if weights.get("clustering"):
        embedding = outputs.embedding if both else outputs
        found["clustering"] = _clustering(config, known, embedding)
    if weights.get("inference"):
        outputs = outputs.mask if both else outputs
        found["inference"] = _inference(config, known, outputs)
    total = tf.add_n([weights[name] * term for name, term in found.items()])
    return {"loss": total, **found}


def check_weights(config: ClusteringConfig) -> dict[str, float]:
    """Give the weight of each of :func:`terms`.

    Raises:
        ConfigError: No term has a weight, or one has a negative weight.
    """
    weights = {name: getattr(config.loss, name) for name in terms(config)}
    if min(weights.values()) < 0 or not any(weights.values()):
        listed = ", ".join(f"loss.{name}={weights[name]:g}" for name in weights)
        raise ConfigError(
            f"{listed}: expected no weight below 0, and one above for {config.role}"
        )
    return weights


def _clustering(
    config: ClusteringConfig, known: Given, embedding: tf.Tensor
) -> tf.Tensor:
    loss = config.loss
    assignment = targets.ideal_binary(cast(tf.Tensor, known.magnitudes))
    weights = targets.point_weights(
        known.input, assignment, loss.weights, loss.threshold_db
    )
    kind = loss.clustering_kind
    if extension.is_path(kind):
        own = extension.function("loss.clustering_kind", kind)
        return own(embedding, assignment, weights)
    if kind == "whitened":
        return whitened_kmeans(embedding, assignment, weights)
    return deep_clustering(embedding, assignment, weights, cast(ClusteringLoss, kind))


def _inference(config: ClusteringConfig, known: Given, outputs: tf.Tensor) -> tf.Tensor:
    """Compare masked magnitudes or waveforms with their targets."""
    kind, estimates, wanted = config.loss.inference_kind, outputs, known.targets
    if known.spectrum is not None and kind in RATIOS:
        masked = tf.cast(outputs, tf.complex64) * known.spectrum[:, tf.newaxis]
        wanted = known.sources
        estimates = istft(masked, config.stft, tf.shape(wanted)[-1])
    elif known.spectrum is not None:
        estimates = outputs * known.input[:, tf.newaxis]
    if extension.is_path(kind):
        return extension.function("loss.inference_kind", kind)(estimates, wanted)
    return pit(estimates, wanted, cast(InferenceLoss, kind))
