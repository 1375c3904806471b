"""From magnitudes to what a recurrent stack sees."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.shapes import Features, Level
from common.layers.batch_norm import EPSILON, BatchNormalisation


def level(magnitude: tf.Tensor, kind: Level) -> tf.Tensor:
    """Put magnitudes on a scale near that of hearing.

    Args:
        magnitude: Magnitudes of any shape, an item its last two axes.
        kind: ``"decibels"``: 10 log10(max(magnitude^2, 1e-8)), as nussl 1.x does;
            ``"librosa"``: 20 log10(max(magnitude, 1e-5)), no less than 80 dB below the
            item's loudest point, as nussl did before; ``"log"``: ln(magnitude + 1e-8),
            as asteroid does.

    >>> level(tf.constant([1.0, 0.1, 0.0]), "decibels").numpy().round(3).tolist()
    [0.0, -20.0, -80.0]
    >>> level(tf.constant([[1.0, 0.0]]), "librosa").numpy().tolist()
    [[0.0, -80.0]]
    """
    if kind == "log":
        return tf.math.log(magnitude + 1e-8)
    decade = tf.math.log(tf.constant(10.0))
    if kind == "librosa":
        decibels = 20.0 / decade * tf.math.log(tf.maximum(magnitude, 1e-5))
        loudest = tf.reduce_max(decibels, [-2, -1], keepdims=True)
        return tf.maximum(decibels, loudest - 80.0)
    return 10.0 / decade * tf.math.log(tf.maximum(magnitude**2, 1e-8))


def mel_filters(bins: int, mels: int, sample_rate: int) -> np.ndarray:
    """Make overlapping triangles on the scale of mel, each of sum 1.

    Args:
        bins: Bins of a spectrum, from 0 Hz to half the rate.
        mels: Number of filters.
        sample_rate: Rate of the waveforms in Hz.

    Returns:
        float32 [bins, mels].

    Raises:
        ValueError: A filter is narrower than the bins lie, so that it hears nothing.

    >>> float(mel_filters(257, 40, 16000).sum(axis=0).round(3).min())
    1.0
    """
    import librosa

    with warnings.catch_warnings():
        # It warns of what is an error below.
        warnings.simplefilter("ignore", UserWarning)
        filters = librosa.filters.mel(
            sr=sample_rate, n_fft=2 * (bins - 1), n_mels=mels
        ).T
    total = filters.sum(axis=0)
    if not total.all():
        raise ValueError(
            f"features.mels={mels}: {np.sum(total == 0)} of these filters hold no bin; "
            f"expected fewer for {bins} bins"
        )
    return np.asarray(filters / total, np.float32)


class FeatureStage(keras.layers.Layer):
    """Level and normalisation of a spectrum.

    Args:
        config: What is done.
        name: Name of the layer.

    >>> FeatureStage(Features(bins=5))(tf.ones([2, 7, 5])).shape
    TensorShape([2, 7, 5])
    """

    def __init__(self, config: Features, name: str = "features") -> None:
        super().__init__(name=name, dtype="float32")
        self.config = config
        self.filters = None
        if config.mels:
            self.filters = mel_filters(config.bins, config.mels, config.mel_rate)
        self.width = config.mels or config.bins
        self.norm = None
        if config.norm == "batch":
            self.norm = BatchNormalisation((), f"{name}/norm")
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
