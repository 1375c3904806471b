"""Losses of embeddings: deep clustering and whitened k-means.

Both are small if points of one source are close and those of others far apart.

[1] Hershey, Chen, Le Roux and Watanabe, Deep clustering: discriminative embeddings for
segmentation and separation, ICASSP 2016.
[2] Wang, Le Roux and Hershey, Alternative objective functions for deep clustering,
ICASSP 2018.

The affinities of points are never computed. With the embedding V, the assignment Y and
the diagonal matrix W of the weights, only the small V'WV, V'WY and Y'WY are needed. All
is computed in float32, even if the network runs in half precision, because large sums
cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import tensorflow as tf

Normalization = Literal["classic", "batch", "active"]
"""Divisors of the loss, see :func:`deep_clustering`."""

# Added to divisors, so that an example without weight has a loss of 0.
EPSILON = 1e-8
# Energy of an embedding that has no direction: a norm of 1e-12, as in nussl.
NO_ENERGY = 1e-24


def unit_norm(embedding: tf.Tensor) -> tf.Tensor:
    """Scale every embedding to a length of 1.

    ``v / |v|``, and 0 for 0. The gradient there is 0 as well. nussl multiplies it by
    1e12, so that one such point dominates the norm of the gradient of all weights.

    Args:
        embedding: float32 [..., dim].

    Returns:
        float32 [..., dim].

    >>> unit_norm([[0.0, 4.0], [0.0, 0.0]]).numpy().tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    embedding = tf.convert_to_tensor(embedding)
    energy = tf.reduce_sum(tf.square(embedding), -1, keepdims=True)
    directed = energy > tf.cast(NO_ENERGY, energy.dtype)
    # The inner tf.where keeps the gradient of the outer one from being 0 * infinity.
    scale = tf.math.rsqrt(tf.where(directed, energy, tf.ones_like(energy)))
    return embedding * tf.where(directed, scale, tf.zeros_like(scale))


def deep_clustering(
    embedding: tf.Tensor,
    assignment: tf.Tensor,
    weights: tf.Tensor,
    normalization: Normalization = "classic",
) -> tf.Tensor:
    r"""Compare affinities of embeddings with those of the true sources, [1] eq. (1).

    .. math:: \frac{|W^{1/2} (V V^T - Y Y^T) W^{1/2}|_F^2}{n} =
        \frac{|V^T W V|_F^2 - 2 |V^T W Y|_F^2 + |Y^T W Y|_F^2}{n}

    where n, with w the sum of the weights of an example, is ``"classic"``: w^2, so that
    examples have equal weights (nussl 1.x). The range is 0 to about 1 for embeddings
    that are not negative, 0 to 2 for others. ``"batch"``: the mean of w^2 over the
    batch, so that the mean of the losses is the ratio of the sums (nussl before 1.0).
    Each replica takes the mean of its part. ``"active"``: w, the number of active
    points if weights are 0 or 1 (asteroid). It grows with the number of points.

    Near 0 rounding can give values down to -1e-6, so do not take a logarithm.

    Args:
        embedding: float32 [batch, points, dim], usually of unit norm. The losses of
            nussl 1.x normalise it; here use :func:`unit_norm`, or the activation
            ``"unit_norm"`` of a network.
        assignment: float32 [batch, points, sources], one-hot, or 0 for no source.
        weights: float32 [batch, points], not negative; their square roots multiply
            the rows of embedding and assignment. nussl stores these roots as its
            ``weights``; square them for this function.
        normalization: ``"classic"``, ``"batch"`` or ``"active"``.

    Returns:
        float32 [batch]; 0 with a gradient of 0 for an example without weight.

    Raises:
        ValueError: The normalization is not one of these, or shapes do not fit.

    >>> apart = tf.eye(2)[tf.newaxis]
    >>> deep_clustering(apart, apart, tf.ones([1, 2])).numpy().tolist()
    [0.0]
    >>> deep_clustering(tf.ones([1, 2, 1]), apart, tf.ones([1, 2])).numpy().tolist()
    [0.5]
    """
    if normalization not in get_args(Normalization):
        raise ValueError(
            f"normalization of deep clustering is {normalization!r}; expected one of "
            f"{', '.join(get_args(Normalization))}"
        )
    own, cross, ideal = _grams(embedding, assignment, weights)
    distance = _energy(own) - 2.0 * _energy(cross) + _energy(ideal)
    total = tf.reduce_sum(tf.cast(weights, tf.float32), -1)
    if normalization == "active":
        return distance / (total + EPSILON)
    squared = tf.square(total)
    if normalization == "batch":
        squared = tf.reduce_mean(squared)
    return distance / (squared + EPSILON)


def whitened_kmeans(
    embedding: tf.Tensor, assignment: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    r"""Compare the subspaces of embeddings and assignments, [2] section 3.

    .. math:: D + S - 2 \operatorname{tr}((V^T W V + I)^{-1} V^T W Y
        (Y^T W Y + I)^{-1} Y^T W V)

    for D dimensions and S sources, as in nussl: the squared distance of the two
    projections, from D - S for embeddings that separate the sources exactly to D + S.
    [2] has D - tr(...), from D - S to D, with half the gradient. I is added so that
    unused dimensions and silent sources have an inverse. The solution is by Cholesky
    factors; nussl computes an inverse, which loses two to three digits of float32.

    Args:
        embedding: float32 [batch, points, dim], see :func:`deep_clustering`.
        assignment: float32 [batch, points, sources], one-hot, or 0 for no source.
        weights: float32 [batch, points], not negative, see :func:`deep_clustering`.

    Returns:
        float32 [batch]; D + S with a gradient of 0 for an example without weight.

    Raises:
        ValueError: Shapes do not fit.

    >>> apart = tf.eye(2)[tf.newaxis]
    >>> whitened_kmeans(apart, apart, tf.fill([1, 2], 1e4)).numpy().round(2).tolist()
    [0.0]
    """
    own, cross, ideal = _grams(embedding, assignment, weights)
    left = tf.linalg.cholesky(_plus_identity(own))
    right = tf.linalg.cholesky(_plus_identity(ideal))
    half = tf.linalg.triangular_solve(left, cross)  # [batch, dim, sources]
    whitened = tf.linalg.triangular_solve(right, tf.linalg.matrix_transpose(half))
    most = tf.shape(own)[-1] + tf.shape(ideal)[-1]
    return tf.cast(most, tf.float32) - 2.0 * _energy(whitened)


def _grams(
    embedding: tf.Tensor, assignment: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """V'WV, V'WY and Y'WY."""
    embedding = tf.cast(embedding, tf.float32)
    assignment = tf.cast(assignment, tf.float32)
    weights = tf.cast(weights, tf.float32)
    _check_points(embedding.shape, assignment.shape, weights.shape)
    # Weights are applied on one side, not as roots on both: this needs fewer products
    # and no root of 0, whose gradient is infinite.
    columns = tf.stop_gradient(weights)[..., tf.newaxis]
    assignment = tf.stop_gradient(assignment)
    sources = columns * assignment
    own, cross = _products(embedding, columns, sources)
    return own, cross, tf.matmul(sources, assignment, transpose_a=True)


def _products(
    embedding: tf.Tensor, columns: tf.Tensor, sources: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """V'WV and V'WY of W and WY, with a custom gradient by V.

    Automatic differentiation would compute twice the products, for both occurrences of
    V.
    """

    @tf.custom_gradient
    def run(
        embedding: tf.Tensor,
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[..., tf.Tensor]]:
        weighted = columns * embedding
        own = tf.matmul(weighted, embedding, transpose_a=True)
        # With the thin matrix in front the product takes a third of the time.
        cross = tf.matmul(sources, embedding, transpose_a=True)

        def gradient(by_own: tf.Tensor, by_cross: tf.Tensor) -> tf.Tensor:
            both = by_own + tf.linalg.matrix_transpose(by_own)
            across = tf.matmul(sources, by_cross, transpose_b=True)
            return tf.matmul(weighted, both) + across

        return (own, tf.linalg.matrix_transpose(cross)), gradient

    return run(embedding)


def _plus_identity(gram: tf.Tensor) -> tf.Tensor:
    return tf.linalg.set_diag(gram, tf.linalg.diag_part(gram) + 1.0)


def _check_points(
    embedding: tf.TensorShape, assignment: tf.TensorShape, weights: tf.TensorShape
) -> None:
    fits = (
        embedding.rank == assignment.rank == 3
        and embedding[:2].is_compatible_with(assignment[:2])
        and embedding[:2].is_compatible_with(weights)
        and None not in (embedding[-1], assignment[-1])
    )
    if not fits:
        raise ValueError(
            f"embedding {embedding}, assignment {assignment} and weights {weights} do "
            "not fit; expected [batch, points, dim], [batch, points, sources] and "
            "[batch, points] with dim and sources known"
        )


def _energy(matrices: tf.Tensor) -> tf.Tensor:
    """Squared Frobenius norm."""
    return tf.reduce_sum(tf.square(matrices), [-2, -1])
