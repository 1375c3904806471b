"""Batch normalisation with moments over the batches of all replicas.

[1] Ioffe, Szegedy: Batch Normalization, ICML 2015.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

EPSILON = 1e-5
MOMENTUM = 0.9


class BatchNormalisation(keras.layers.Layer):
    r"""Batch normalisation [1], over the rows of all replicas.

    .. math:: y = \gamma (x - \mu) / \sqrt{\sigma^2 + 10^{-5}} + \beta

    The moving average is of the unbiased variance, while training normalises by the
    biased one, as in PyTorch. The layer of Keras differs in this.

    Args:
        shape: ``(width,)`` for separate moments of each column, ``()`` for one feature
            with common moments.
        name: Name of the layer, which the names of its weights begin with.

    >>> norm = BatchNormalisation((2,), "norm")
    >>> norm(tf.constant([[0.0, 5.0], [2.0, 5.0]]), training=True).numpy().round(3)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.gamma = self.add_weight(f"{name}/gamma", shape, initializer="ones")
        self.beta = self.add_weight(f"{name}/beta", shape, initializer="zeros")
        self.moving_mean = _moving(self, f"{name}/moving_mean", shape, "zeros")
        self.moving_variance = _moving(self, f"{name}/moving_variance", shape, "ones")
        self.rank = len(shape)
        self.built = True

    def call(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalise [..., width], or features of any shape.

        Args:
            rows: Features to normalise.
            training: Whether to normalise by the moments of this step, and to update
                the moving averages.

        Returns:
            Of the same shape.
        """
        if not training:
            return self._normal(rows, self.moving_mean, self.moving_variance)
        axes = list(range(rows.shape.rank - self.rank))
        count = tf.reduce_prod(tf.shape(rows)[: len(axes)])
        number = _sum_of_replicas(tf.cast(count, rows.dtype))
        mean = _sum_of_replicas(tf.reduce_sum(rows, axes)) / number
        squares = tf.reduce_sum(tf.math.squared_difference(rows, mean), axes)
        squares = _sum_of_replicas(squares)
        self._remember(mean, squares / tf.maximum(number - 1.0, 1.0))
        return self._normal(rows, mean, squares / number)

    def _remember(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign_add((tf.stop_gradient(value) - moving) * (1.0 - MOMENTUM))

    def _normal(
        self, rows: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        gain = self.gamma * tf.math.rsqrt(variance + EPSILON)
        return rows * gain + (self.beta - mean * gain)


def _sum_of_replicas(value: tf.Tensor) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _moving(
    layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: str
) -> tf.Variable:
    """Make a moving average, which is equal on all replicas."""
    return layer.add_weight(
        name,
        shape,
        initializer=initializer,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
        experimental_autocast=False,
    )
