"""The head of a network: some numbers for every bin from what a stack gives a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras as keras

from clustering.losses.deep_clustering import unit_norm
from clustering.models.channels import Linear
from clustering.shapes import Activation

FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "softmax": tf.nn.softmax,
    "unit_norm": unit_norm,
    "l1_norm": lambda values: tf.math.divide_no_nan(
        values, tf.reduce_sum(abs(values), -1, keepdims=True)
    ),
}
"""What is done to the last axis, by name."""


class Embedding(keras.layers.Layer):
    """Linear map from a frame to a line of numbers for each of its bins.

    Args:
        inputs: Width of the input.
        bins: Bins of a spectrum.
        size: Numbers for each bin: dimensions of an embedding, or sources.
        activations: What is done to these numbers, in this order. ``"gated_tanh"``,
            tanh(A h) sigmoid(B h) with square matrices A and B, is done before the map.
        name: Name of the layer, which the names of its weights begin with.

    Raises:
        ValueError: An activation that does not exist.

    >>> head = Embedding(3, 5, 2, ["sigmoid"], name="head")
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
        _check(name, activations)
        self.bins, self.size = bins, size
        self.functions = [FUNCTIONS[a] for a in activations if a != "gated_tanh"]
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
        for function in self.functions:
            numbers = function(numbers)
        return numbers


def points(numbers: tf.Tensor) -> tf.Tensor:
    """Put the bins of all frames after one another.

    Args:
        numbers: Embedding of every bin [batch, frames, bins, dim].

    Returns:
        The same as [batch, frames * bins, dim].
    """
    batch, frames, bins, _ = tf.unstack(tf.shape(numbers))
    return tf.reshape(numbers, [batch, frames * bins, numbers.shape[-1]])


def sources_first(numbers: tf.Tensor) -> tf.Tensor:
    """Turn [batch, frames, bins, sources] into [batch, sources, frames, bins]."""
    return tf.transpose(numbers, [0, 3, 1, 2])


def _check(name: str, activations: Sequence[str]) -> None:
    known = [*FUNCTIONS, "gated_tanh"]
    for activation in activations:
        if activation not in known:
            raise ValueError(
                f"model.{name}_activation={activation!r}: expected some of "
                f"{', '.join(known)}"
            )
