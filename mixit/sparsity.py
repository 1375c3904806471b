"""Penalties on spreading a sound over many outputs.

[1] Wisdom et al., Sparse, Efficient, and Semantic Mixture Invariant Training, 2021,
arXiv 2106.00847.
"""

from __future__ import annotations

import tensorflow as tf

# Keeps the gradient of the root finite for outputs that are silent.
SILENT_POWER = 1e-8


def sparsity(estimates: tf.Tensor, mixture: tf.Tensor, kind: str) -> tf.Tensor:
    r"""Penalise outputs that share a sound, section 2.2 of [1].

    With the root mean square r_s of every output, ``l1_l2`` is

    .. math:: \|r\|_1 / \|r\|_2,

    from 1 for a single output to the root of their number. ``covariance`` is

    .. math:: \sum_{s \ne t} |\langle e_s, e_t \rangle| / \|x\|^2

    with the mixture x: outputs that share one sound go up and down together. Both do
    not depend on the level.

    Args:
        estimates: Outputs [batch, sources, samples].
        mixture: Mixtures [batch, samples].
        kind: ``l1_l2`` or ``covariance``.

    Returns:
        Penalty [batch], not negative.

    Raises:
        ValueError: The kind is another one.

    >>> equal = tf.ones([1, 4, 10])
    >>> round(float(sparsity(equal, tf.ones([1, 10]), "l1_l2")[0]), 3)
    2.0
    """
    if kind == "l1_l2":
        return _ratio(estimates)
    if kind == "covariance":
        return _covariance(estimates, mixture)
    raise ValueError(f"sparsity is {kind!r}; expected 'l1_l2' or 'covariance'")


def _ratio(estimates: tf.Tensor) -> tf.Tensor:
    power = tf.reduce_mean(tf.square(estimates), axis=-1) + SILENT_POWER
    return tf.reduce_sum(tf.sqrt(power), axis=-1) / tf.sqrt(
        tf.reduce_sum(power, axis=-1)
    )


def _covariance(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    products = tf.abs(tf.matmul(estimates, estimates, transpose_b=True))
    shared = tf.reduce_sum(products, axis=[1, 2]) - tf.linalg.trace(products)
    energy = tf.reduce_sum(tf.square(mixture), axis=-1)
    samples = tf.cast(tf.shape(mixture)[-1], tf.float32)
    return shared / (energy + SILENT_POWER * samples)
