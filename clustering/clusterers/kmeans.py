"""K-means inside the graph: weighted, seeded, with all restarts at once.

[1] Lloyd, Least squares quantization in PCM, IEEE Trans. Inf. Theory 28, 1982.
[2] Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

Seed = tuple[int, int] | tf.Tensor
"""Two integers, or int32 [2], the seed of all random numbers."""

TOLERANCE = 1e-4
"""A restart has converged when the squared moves of its centroids sum up to no more
than this fraction of the mean variance of a dimension."""


class Clusters(NamedTuple):
    """Result of k-means.

    Attributes:
        centroids: float32 [batch, clusters, dim].
        labels: The nearest centroid of each point, int32 [batch, points].
        inertia: Weighted sum of the squared distances to it, float32 [batch].
    """

    centroids: tf.Tensor
    labels: tf.Tensor
    inertia: tf.Tensor


class Data(NamedTuple):
    """Points without their mean, because squared distances lose digits far from 0.

    Attributes:
        points: [batch, points, dim].
        weights: [batch, points], of mean 1.
        scale: Divisor of the weights [batch].
        moments: Points and ones times their weights [batch, points, dim + 1].
        rows: Points and ones [batch, dim + 1, points].
        power: Squared norms [batch, 1, points].
        mean: The mean that was subtracted [batch, 1, dim].
        variance: Mean variance of the dimensions [batch, 1].
    """

    points: tf.Tensor
    weights: tf.Tensor
    scale: tf.Tensor
    moments: tf.Tensor
    rows: tf.Tensor
    power: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor


def kmeans(
    points: tf.Tensor,
    clusters: int,
    weights: tf.Tensor | None = None,
    *,
    seed: Seed = (0, 0),
    restarts: int = 1,
) -> Clusters:
    """Find centroids with a small sum of weighted squared distances.

    min_c sum_n w_n min_k |x_n - c_k|^2, by the rounds of [1] from the seeds of [2];
    each seed is the best of 2 + ln(clusters) draws. A round moves c_k to the mean
    sum_n w_n x_n / sum_n w_n of its nearest points; among equally near centroids the
    first one is taken. A centroid without points moves to the point with the largest
    weighted squared distance, the next such centroid to the second largest, as in
    scikit-learn. The result of an item does not depend on the others of the batch.

    Args:
        points: float32 [batch, points, dim], at least one point.
        clusters: Number of centroids, at least 1.
        weights: float32 [batch, points], not negative; None for equal ones. Points of
            weight 0 get a label but do not move centroids; if all are 0, weights are
            equal.
        seed: Two integers; the same ones give the same result.
        restarts: Independent starts, of which the one with the least inertia is kept.

    Returns:
        Clusters, in no particular order.

    Raises:
        ValueError: A count is below 1, or the shapes do not fit.

    >>> result = kmeans([[[0.0], [1.0], [9.0], [11.0]]], 2)
    >>> sorted(result.centroids.numpy().ravel().tolist()), float(result.inertia[0])
    ([0.5, 10.0], 2.5)
    """
    for name, count in (("clusters", clusters), ("restarts", restarts)):
        if count < 1:
            raise ValueError(f"{name} is {count}; expected at least 1")
    data = _centered(points, weights)
    return _lloyd(data, _seeds(data, clusters, restarts, seed))


def distances(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Compute the distance of every point from every centroid.

    The differences are computed explicitly, which keeps the digits of small distances;
    the gradient is 0 for a point at a centroid.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch or 1, clusters, dim].

    Returns:
        Euclidean distances, float32 [batch, clusters, points].

    >>> distances([[[3.0, 4.0]]], [[[0.0, 0.0], [3.0, 3.0]]]).numpy().tolist()
    [[[5.0], [1.0]]]
    """
    points = tf.convert_to_tensor(points, tf.float32)
    squares = [
        tf.reduce_sum(tf.math.squared_difference(points, centroid[:, tf.newaxis]), -1)
        for centroid in tf.unstack(tf.convert_to_tensor(centroids, tf.float32), axis=1)
    ]
    return tf.sqrt(tf.maximum(tf.stack(squares, 1), 1e-24))


def _centered(points: tf.Tensor, weights: tf.Tensor | None) -> Data:
    """Subtract the weighted mean of the points of each item, and validate both."""
    points = tf.stop_gradient(tf.convert_to_tensor(points, tf.float32))
    if points.shape.rank != 3 or 0 in points.shape[1:]:
        raise ValueError(
            f"the points have shape {points.shape}; expected [batch, points, dim] with "
            "at least one point"
        )
    equal = weights is None
    weights, scale = _weights(points, weights)
    share = weights[..., tf.newaxis] / tf.cast(tf.shape(points)[1], tf.float32)
    mean = tf.matmul(share, points, transpose_a=True)
    whole = tf.concat([points - mean, tf.ones_like(points[..., :1])], -1)
    rows = tf.transpose(whole, [0, 2, 1])
    power = tf.reduce_sum(tf.square(rows[:, :-1]), 1, keepdims=True)
    dim = tf.cast(tf.shape(points)[2], tf.float32)
    return Data(
        points=whole[..., :-1],
        weights=weights,
        scale=scale,
        moments=whole if equal else weights[..., tf.newaxis] * whole,
        rows=rows,
        power=power,
        mean=mean,
        variance=tf.matmul(power, share)[..., 0] / dim,
    )


def _weights(
    points: tf.Tensor, weights: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    if weights is None:
        weights = tf.ones(tf.shape(points)[:2])
    weights = tf.stop_gradient(tf.convert_to_tensor(weights, tf.float32))
    if not weights.shape.is_compatible_with(points.shape[:2]):
        raise ValueError(
            f"the weights have shape {weights.shape} and the points {points.shape}; "
            "expected one weight for each point, [batch, points]"
        )
    mean = tf.reduce_mean(weights, -1, keepdims=True)
    shares = tf.where(mean > 0, tf.math.divide_no_nan(weights, mean), 1.0)
    return shares, tf.where(mean > 0, mean, 1.0)[:, 0]


def _seeds(data: Data, clusters: int, restarts: int, seed: Seed) -> tf.Tensor:
    """Draw centroids [batch, restarts, clusters, dim], each far from earlier ones."""
    draws = 2 + int(math.log(clusters))
    # The same numbers for all items, so that items are independent of each other.
    shape = [1, restarts, clusters * draws]
    chance = tf.random.stateless_uniform(shape, tf.convert_to_tensor(seed, tf.int32))
    chances = tf.split(chance, clusters, -1)
    batch = tf.shape(data.points)[0]
    nearest = tf.ones([batch, restarts, tf.shape(data.points)[1]])
    centroids = []
    for number, one in enumerate(chances):
        tried = _draw(data, nearest, one if number else one[..., :1])
        away = _squares(data, tried)  # [batch, restarts, draws, points]
        if number:
            away = tf.minimum(away, nearest[:, :, tf.newaxis])
        left = tf.einsum("brdn,bn->brd", away, data.weights)
        choice = tf.argmin(left, -1)
        nearest = tf.gather(away, choice, batch_dims=2)
        centroids.append(tf.gather(tried, choice, batch_dims=2))
    return tf.ensure_shape(tf.stack(centroids, 2), [None, restarts, clusters, None])


def _draw(data: Data, nearest: tf.Tensor, chance: tf.Tensor) -> tf.Tensor:
    """Draw points [batch, restarts, draws, dim] with the odds w d^2."""
    weights = data.weights[:, tf.newaxis]
    odds = weights * nearest
    # If all points are at centroids already, any point with a weight is drawn.
    odds = tf.where(tf.reduce_sum(odds, -1, keepdims=True) > 0, odds, weights)
    # In float64, because float32 loses single points among 100,000.
    total = tf.cumsum(tf.cast(odds, tf.float64), -1)
    drawn = tf.cast(chance, tf.float64) * total[..., -1:]
    indices = tf.searchsorted(total, drawn, side="right")
    last = tf.shape(data.points)[1] - 1
    return tf.gather(data.points, tf.minimum(indices, last), batch_dims=1)


def _lloyd(data: Data, start: tf.Tensor, max_rounds: int = 300) -> Clusters:
    """Move centroids [batch, restarts, clusters, dim] until they converge."""
    batch, restarts = tf.shape(data.points)[0], start.shape[1]
    start += tf.zeros([batch, 1, 1, 1])
    rest = TOLERANCE * data.variance

    def once(
        number: tf.Tensor, centroids: tf.Tensor, moving: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        means = _means(data, centroids)
        shift = tf.reduce_sum(tf.math.squared_difference(means, centroids), [2, 3])
        centroids = tf.where(moving[..., tf.newaxis, tf.newaxis], means, centroids)
        return number + 1, centroids, moving & (shift > rest)

    _, centroids, _ = tf.while_loop(
        lambda number, centroids, moving: (number < max_rounds) & tf.reduce_any(moving),
        once,
        (0, start, tf.ones([batch, restarts], tf.bool)),
    )
    return _best(data, centroids)


def _means(data: Data, centroids: tf.Tensor) -> tf.Tensor:
    """Average the nearest points of each centroid."""
    scores = _scores(data, centroids)
    least = tf.reduce_min(scores, 2, keepdims=True)
    members = tf.cast(_first(scores <= least), tf.float32)
    sums = tf.einsum("brkn,bnd->brkd", members, data.moments)
    sums, counts = sums[..., :-1], sums[..., -1:]
    means = tf.math.divide_no_nan(sums, counts)
    empty = counts <= 0
    return tf.cond(
        tf.reduce_any(empty),
        lambda: tf.where(empty, _farthest(data, least[:, :, 0], empty), means),
        lambda: means,
    )


def _farthest(data: Data, least: tf.Tensor, empty: tf.Tensor) -> tf.Tensor:
    """Find the points farthest from their centroids, one for each empty cluster."""
    away = (least + data.power) * data.weights[:, tf.newaxis]
    count = tf.minimum(tf.shape(away)[-1], tf.shape(empty)[2])
    indices = tf.math.top_k(away, count)[1]
    turn = tf.cumsum(tf.cast(empty[..., 0], tf.int32), -1, exclusive=True)
    indices = tf.gather(indices, tf.minimum(turn, count - 1), batch_dims=2)
    return tf.gather(data.points, indices, batch_dims=1)


def _first(nearest: tf.Tensor) -> tf.Tensor:
    """Keep the first true value along the clusters [batch, restarts, clusters, points].

    An arg min along this short axis takes five times as long.
    """
    rows = tf.unstack(nearest, axis=2)
    taken, kept = rows[0], rows[:1]
    for row in rows[1:]:
        kept.append(row & ~taken)
        taken |= row
    return tf.stack(kept, 2)


def _scores(data: Data, centroids: tf.Tensor) -> tf.Tensor:
    """Compute |c|^2 - 2 c x, the squared distances without |x|^2, in one product."""
    square = tf.reduce_sum(tf.square(centroids), -1, keepdims=True)
    whole = tf.concat([-2 * centroids, square], -1)
    return tf.einsum("brkd,bdn->brkn", whole, data.rows)


def _squares(data: Data, centroids: tf.Tensor) -> tf.Tensor:
    scores = _scores(data, centroids)
    return tf.maximum(scores + data.power[:, tf.newaxis], 0.0)


def _best(data: Data, centroids: tf.Tensor) -> Clusters:
    """Choose among the restarts [batch, restarts, clusters, dim]."""
    away = _squares(data, centroids)
    inertia = tf.linalg.matvec(tf.reduce_min(away, 2), data.weights)
    choice = tf.argmin(inertia, -1)
    chosen, away, inertia = (
        tf.gather(tensor, choice, batch_dims=1) for tensor in (centroids, away, inertia)
    )
    labels = tf.argmin(away, 1, output_type=tf.int32)
    return Clusters(chosen + data.mean, labels, inertia * data.scale)
