"""Accumulate the gradients of a batch that does not fit into memory at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tensorflow as tf

Values = TypeVar("Values")
Gradients = Sequence[tf.Tensor | None]


def accumulate(
    gradients_of: Callable[[Mapping[str, tf.Tensor]], tuple[Gradients, Values]],
    batch: Mapping[str, tf.Tensor],
    parts: int,
) -> tuple[Gradients, Values]:
    """Compute the gradients of a batch in equal parts, and return their mean.

    The gradient of a mean over the batch is the mean of the gradients of its parts, but
    only the activations of one part are in memory.

    Args:
        gradients_of: Function from a batch to its gradients, None where a variable has
            none, and to values of each of its examples or their means.
        batch: Tensors whose first axis is the batch.
        parts: Number of parts, which divides the batch.

    Returns:
        The gradients, and the values of all examples or their means.

    >>> def mean(batch):
    ...     return [tf.reduce_mean(batch["x"]), None], batch["x"] ** 2
    >>> batch = {"x": tf.constant([1.0, 2.0, 6.0, 7.0])}
    >>> gradients, squares = accumulate(mean, batch, 2)
    >>> float(gradients[0]), squares.numpy().tolist()
    (4.0, [1.0, 4.0, 36.0, 49.0])
    """
    if parts == 1:
        return gradients_of(batch)
    if not tf.distribute.has_strategy():
        # Trace the function once, not for each part. With a strategy, replicas cannot
        # add up the moments of their batch normalisation in a nested graph.
        gradients_of = tf.function(gradients_of, autograph=False)
    sums, values = gradients_of(_part(batch, parts, 0))
    parts_of_values = [values]
    for number in range(1, parts):
        # Otherwise TensorFlow runs the parts in parallel, with the memory of all.
        with tf.control_dependencies([g for g in sums if g is not None]):
            part = tf.nest.map_structure(tf.identity, _part(batch, parts, number))
        gradients, values = gradients_of(part)
        sums = [_sum(*pair) for pair in zip(sums, gradients, strict=True)]
        parts_of_values.append(values)
    joined: Any = tf.nest.map_structure(_join, *parts_of_values)
    return [None if g is None else g / parts for g in sums], joined


def _sum(one: tf.Tensor | None, other: tf.Tensor | None) -> tf.Tensor | None:
    return one if other is None or one is None else one + other


def _join(*values: tf.Tensor) -> tf.Tensor:
    return (
        tf.concat(values, 0) if values[0].shape.rank else tf.add_n(values) / len(values)
    )


def _part(
    batch: Mapping[str, tf.Tensor], parts: int, number: int
) -> dict[str, tf.Tensor]:
    return {name: tf.split(rows, parts)[number] for name, rows in batch.items()}
