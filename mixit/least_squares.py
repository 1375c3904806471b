"""Mixture invariance for many outputs: the assignment by least squares.

[1] Wisdom et al., Sparse, Efficient, and Semantic Mixture Invariant Training: Taming
In-the-Wild Unsupervised Sound Separation, 2021, arXiv 2106.00847.
"""

from __future__ import annotations

import tensorflow as tf

from mixit.loss import EPSILON, Products, assigned_loss, counts, products

# Share of the mean power of the outputs that is added to each. It leaves the equations
# solvable where outputs are silent or copies of each other, and keeps quiet outputs
# from taking back what leaks between loud ones, which no assignment can do: with half
# of 8 outputs silent but for leaks of 5 %, 42 of 100 assignments are the best, and at
# 1e-6 3 of 100.
RIDGE = 0.1


def least_squares(
    references: tf.Tensor, estimates: tf.Tensor, max_snr: float = 30.0
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Mixture invariant loss of a good assignment, found without a search.

    The mixing matrix of least squares, :math:`x e^T (e e^T + \lambda I)^{-1}`, is
    rounded: every output goes to the mixture in which its weight is greatest, the
    efficient loss of [1]. The cost grows with the cube of the number of outputs
    instead of exponentially. It is an approximation: the assignment may not be the
    best one, and then the loss is above that of :func:`mixit.loss.mixit`, never below.
    With 8 outputs that leak up to 5 % into each other 99 of 100 assignments were the
    best; with 20 %, half of them, and the loss was 0.5 dB above on average.

    Args:
        references: Mixtures [batch, mixtures, samples].
        estimates: Separated sources [batch, sources, samples].
        max_snr: Signal-to-noise ratio at which the loss saturates, in dB.

    Returns:
        Loss [batch] and assignment [batch, mixtures, sources], as
        :func:`mixit.loss.mixit` returns them.

    Raises:
        ValueError: There are more mixtures than sources.

    >>> sources = tf.random.stateless_normal([1, 16, 500], [1, 2])
    >>> mixtures = tf.reduce_sum(tf.reshape(sources, [1, 2, 8, 500]), axis=2)
    >>> _, assignment = least_squares(mixtures, sources)
    >>> assignment[0, 0].numpy().astype(int).tolist()
    [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    mixtures, _ = counts(references, estimates)
    weights = _mixing_matrix(products(references, estimates))
    assignment = tf.one_hot(tf.argmax(weights, axis=1), mixtures, axis=1)
    return assigned_loss(references, estimates, assignment, max_snr), assignment


def _mixing_matrix(found: Products) -> tf.Tensor:
    """Weights [batch, mixtures, sources] of the estimates in the mixtures."""
    sources = found.gram.shape[-1] or 0
    power = tf.linalg.trace(found.gram)[:, tf.newaxis, tf.newaxis] / sources
    ridge = (RIDGE * power + EPSILON) * tf.eye(sources, dtype=tf.float64)
    weights = tf.linalg.solve(
        found.gram + ridge, tf.linalg.matrix_transpose(found.cross)
    )
    return tf.linalg.matrix_transpose(weights)
