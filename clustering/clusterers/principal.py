"""Principal components of embeddings, for plots."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

DIMENSIONS = 3


@dataclass(frozen=True)
class Principal:
    """Points of an embedding in its first three principal components.

    Attributes:
        points: Float [points, 3]; 0 in components that the embedding does not have.
        labels: Cluster of each point, integers [points].
        centres: Centre of each cluster, float [clusters, 3].
        shares: Fraction of the variance along each component [3].
    """

    points: np.ndarray
    labels: np.ndarray
    centres: np.ndarray
    shares: np.ndarray

    def part(self, most: int) -> Principal:
        """Choose some points at random with a fixed seed.

        Args:
            most: Largest number of points.
        """
        if len(self.points) <= most:
            return self
        order = np.random.default_rng(0).permutation(len(self.points))[:most]
        return replace(self, points=self.points[order], labels=self.labels[order])


def principal(points: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> Principal:
    """Project points on their first three principal components.

    Args:
        points: Float [points, dim], at least one.
        labels: Integers [points].
        centres: Float [clusters, dim].

    Returns:
        Points and centres along the three directions of largest variance, which are
        the right singular vectors of the centred points.

    >>> line = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> turned = principal(line, np.zeros(3, int), line[1:2])
    >>> np.abs(turned.points[:, 0]).round(6).tolist(), turned.shares.round(6).tolist()
    ([5.0, 0.0, 5.0], [1.0, 0.0, 0.0])
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(axis=0)
    # The small covariance matrix has the same singular vectors.
    _, power, axes = np.linalg.svd((points - mean).T @ (points - mean))
    # The sign of a vector is arbitrary: the largest entry is made positive.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, np.newaxis], axis=1)
    axes = (axes * np.where(largest < 0, -1.0, 1.0))[:DIMENSIONS]
    total = power.sum()
    shares = power[:DIMENSIONS] / total if total > 0 else np.zeros(len(axes))
    missing = DIMENSIONS - len(axes)
    axes = np.pad(axes, [[0, missing], [0, 0]])
    return Principal(
        (points - mean) @ axes.T,
        np.asarray(labels),
        (np.asarray(centres, np.float64) - mean) @ axes.T,
        np.pad(shares, [0, missing]),
    )
