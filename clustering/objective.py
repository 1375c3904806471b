"""What each kind of network is trained for: from its outputs to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from clustering import targets
from clustering.config import ClusteringConfig
from clustering.losses.deep_clustering import deep_clustering, whitened_kmeans
from clustering.losses.permutation_invariant import pit
from common.stft import stft

SPECTRAL = ("dpcl", "mask_inference", "chimera")


class Given(NamedTuple):
    """What a step knows of a batch.

    Attributes:
        input: What the network sees: magnitudes [batch, frames, bins], or waveforms
            [batch, samples].
        targets: What its estimates are compared with: magnitudes [batch, sources,
            frames, bins], or waveforms [batch, sources, samples].
    """

    input: tf.Tensor
    targets: tf.Tensor


def terms(config: ClusteringConfig) -> tuple[str, ...]:
    """Name the terms that the loss of a configuration is the weighted sum of."""
    both = "clustering", "inference"
    return {"dpcl": both[:1], "chimera": both}.get(config.kind, both[1:])


def given(config: ClusteringConfig, batch: Mapping[str, tf.Tensor]) -> Given:
    """Transform a batch as the network needs it."""
    mixture, sources = batch["mixture"], batch["sources"]
    if config.kind not in SPECTRAL:
        return Given(mixture, sources)
    spectrum, spectra = stft(mixture, config.stft), stft(sources, config.stft)
    if config.loss.target == "msa":
        return Given(tf.abs(spectrum), targets.msa(spectra))
    truncated = config.loss.target == "psa"
    return Given(tf.abs(spectrum), targets.psa(spectra, spectrum, truncated))


def losses(
    config: ClusteringConfig, known: Given, outputs: Any
) -> dict[str, tf.Tensor]:
    """Compute the terms and their sum.

    Args:
        config: Gives the kind and the weights.
        known: From :func:`given`.
        outputs: Of the network.

    Returns:
        ``loss`` and each of :func:`terms`, float32 [batch].
    """
    loss, found = config.loss, {}
    if config.kind in ("dpcl", "chimera"):
        embedding = outputs if config.kind == "dpcl" else outputs.embedding
        found["clustering"] = _clustering(config, known, embedding)
    if config.kind != "dpcl":
        mask = outputs.mask if config.kind == "chimera" else outputs
        spectral = config.kind in SPECTRAL
        estimates = mask * known.input[:, tf.newaxis] if spectral else outputs
        kind = loss.inference_kind if spectral else "si_sdr"
        found["inference"] = pit(estimates, known.targets, kind)
    total = sum(getattr(loss, name) * term for name, term in found.items())
    return {"loss": total, **found}


def _clustering(
    config: ClusteringConfig, known: Given, embedding: tf.Tensor
) -> tf.Tensor:
    loss = config.loss
    assignment = targets.ideal_binary(tf.maximum(known.targets, 0.0))
    weights = targets.point_weights(
        known.input, assignment, loss.weights, loss.threshold_db
    )
    if loss.clustering_kind == "whitened":
        return whitened_kmeans(embedding, assignment, weights)
    return deep_clustering(embedding, assignment, weights, loss.clustering_kind)
