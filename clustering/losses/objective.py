"""The loss of each network, from its outputs and a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import tensorflow as tf
import tf_keras as keras

from clustering import extension
from clustering.config import ON_SPECTRA, ClusteringConfig
from clustering.losses import targets
from clustering.losses.deep_clustering import (
    Normalization,
    deep_clustering,
    whitened_kmeans,
)
from clustering.losses.permutation_invariant import RATIOS, InferenceLoss, pit
from clustering.models.network import named_outputs
from clustering.models.spectral import magnitude
from common.config import ConfigError
from common.signal.stft import istft, stft

TRIAL_BATCH = 3
"""Examples of a trial of the user's code; sources are seldom as many."""


class Batch(NamedTuple):
    """Inputs of the network and its loss for a batch.

    Attributes:
        input: Input of the network: magnitudes [batch, frames, bins], or waveforms
            [batch, samples].
        targets: Targets of the estimates: magnitudes [batch, sources, frames, bins],
            or waveforms [batch, sources, samples].
        magnitudes: Of the sources [batch, sources, frames, bins], to find the loudest
            source of each bin; none for waveforms.
        spectrum: Of the mixture, complex64 [batch, frames, bins]; none for waveforms.
        sources: Waveforms [batch, sources, samples].
    """

    input: tf.Tensor
    targets: tf.Tensor
    magnitudes: tf.Tensor | None
    spectrum: tf.Tensor | None
    sources: tf.Tensor


def terms(config: ClusteringConfig) -> tuple[str, ...]:
    """List the terms whose weighted sum is the loss of a configuration.

    >>> from clustering.presets import NETWORKS
    >>> terms(NETWORKS["dpcl"]), terms(NETWORKS["chimera"])
    (('clustering',), ('clustering', 'inference'))
    """
    both = "clustering", "inference"
    return {"dpcl": both[:1], "chimera": both}.get(config.role, both[1:])


def prepare(config: ClusteringConfig, batch: Mapping[str, tf.Tensor]) -> Batch:
    """Transform a batch to the input and the targets of the network.

    Args:
        config: Configuration with the transform and the target.
        batch: ``mixture`` [batch, samples] and ``sources`` [batch, sources, samples].

    >>> from clustering.presets import NETWORKS
    >>> batch = {"mixture": tf.zeros([1, 1024]), "sources": tf.zeros([1, 2, 1024])}
    >>> prepare(NETWORKS["mask_inference"], batch).input.shape[-1]
    257
    >>> prepare(NETWORKS["tasnet"], batch).input.shape[-1]
    1024
    """
    mixture, sources = batch["mixture"], batch["sources"]
    if config.role not in ON_SPECTRA:
        return Batch(mixture, sources, None, None, sources)
    spectrum, spectra = stft(mixture, config.stft), stft(sources, config.stft)
    floor = config.power_floor
    plain, magnitudes = magnitude(spectrum, floor), magnitude(spectra, floor)
    functions = {
        "msa": lambda: targets.msa(spectra),
        "irm": lambda: targets.irm(magnitudes, plain),
        "psa": lambda: targets.psa(spectra, spectrum),
        "psa_untruncated": lambda: targets.psa(spectra, spectrum, truncated=False),
    }
    target = functions[config.loss.target]()
    return Batch(plain, target, magnitudes, spectrum, sources)


def losses(
    config: ClusteringConfig, batch: Batch, outputs: Any
) -> dict[str, tf.Tensor]:
    """Compute the terms whose weight is not 0, and their weighted sum.

    Args:
        config: Configuration with the network, the losses and their weights.
        batch: From :func:`prepare`.
        outputs: Outputs of the network; of a chimera with ``embedding`` and ``mask``.

    Returns:
        ``loss`` and each of :func:`terms` with a weight, float32 [batch].

    >>> from clustering.presets import NETWORKS
    >>> sources = tf.constant([[[3.0, 1.0, 2.0], [1.0, 2.0, 0.0]]])
    >>> mixture = tf.reduce_sum(sources, 1)
    >>> batch = prepare(NETWORKS["tasnet"], {"mixture": mixture, "sources": sources})
    >>> values = losses(NETWORKS["tasnet"], batch, batch.targets)
    >>> sorted(values), bool(values["loss"] < -60.0)
    (['inference', 'loss'], True)
    """
    weights = check_weights(config)
    embedding, estimates = named_outputs(config.role, outputs)
    values = {}
    if weights.get("clustering"):
        values["clustering"] = _clustering(config, batch, embedding)
    if weights.get("inference"):
        values["inference"] = _inference(config, batch, estimates)
    total = tf.add_n([weights[name] * value for name, value in values.items()])
    return {"loss": total, **values}


def check_own(config: ClusteringConfig, net: keras.Model, sources: int) -> None:
    """Try a network and losses of the user, without computing anything.

    A wrong shape would be broadcast and trained without an error.

    Args:
        config: Configuration with the network and the losses.
        net: The network.
        sources: Number of sources of the corpus.

    Raises:
        ConfigError: The code fails, or a result has another shape than expected.

    >>> from clustering.presets import NETWORKS
    >>> check_own(NETWORKS["tasnet"], keras.Model(), 2)  # nothing is the user's
    """
    paths = config.kind, config.loss.clustering_kind, config.loss.inference_kind
    if not any(map(extension.is_path, paths)):
        return

    def trial(mixture: tf.Tensor, parts: tf.Tensor) -> None:
        batch = prepare(config, {"mixture": mixture, "sources": parts})
        for training in (True, False):
            with extension.located("kind", config.kind):
                outputs = net(batch.input, training=training)
            if extension.is_path(config.kind):
                _check_outputs(config, batch, outputs)
            losses(config, batch, outputs)

    def on_replicas(*batch: tf.Tensor) -> None:
        tf.distribute.get_strategy().run(trial, batch)

    samples = config.segment_samples
    shapes = [TRIAL_BATCH, samples], [TRIAL_BATCH, sources, samples]
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    tf.function(on_replicas, autograph=False).get_concrete_function(*specs)


def check_weights(config: ClusteringConfig) -> dict[str, float]:
    """Return the weight of each of :func:`terms`.

    Raises:
        ConfigError: No term has a weight, or one has a negative weight.

    >>> from clustering.presets import NETWORKS
    >>> check_weights(NETWORKS["chimera"])
    {'clustering': 1.0, 'inference': 100.0}
    """
    weights = {name: getattr(config.loss, name) for name in terms(config)}
    if min(weights.values()) < 0 or not any(weights.values()):
        listed = ", ".join(f"loss.{name}={weights[name]:g}" for name in weights)
        raise ConfigError(
            f"{listed}: expected no weight below 0, and one above for {config.role}"
        )
    return weights


def _clustering(
    config: ClusteringConfig, batch: Batch, embedding: tf.Tensor
) -> tf.Tensor:
    loss = config.loss
    assignment = targets.ideal_binary(cast(tf.Tensor, batch.magnitudes))
    weights = targets.point_weights(
        batch.input, assignment, loss.weights, loss.threshold_db
    )
    name = loss.clustering_kind
    if extension.is_path(name):
        return _custom("loss.clustering_kind", name, embedding, assignment, weights)
    if name == "whitened":
        return whitened_kmeans(embedding, assignment, weights)
    return deep_clustering(embedding, assignment, weights, cast(Normalization, name))


def _inference(config: ClusteringConfig, batch: Batch, outputs: tf.Tensor) -> tf.Tensor:
    """Compare masked magnitudes or waveforms with their targets."""
    name, estimates, target = config.loss.inference_kind, outputs, batch.targets
    if batch.spectrum is not None and name in RATIOS:
        # The gradient of a cast to complex would warn of the imaginary part.
        mask = tf.complex(outputs, tf.zeros_like(outputs))
        masked = mask * batch.spectrum[:, tf.newaxis]
        target = batch.sources
        estimates = istft(masked, config.stft, tf.shape(target)[-1])
    elif batch.spectrum is not None:
        estimates = outputs * batch.input[:, tf.newaxis]
    if extension.is_path(name):
        return _custom("loss.inference_kind", name, estimates, target)
    return pit(estimates, target, cast(InferenceLoss, name))


def _custom(key: str, path: str, *arguments: tf.Tensor) -> tf.Tensor:
    """Compute a loss of the user [batch]."""
    function = extension.function(key, path)
    with extension.located(key, path):
        values = function(*arguments)
    extension.expect_shape(key, path, "loss", values, {"batch": arguments[0].shape[0]})
    return values


def _check_outputs(config: ClusteringConfig, batch: Batch, outputs: Any) -> None:
    """Check the outputs of a network of the user."""
    if config.role == "chimera" and not hasattr(outputs, "mask"):
        raise ConfigError(
            f"kind={config.kind!r} returns {type(outputs).__name__}; expected "
            "clustering.models.spectral.Outputs(embedding, mask)"
        )
    embedding, estimates = named_outputs(config.role, outputs)
    expected = batch.targets.shape.as_list()
    expected[1] = None  # the best of more estimates than sources count
    weights = check_weights(config)
    if weights.get("clustering"):
        points = batch.input.shape[1:].num_elements()
        axes = {"batch": expected[0], "points": points, "dimensions": None}
        extension.expect_shape("kind", config.kind, "embedding", embedding, axes)
    if weights.get("inference"):
        inner = ("frames", "bins") if config.role in ON_SPECTRA else ("samples",)
        axes = dict(zip(("batch", "sources", *inner), expected, strict=True))
        extension.expect_shape("kind", config.kind, "estimate", estimates, axes)
