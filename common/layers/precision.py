"""Half precision for the matrix products of a network.

Micikevicius et al., Mixed Precision Training, ICLR 2018.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from common.training.schedule import Precision


class Product(keras.layers.Layer):
    """A layer whose matrix product has the precision set for its network.

    Attributes:
        product_dtype: Type of the factors; results and weights are float32.
        exact: Whether the factors stay float32 in a network of any precision.
    """

    product_dtype: Precision = "float32"
    exact = False

    def product(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Multiply the last axis [..., inputs] with a matrix [inputs, outputs]."""
        # One product of matrices; tf.matmul would compute one for each item.
        factors = (tf.cast(factor, self.product_dtype) for factor in (inputs, kernel))
        return tf.cast(tf.tensordot(*factors, 1), tf.float32)


def matmul(
    a: tf.Tensor,
    b: tf.Tensor,
    dtype: Precision,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> tf.Tensor:
    """Multiply matrices in a precision; the result is float32.

    >>> pair = tf.constant([[1.001]]), tf.constant([[1.0]])
    >>> [float(matmul(*pair, dtype)[0, 0]) for dtype in ("float32", "bfloat16")]
    [1.0010000467300415, 1.0]
    """
    a, b = tf.cast(a, dtype), tf.cast(b, dtype)
    return tf.cast(tf.matmul(a, b, transpose_a, transpose_b), tf.float32)


def set_precision(network: tf.Module, precision: Precision) -> None:
    """Set the precision of all products of a network but the exact ones.

    Only this network is affected; the global policy of Keras is neither read nor set.

    Args:
        network: The network, before its first graph is traced.
        precision: ``"float32"``, or ``"bfloat16"``, whose 8 bits of mantissa give
            relative errors of 0.4 % at most, at the range of float32.
    """
    for layer in network.submodules:
        if isinstance(layer, Product) and not layer.exact:
            layer.product_dtype = precision
