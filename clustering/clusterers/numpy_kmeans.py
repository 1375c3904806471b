"""K-means and the masks of :mod:`.cluster` in numpy, for use without TensorFlow.

The caller gives the random numbers of the seeding, so that the centroids equal those
of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

ROUNDS = 300
TOLERANCE = 1e-4
POINTS_AT_ONCE = 1 << 16


class _Data(NamedTuple):
    """Points [points, dim] without their mean, weights of mean 1, and both moments."""

    points: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    variance: float


def masks(
    embedding: np.ndarray,
    magnitude: np.ndarray,
    options: Mapping[str, Any],
    chances: np.ndarray,
) -> np.ndarray:
    """Find the sources of one item and their masks.

    Args:
        embedding: float32 [points, dim], points = frames * bins, bins fastest.
        magnitude: Of the mixture, float32 [frames, bins], not negative.
        options: Options of :class:`clustering.config.Clustering`, by name.
        chances: Uniform random numbers [restarts, sources, draws].

    Returns:
        Masks, float32 [sources, frames, bins], of sum 1 over the sources.

    >>> embedding = np.array([[0.0], [0.1], [9.0], [0.0]], np.float32)
    >>> options = {"percentile": 0.0, "within_db": None, "weighted": False}
    >>> options |= {"mask": "binary", "beta": 5.0, "order_by_size": True}
    >>> chances = np.full([1, 2, 2], 0.5)
    >>> masks(embedding, np.ones([2, 2], np.float32), options, chances).tolist()
    [[[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]]
    """
    flat = magnitude.reshape(-1)
    chosen = loudest(flat, options["percentile"])
    weights = _weights(flat, options)[chosen]
    centroids = kmeans(embedding[chosen], weights, chances)
    parts = [
        _masks(distances(embedding[i : i + POINTS_AT_ONCE], centroids), options)
        for i in range(0, len(embedding), POINTS_AT_ONCE)
    ]
    made = np.concatenate(parts, axis=1)
    if options["order_by_size"]:
        made = made[np.argsort(-made.sum(1), kind="stable")]
    return made.reshape(len(made), *magnitude.shape)


def loudest(magnitude: np.ndarray, percentile: float) -> np.ndarray:
    """Find the points whose magnitude is not below a percentile, first ones of ties.

    Args:
        magnitude: float32 [points].
        percentile: 0 to 100; 0 takes all points.

    Returns:
        Ascending indices.

    >>> loudest(np.array([5.0, 1.0, 3.0, 4.0, 2.0]), 50.0).tolist()
    [0, 2, 3]
    """
    below = int(np.ceil((len(magnitude) - 1) * (percentile / 100) - 1e-6))
    if below <= 0:
        return np.arange(len(magnitude))
    threshold = np.partition(magnitude, below)[below]
    above = np.flatnonzero(magnitude > threshold)
    equal = np.flatnonzero(magnitude == threshold)
    return np.sort(np.concatenate([above, equal])[: len(magnitude) - below])


def kmeans(points: np.ndarray, weights: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Find centroids with a small sum of weighted squared distances.

    Args:
        points: float32 [points, dim].
        weights: float32 [points], not negative.
        chances: Uniform random numbers [restarts, clusters, draws].

    Returns:
        float32 [clusters, dim].

    >>> points = np.array([[0.0], [1.0], [9.0], [11.0]], np.float32)
    >>> solutions = kmeans(points, np.ones(4, np.float32), np.full([1, 2, 2], 0.3))
    >>> sorted(solutions.ravel().tolist())
    [0.5, 10.0]
    """
    data = _centred(points, weights)
    solutions = [_lloyd(data, _seeds(data, chance)) for chance in chances]
    inertias = [
        float(_squares(data, solution).min(0) @ data.weights) for solution in solutions
    ]
    return np.asarray(solutions[int(np.argmin(inertias))] + data.mean)


def distances(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Compute the distance of every point from every centroid, [clusters, points].

    >>> distances(np.array([[3.0, 4.0]]), np.zeros([1, 2])).tolist()
    [[5.0]]
    """
    squares = np.stack([np.square(points - one).sum(-1) for one in centroids])
    return np.sqrt(np.maximum(squares, np.float32(1e-24)))


def _weights(flat: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    weights = flat if options["weighted"] else np.ones_like(flat)
    if options["within_db"] is None:
        return weights
    floor = 10.0 ** (-options["within_db"] / 20.0) * flat.max(initial=0.0)
    return np.where(flat > np.float32(floor), weights, np.float32(0.0))


def _masks(away: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Masks [sources, points] by the distances; see :mod:`.cluster`."""
    if options["mask"] == "binary":
        nearest = np.argmin(away, 0)
        return (np.arange(len(away))[:, np.newaxis] == nearest).astype(np.float32)
    if options["mask"] == "soft":
        near = np.exp(-options["beta"] * away) + np.float32(1e-8)
    else:
        near = np.exp(-options["beta"] * (away - away.min(0)))
    return near / near.sum(0)


def _centred(points: np.ndarray, weights: np.ndarray) -> _Data:
    mean_weight = weights.mean()
    weights = weights / mean_weight if mean_weight > 0 else np.ones_like(weights)
    mean = (weights @ points) / len(points)
    rest = points - mean
    variance = float(weights @ np.square(rest).sum(1)) / points.size
    return _Data(rest, weights, mean, variance)


def _seeds(data: _Data, chances: np.ndarray) -> np.ndarray:
    """Draw centroids [clusters, dim], each far from earlier ones."""
    nearest = np.ones(len(data.points), np.float32)
    centroids: list[np.ndarray] = []
    for one in chances:
        tried = _drawn(data, nearest, one if centroids else one[:1])
        away = _squares(data, tried)
        if centroids:
            away = np.minimum(away, nearest)
        choice = int(np.argmin(away @ data.weights))
        nearest = away[choice]
        centroids.append(tried[choice])
    return np.stack(centroids)


def _drawn(data: _Data, nearest: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Draw points [draws, dim] with the odds w d^2."""
    odds = data.weights * nearest
    # If all points are at centroids already, any point with a weight is drawn.
    odds = odds if odds.sum() > 0 else data.weights
    total = np.cumsum(odds, dtype=np.float64)
    indices = np.searchsorted(total, chance * total[-1], side="right")
    return data.points[np.minimum(indices, len(total) - 1)]


def _lloyd(data: _Data, centroids: np.ndarray) -> np.ndarray:
    """Move centroids [clusters, dim] until they converge."""
    for _ in range(ROUNDS):
        means = _means(data, centroids)
        shift = float(np.square(means - centroids).sum())
        centroids = means
        if not shift > TOLERANCE * data.variance:
            break
    return centroids


def _means(data: _Data, centroids: np.ndarray) -> np.ndarray:
    """Average the nearest points of each centroid."""
    away = _squares(data, centroids)
    nearest, means = np.argmin(away, 0), np.empty_like(centroids)
    empty = []
    for index in range(len(centroids)):
        weights = np.where(nearest == index, data.weights, np.float32(0.0))
        total = weights.sum()
        if total > 0:
            means[index] = (weights @ data.points) / total
        else:
            empty.append(index)
    if empty:
        farthest = np.argsort(-away.min(0) * data.weights, kind="stable")
        order = farthest[np.minimum(np.arange(len(empty)), len(farthest) - 1)]
        means[empty] = data.points[order]
    return means


def _squares(data: _Data, centroids: np.ndarray) -> np.ndarray:
    """Squared distances [clusters, points], by one product."""
    power = np.square(data.points).sum(1)
    scores = np.square(centroids).sum(1)[:, np.newaxis] - 2 * centroids @ data.points.T
    return np.maximum(scores + power, np.float32(0.0))
