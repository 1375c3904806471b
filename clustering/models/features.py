"""From magnitudes to what a recurrent stack sees.

[1] Ioffe, Szegedy: Batch Normalization, ICML 2015.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras as keras

from clustering.shapes import Features, Level

EPSILON = 1e-5
MOMENTUM = 0.9


def level(magnitude: tf.Tensor, kind: Level) -> tf.Tensor:
    """Put magnitudes on a scale near that of hearing.

    Args:
        magnitude: Magnitudes of any shape.
        kind: ``"decibels"``: 10 log10(max(magnitude^2, 1e-8)), as nussl does;
            ``"log"``: ln(magnitude + 1e-8), as asteroid does.

    >>> level(tf.constant([1.0, 0.1, 0.0]), "decibels").numpy().tolist()
    [0.0, -20.0, -80.0]
    """
    if kind == "log":
        return tf.math.log(magnitude + 1e-8)
    decade = tf.math.log(tf.constant(10.0))
    return 10.0 / decade * tf.math.log(tf.maximum(magnitude**2, 1e-8))


class FeatureStage(keras.layers.Layer):
    """Level and normalisation of a spectrum.

    Args:
        config: What is done.
        name: Name of the layer.

    >>> FeatureStage(Features(bins=5))(tf.ones([2, 7, 5])).shape
    TensorShape([2, 7, 5])
    """

    def __init__(self, config: Features, name: str = "features") -> None:
        super().__init__(name=name)
        self.config = config
        self.norm = None
        if config.norm == "batch":
            self.norm = BatchNormalisation(f"{name}/norm")
        self.built = True

    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Turn magnitudes [batch, frames, bins] into features of that shape."""
        features = level(magnitude, self.config.level)
        if self.norm is not None:
            return self.norm(features, training)
        if self.config.norm == "none":
            return features
        mean, variance = tf.nn.moments(features, [1, 2], keepdims=True)
        return (features - mean) * tf.math.rsqrt(variance + EPSILON)


class BatchNormalisation(keras.layers.Layer):
    """Batch normalisation [1] of everything as one feature, over all replicas.

    What it remembers is the unbiased variance, while it normalises by the biased one:
    so does PyTorch, and the layer of Keras does not.

    Args:
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.gamma = self.add_weight(f"{name}/gamma", (), initializer="ones")
        self.beta = self.add_weight(f"{name}/beta", (), initializer="zeros")
        self.moving_mean = _moving(self, f"{name}/moving_mean", "zeros")
        self.moving_variance = _moving(self, f"{name}/moving_variance", "ones")
        self.built = True

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalise features of any shape."""
        if not training:
            return self._normal(features, self.moving_mean, self.moving_variance)
        number = _sum_of_replicas(tf.cast(tf.size(features), features.dtype))
        mean = _sum_of_replicas(tf.reduce_sum(features)) / number
        squares = tf.reduce_sum(tf.math.squared_difference(features, mean))
        squares = _sum_of_replicas(squares)
        self._remember(mean, squares / tf.maximum(number - 1.0, 1.0))
        return self._normal(features, mean, squares / number)

    def _remember(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign_add((tf.stop_gradient(value) - moving) * (1.0 - MOMENTUM))

    def _normal(
        self, features: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        gain = self.gamma * tf.math.rsqrt(variance + EPSILON)
        return (features - mean) * gain + self.beta


def _sum_of_replicas(value: tf.Tensor) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _moving(layer: Any, name: str, initializer: str) -> tf.Variable:
    """Make a moment that every replica keeps, all of them the same."""
    return layer.add_weight(
        name,
        (),
        initializer=initializer,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
        experimental_autocast=False,
    )
