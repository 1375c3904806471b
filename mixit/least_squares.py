"""Mixture invariance for many outputs: the assignment by least squares.

[1] Wisdom et al., Sparse, Efficient, and Semantic Mixture Invariant Training, 2021,
arXiv 2106.00847.
"""

from __future__ import annotations

import tensorflow as tf

from mixit.loss import EPSILON, assigned_loss

# Share of the mean power of the outputs that is added to each, so that outputs that
# are silent or copies of each other leave the equations solvable.
RIDGE = 1e-6


def least_squares(
    references: tf.Tensor, estimates: tf.Tensor, max_snr: float = 30.0
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Mixture invariant loss of a good assignment, found without a search.

    The mixing matrix of least squares, :math:`x e^T (e e^T)^{-1}`, is rounded: every
    output goes to the mixture in which its weight is greatest, section 2.1 of [1]. The
    cost grows with the cube of the number of outputs instead of exponentially. The
    assignment may not be the best one, so the loss is never below that of the search.

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
    mixtures, sources = references.shape[1] or 0, estimates.shape[1] or 0
    if mixtures > sources:
        raise ValueError(
            f"{mixtures} mixtures cannot be made of {sources} estimates; give at least "
            "as many estimates as mixtures"
        )
    weights = _mixing_matrix(tf.stop_gradient(references), tf.stop_gradient(estimates))
    chosen = tf.argmax(weights, axis=1)  # [batch, sources]
    assignment = tf.one_hot(chosen, mixtures, axis=1)
    return assigned_loss(references, estimates, assignment, max_snr), assignment


def _mixing_matrix(references: tf.Tensor, estimates: tf.Tensor) -> tf.Tensor:
    """Weights [batch, mixtures, sources] of the estimates in the mixtures."""
    gram = tf.cast(tf.matmul(estimates, estimates, transpose_b=True), tf.float64)
    cross = tf.cast(tf.matmul(references, estimates, transpose_b=True), tf.float64)
    sources = gram.shape[-1] or 0
    power = tf.linalg.trace(gram)[:, tf.newaxis, tf.newaxis] / sources
    ridge = (RIDGE * power + EPSILON) * tf.eye(sources, dtype=tf.float64)
    return tf.linalg.matrix_transpose(
        tf.linalg.solve(gram + ridge, tf.linalg.matrix_transpose(cross))
    )
