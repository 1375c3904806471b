"""Masks of learned filters: from a line of numbers a frame to one mask a source."""

from __future__ import annotations

import tensorflow as tf

from clustering.shapes import MaskActivation


def masks(rows: tf.Tensor, sources: int, activation: MaskActivation) -> tf.Tensor:
    """Part rows into the sources' masks.

    Args:
        rows: A line a frame [batch, frames, sources * filters], source after source.
        sources: Number of sources.
        activation: ``"softmax"`` is over the sources.

    Returns:
        Masks [batch, sources, frames, filters].

    >>> masks(tf.zeros([1, 5, 6]), 2, "sigmoid").shape
    TensorShape([1, 2, 5, 3])
    """
    batch, frames, width = tf.unstack(tf.shape(rows))
    parted = tf.reshape(rows, [batch, frames, sources, width // sources])
    parted = tf.transpose(parted, [0, 2, 1, 3])
    if activation == "softmax":
        return tf.nn.softmax(parted, axis=1)
    if activation == "sigmoid":
        return tf.sigmoid(parted)
    return tf.nn.relu(parted) if activation == "relu" else parted
