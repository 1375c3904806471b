"""The network on spectra: a recurrent stack with one or two heads.

With an embedding for every bin it is deep clustering [1], with a mask for every source
mask inference [2], with both heads chimera [3].

[1] Hershey, Chen, Le Roux, Watanabe: Deep clustering: discriminative embeddings for
    segmentation and separation, ICASSP 2016.
[2] Kolbæk, Yu, Tan, Jensen: Multitalker speech separation with utterance-level
    permutation invariant training of deep recurrent neural networks, IEEE/ACM
    Transactions on Audio, Speech, and Language Processing, 2017.
[3] Luo, Chen, Hershey, Le Roux, Mesgarani: Deep clustering and conventional networks
    for music separation: stronger together, ICASSP 2017.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.losses.deep_clustering import unit_norm
from clustering.models.layers import Linear, recurrent_stack
from clustering.models.shapes import Activation, Features, Level, Recurrent, Spectral
from common.layers.batch_norm import EPSILON, BatchNormalisation

HeadName = Literal["embedding", "mask"]

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "softmax": tf.nn.softmax,
    "unit_norm": unit_norm,
    "l1_norm": lambda values: tf.math.divide_no_nan(
        values, tf.reduce_sum(abs(values), -1, keepdims=True)
    ),
}
"""Functions of the last axis by name."""


class Outputs(NamedTuple):
    """Embedding [batch, points, dim], and masks [batch, sources, frames, bins].

    None for what a network does not have.
    """

    embedding: Any
    mask: Any


class SpectralNetwork(keras.Model):
    """Recurrent network from magnitudes to embeddings [1], masks [2] or both [3].

    Args:
        config: Its shape.
        heads: ``"embedding"``, ``"mask"`` or both.

    >>> magnitude = tf.ones([1, 3, 257])
    >>> SpectralNetwork(Spectral(), ["embedding"])(magnitude).shape
    TensorShape([1, 771, 20])
    >>> SpectralNetwork(Spectral(), ["mask"])(magnitude).shape
    TensorShape([1, 2, 3, 257])
    """

    def __init__(
        self, config: Spectral, heads: Sequence[HeadName] = ("embedding", "mask")
    ) -> None:
        super().__init__(name="spectral", dtype="float32")
        self.config, bins = config, config.features.bins
        self.stack = SpectralStack(config.features, config.recurrent)
        width = self.stack.width
        self.embedding = self.mask = None
        if "embedding" in heads:
            size, activations = config.embedding, config.embedding_activation
            self.embedding = Head(width, bins, size, activations, name="embedding")
        if "mask" in heads:
            size, activations = config.sources, config.mask_activation
            self.mask = Head(width, bins, size, activations, name="mask")
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor | Outputs:
        """Run the network; differentiable.

        Args:
            magnitude: Magnitude of the mixture [batch, frames, bins].
            training: Whether to drop outputs between recurrent layers, and to
                normalise by this batch, if that is configured.

        Returns:
            Embedding [batch, frames * bins, dim], or masks [batch, sources, frames,
            bins], or :class:`Outputs` with both heads.
        """
        return self._outputs(self.stack(magnitude, training))

    def infer(self, magnitude: tf.Tensor) -> tf.Tensor | Outputs:
        """Run the network by the fastest programs without a gradient."""
        return self._outputs(self.stack.infer(magnitude))

    def _outputs(self, rows: tf.Tensor) -> tf.Tensor | Outputs:
        outputs = []
        if self.embedding is not None:
            outputs.append(_points(self.embedding(rows)))
        if self.mask is not None:
            outputs.append(tf.transpose(self.mask(rows), [0, 3, 1, 2]))
        return outputs[0] if len(outputs) == 1 else Outputs(*outputs)


class SpectralStack(keras.layers.Layer):
    """Recurrent network from magnitudes to one vector for each frame.

    Args:
        features: Input features of the recurrent layers.
        recurrent: Shape of the recurrent layers.

    >>> stack = SpectralStack(Features(bins=5), Recurrent(hidden=3))
    >>> stack(tf.ones([2, 7, 5])).shape
    TensorShape([2, 7, 6])
    """

    def __init__(self, features: Features, recurrent: Recurrent) -> None:
        super().__init__(name="stack", dtype="float32")
        self.features = FeatureStage(features)
        self.recurrent = recurrent_stack(self.features.width, recurrent)
        self.width = self.recurrent.units * self.recurrent.directions
        self.built = True

    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Run on [batch, frames, bins]; differentiable."""
        return self.recurrent(self.features(magnitude, training), training)

    def infer(self, magnitude: tf.Tensor) -> tf.Tensor:
        """Run the network by the fastest programs without a gradient."""
        return self.recurrent.infer(self.features(magnitude))


class FeatureStage(keras.layers.Layer):
    """Level and normalisation of a spectrum.

    Args:
        config: Level, normalisation and mel filters.

    >>> FeatureStage(Features(bins=5))(tf.ones([2, 7, 5])).shape
    TensorShape([2, 7, 5])
    """

    def __init__(self, config: Features) -> None:
        super().__init__(name="features", dtype="float32")
        self.config = config
        self.filters = None
        if config.mels:
            self.filters = mel_filters(config.bins, config.mels, config.mel_rate)
        self.width = config.mels or config.bins
        self.norm = None
        if config.norm == "batch":
            self.norm = BatchNormalisation((), "features/norm")
        self.built = True

    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Turn magnitudes [batch, frames, bins] into [batch, frames, width]."""
        if self.filters is not None:
            magnitude = tf.tensordot(magnitude, tf.constant(self.filters), 1)
        features = level(magnitude, self.config.level)
        if self.norm is not None:
            return self.norm(features, training)
        if self.config.norm == "none":
            return features
        mean, variance = tf.nn.moments(features, [1, 2], keepdims=True)
        return (features - mean) * tf.math.rsqrt(variance + EPSILON)


class Head(keras.layers.Layer):
    """Linear map from the vector of a frame to some numbers for each of its bins.

    Args:
        inputs: Width of the input.
        bins: Bins of a spectrum.
        size: Numbers for each bin: dimensions of an embedding, or sources.
        activations: Activations of these numbers, in this order. ``"gated_tanh"``,
            tanh(A h) sigmoid(B h) with square matrices A and B, comes before the map.
        name: Name of the layer, which the names of its weights begin with.

    >>> head = Head(3, 5, 2, ["sigmoid"], name="head")
    >>> head(tf.zeros([4, 7, 3])).shape
    TensorShape([4, 7, 5, 2])
    """

    def __init__(
        self,
        inputs: int,
        bins: int,
        size: int,
        activations: Sequence[Activation],
        *,
        name: str,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.bins, self.size = bins, size
        self.names = tuple(a for a in activations if a != "gated_tanh")
        self.value = self.gate = None
        if "gated_tanh" in activations:
            self.value = Linear(inputs, inputs, name=f"{name}/value")
            self.gate = Linear(inputs, inputs, name=f"{name}/gate")
        self.linear = Linear(inputs, bins * size, xavier=True, name=f"{name}/linear")
        self.built = True

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Map [batch, frames, inputs] to [batch, frames, bins, size]."""
        if self.value is not None and self.gate is not None:
            rows = tf.tanh(self.value(rows)) * tf.sigmoid(self.gate(rows))
        batch, frames, _ = tf.unstack(tf.shape(rows))
        numbers = tf.reshape(self.linear(rows), [batch, frames, self.bins, self.size])
        for name in self.names:
            numbers = ACTIVATIONS[name](numbers)
        return numbers


def magnitude(spectrum: tf.Tensor, power_floor: float = 0.0) -> tf.Tensor:
    """Compute sqrt(|X|^2 + floor), the input of a network.

    Args:
        spectrum: Spectrum of any shape, complex64.
        power_floor: The floor, as in :class:`clustering.config.ClusteringConfig`.

    Returns:
        float32 of the same shape.

    >>> magnitude(tf.constant([3.0 + 4.0j, 0.0]), 1e-2).numpy().round(2).tolist()
    [5.0, 0.1]
    """
    plain = tf.abs(spectrum)
    return tf.sqrt(plain**2 + power_floor) if power_floor else plain


def level(magnitude: tf.Tensor, scale: Level) -> tf.Tensor:
    """Convert magnitudes to a logarithmic scale.

    Args:
        magnitude: Magnitudes of any shape, an item its last two axes.
        scale: ``"decibels"``: 10 log10(max(magnitude^2, 1e-8)), as nussl 1.x does;
            ``"librosa"``: 20 log10(max(magnitude, 1e-5)), no less than 80 dB below the
            item's loudest point, as nussl did before; ``"log"``: ln(magnitude + 1e-8),
            as asteroid does with the magnitudes of its front end.

    Returns:
        Levels of the same shape.

    >>> level(tf.constant([1.0, 0.1, 0.0]), "decibels").numpy().round(3).tolist()
    [0.0, -20.0, -80.0]
    >>> level(tf.constant([[1.0, 0.0]]), "librosa").numpy().tolist()
    [[0.0, -80.0]]
    """
    if scale == "log":
        return tf.math.log(magnitude + 1e-8)
    decade = tf.math.log(tf.constant(10.0))
    if scale == "librosa":
        decibels = 20.0 / decade * tf.math.log(tf.maximum(magnitude, 1e-5))
        loudest = tf.reduce_max(decibels, [-2, -1], keepdims=True)
        return tf.maximum(decibels, loudest - 80.0)
    return 10.0 / decade * tf.math.log(tf.maximum(magnitude**2, 1e-8))


def mel_filters(bins: int, mels: int, sample_rate: int) -> np.ndarray:
    """Make overlapping triangular filters on the mel scale, each of sum 1.

    Args:
        bins: Bins of a spectrum, from 0 Hz to half the rate.
        mels: Number of filters.
        sample_rate: Rate of the waveforms in Hz.

    Returns:
        float32 [bins, mels].

    Raises:
        ValueError: A filter is narrower than the distance of the bins and contains
            none.

    >>> float(mel_filters(257, 40, 16000).sum(axis=0).round(3).min())
    1.0
    """
    import librosa

    with warnings.catch_warnings():
        # Its warning is an error below.
        warnings.simplefilter("ignore", UserWarning)
        filters = librosa.filters.mel(
            sr=sample_rate, n_fft=2 * (bins - 1), n_mels=mels
        ).T
    total = filters.sum(axis=0)
    if not total.all():
        raise ValueError(
            f"features.mels={mels}: {np.sum(total == 0)} of these filters contain no "
            f"bin; expected fewer for {bins} bins"
        )
    return np.asarray(filters / total, np.float32)


def _points(numbers: tf.Tensor) -> tf.Tensor:
    """[batch, frames, bins, dim] -> [batch, frames * bins, dim]."""
    batch, frames, bins, _ = tf.unstack(tf.shape(numbers))
    return tf.reshape(numbers, [batch, frames * bins, numbers.shape[-1]])
