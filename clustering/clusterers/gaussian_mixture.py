"""Mixtures of Gaussians with full covariances, fitted to embeddings in the graph.

Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm,
J. Royal Statistical Society B 39 (1), 1977. All is computed in float64, because the
covariances of embeddings on a sphere are nearly singular.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from clustering.clusterers.kmeans import kmeans

FLOOR = 1e-6
"""Variance added to every dimension, as in scikit-learn."""

TINY = 1e-15
"""Weight added to every component, so that one without points has a mean."""

ROUNDS = 100
"""Maximum number of rounds."""

TOLERANCE = 1e-3
"""An item has converged when the mean log likelihood of its points changes by less."""


class GaussianMixture(NamedTuple):
    """A density sum_k p_k N(x; m_k, L_k L_k').

    Attributes:
        weights: p_k, float64 [batch, components], of sum 1.
        means: m_k, float64 [batch, components, dim].
        factors: L_k, lower triangles, float64 [batch, components, dim, dim].
    """

    weights: tf.Tensor
    means: tf.Tensor
    factors: tf.Tensor


def fit(
    points: tf.Tensor, components: int, weights: tf.Tensor | None = None
) -> GaussianMixture:
    """Fit a mixture by expectation maximisation, from the clusters of k-means.

    Args:
        points: float32 [batch, points, dim], at least one point.
        components: Number of Gaussians, at least 1.
        weights: float32 [batch, points], not negative; None for equal ones.

    Returns:
        The mixture.

    Raises:
        ValueError: If there are no components or the shapes do not fit.

    >>> mixture = fit([[[0.0], [2.0], [10.0], [12.0]]], 2)
    >>> sorted(mixture.means.numpy().ravel().round(3).tolist())
    [1.0, 11.0]
    """
    clusters = kmeans(points, components, weights)
    points = tf.cast(tf.stop_gradient(tf.convert_to_tensor(points)), tf.float64)
    members = tf.one_hot(clusters.labels, components, axis=1, dtype=tf.float64)
    weights = _normalised(points, weights)
    start = _maximised(points, members * weights)

    def once(
        number: tf.Tensor,
        mixture: GaussianMixture,
        before: tf.Tensor,
        moving: tf.Tensor,
    ) -> tuple[tf.Tensor, GaussianMixture, tf.Tensor, tf.Tensor]:
        logs = _log_parts(mixture, points)
        total = tf.reduce_logsumexp(logs, 1, keepdims=True)
        better = _maximised(points, tf.exp(logs - total) * weights)
        mixture = _where(moving, better, mixture)
        likelihood = tf.reduce_sum(total * weights, [1, 2])
        moving &= tf.abs(likelihood - before) >= TOLERANCE
        return number + 1, mixture, likelihood, moving

    nothing = tf.reduce_sum(weights, [1, 2])
    return tf.while_loop(
        lambda number, mixture, before, moving: (
            (number < ROUNDS) & tf.reduce_any(moving)
        ),
        once,
        (0, start, nothing - math.inf, nothing > 0),
    )[1]


def responsibilities(mixture: GaussianMixture, points: tf.Tensor) -> tf.Tensor:
    """Compute the probability that each point comes from each component.

    r_k(x) = p_k N(x; k) / sum_j p_j N(x; j)

    Args:
        mixture: From :func:`fit`.
        points: float32 [batch, points, dim].

    Returns:
        float32 [batch, components, points], of sum 1 over the components.

    >>> mixture = fit([[[0.0], [2.0], [10.0], [12.0]]], 2)
    >>> float(responsibilities(mixture, [[[1.0]]]).numpy().max())
    1.0
    """
    logs = _log_parts(mixture, tf.cast(points, tf.float64))
    return tf.cast(
        tf.exp(logs - tf.reduce_logsumexp(logs, 1, keepdims=True)), tf.float32
    )


def _normalised(points: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Weights [batch, 1, points] of sum 1, equal ones if all are 0."""
    if weights is None:
        weights = tf.ones(tf.shape(points)[:2])
    weights = tf.cast(tf.stop_gradient(weights), tf.float64)[:, tf.newaxis]
    total = tf.reduce_sum(weights, -1, keepdims=True)
    weights = tf.where(total > 0, weights, 1.0)
    return weights / tf.reduce_sum(weights, -1, keepdims=True)


def _maximised(points: tf.Tensor, responsible: tf.Tensor) -> GaussianMixture:
    """Run the maximisation step for responsibilities [batch, components, points]."""
    totals = tf.reduce_sum(responsible, -1) + TINY
    means = tf.matmul(responsible, points) / totals[..., tf.newaxis]
    floor = FLOOR * tf.eye(tf.shape(points)[-1], dtype=tf.float64)
    factors = []
    for mean, part in zip(
        tf.unstack(means, axis=1), tf.unstack(responsible, axis=1), strict=True
    ):
        away = points - mean[:, tf.newaxis]
        scatter = tf.matmul(away, part[..., tf.newaxis] * away, transpose_a=True)
        total = tf.reduce_sum(part, -1)[:, tf.newaxis, tf.newaxis] + TINY
        factors.append(tf.linalg.cholesky(scatter / total + floor))
    weights = totals / tf.reduce_sum(totals, -1, keepdims=True)
    return GaussianMixture(weights, means, tf.stack(factors, 1))


def _log_parts(mixture: GaussianMixture, points: tf.Tensor) -> tf.Tensor:
    """Log of p_k N(x; k), [batch, components, points]."""
    dim = tf.shape(points)[-1]
    whiten = tf.linalg.triangular_solve(
        mixture.factors, tf.eye(dim, dtype=tf.float64)[tf.newaxis, tf.newaxis]
    )
    away = points[:, tf.newaxis] - mixture.means[:, :, tf.newaxis]
    square = tf.reduce_sum(tf.square(tf.matmul(away, whiten, transpose_b=True)), -1)
    volume = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(mixture.factors)), -1)
    constant = 0.5 * math.log(2 * math.pi) * tf.cast(dim, tf.float64)
    return (tf.math.log(mixture.weights) - volume - constant)[..., tf.newaxis] - (
        0.5 * square
    )


def _where(
    moving: tf.Tensor, better: GaussianMixture, mixture: GaussianMixture
) -> GaussianMixture:
    shapes = ([-1, 1], [-1, 1, 1], [-1, 1, 1, 1])
    return GaussianMixture(
        *(
            tf.where(tf.reshape(moving, shape), new, old)
            for shape, new, old in zip(shapes, better, mixture, strict=True)
        )
    )
