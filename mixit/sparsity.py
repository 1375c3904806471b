"""Penalties on spreading a sound over many outputs.

[1] Wisdom et al., Sparse, Efficient, and Semantic Mixture Invariant Training: Taming
In-the-Wild Unsupervised Sound Separation, 2021, arXiv 2106.00847.
"""

from __future__ import annotations

import tensorflow as tf

# Outputs 80 dB below the mixture are silent; keeps the gradient of the root finite.
SILENT_SHARE = 1e-8
# Sounds below -120 dB are silence, in which nothing is shared.
LEAST_POWER = 1e-12


def sparsity(estimates: tf.Tensor, mixture: tf.Tensor, kind: str) -> tf.Tensor:
    r"""Penalise outputs that share a sound, the sparsity and covariance losses of [1].

    With the root mean squares r of the S outputs, ``l1_l2`` is

    .. math:: \frac 1 S \|r\|_1 / \|r\|_2,

    from 1/S for a single output to 1/sqrt(S) for equal ones. ``covariance`` is

    .. math:: \sum_{s \ne t} |\langle e_s, e_t \rangle| / \|x\|^2

    with the mixture x: outputs that share one sound go up and down together. Neither
    depends on the level.

    The text of [1] was not at hand. That ``l1_l2`` is a ratio of norms of r with the
    mean as the first follows two public implementations (one by colleagues of the
    authors divides by the level of the mixture instead, which is the same for outputs
    without correlation). Of the covariance loss only the idea is known; its form here,
    absolute values over the energy of the mixture, is our own, so published weights
    for it cannot be taken over.

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
    0.5
    """
    kinds = {"l1_l2": _ratio, "covariance": _covariance}
    if kind not in kinds:
        raise ValueError(f"sparsity is {kind!r}; expected 'l1_l2' or 'covariance'")
    return kinds[kind](estimates, mixture)


def _ratio(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    level = tf.reduce_mean(tf.square(mixture), axis=-1, keepdims=True)
    power = tf.reduce_mean(tf.square(estimates), axis=-1)
    power += SILENT_SHARE * level + LEAST_POWER
    return tf.reduce_mean(tf.sqrt(power), axis=-1) / tf.sqrt(
        tf.reduce_sum(power, axis=-1)
    )


def _covariance(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    products = tf.abs(tf.matmul(estimates, estimates, transpose_b=True))
    shared = tf.reduce_sum(products, axis=[1, 2]) - tf.linalg.trace(products)
    energy = tf.reduce_sum(tf.square(mixture), axis=-1)
    least = LEAST_POWER * tf.cast(tf.shape(mixture)[-1], energy.dtype)
    return shared / (energy + least)
