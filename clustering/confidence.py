"""How well an embedding falls into clusters: a guess at the separation without truth.

Seetharaman, Wichern, Le Roux and Pardo, Bootstrapping single-channel source separation
via unsupervised spatial clustering on stereo mixtures, ICASSP 2019, and the further
measures of nussl 1.1. All are of the loud points of an item; more is better.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import tensorflow as tf

from clustering import gaussian_mixture
from clustering.cluster import binary_masks, loudest, posterior_masks
from clustering.kmeans import Seed, distances, kmeans
from clustering.losses import deep_clustering as losses

Kind = Literal[
    "posterior",
    "silhouette",
    "loudness",
    "jensen_shannon",
    "deep_clustering",
    "whitened_kmeans",
]


def confidence(
    embedding: tf.Tensor,
    magnitude: tf.Tensor,
    kind: Kind = "posterior",
    sources: int = 2,
    *,
    percentile: float = 95.0,
    seed: Seed = (0, 0),
) -> tf.Tensor:
    """Measure how well the loud points of each item fall into clusters.

    The points are those of :func:`clustering.cluster.loudest`; nussl leaves out the
    one that lies on the threshold itself. They are clustered by k-means.

    Args:
        embedding: float32 [batch, points, dim].
        magnitude: float32 [batch, points], or [batch, frames, bins] of as many points.
        kind: Which measure, each a function of this module.
        sources: How many clusters, at least 2.
        percentile: Of the magnitude, 0 to 100.
        seed: Two integers.

    Returns:
        float32 [batch].

    Raises:
        ValueError: If the kind is unknown or there are fewer than 2 sources.

    >>> embedding = [[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]]
    >>> confidence(embedding, tf.ones([1, 4]), "loudness", percentile=0.0).numpy()
    array([0.5], dtype=float32)
    """
    if kind not in get_args(Kind):
        raise ValueError(
            f"kind of confidence is {kind!r}; expected one of "
            f"{', '.join(get_args(Kind))}"
        )
    if sources < 2:
        raise ValueError(f"sources is {sources}; clusters are compared from 2 on")
    embedding = tf.convert_to_tensor(embedding)
    magnitude = tf.reshape(magnitude, tf.shape(embedding)[:2])
    places = loudest(magnitude, percentile)
    points = tf.gather(embedding, places, batch_dims=1)
    if kind == "jensen_shannon":
        return jensen_shannon(points, sources, seed)
    centroids = kmeans(points, sources, seed=seed).centroids
    if kind == "silhouette":
        return silhouette(points, centroids, seed)
    if kind == "posterior":
        return posterior(points, centroids)
    if kind == "loudness":
        return loudness(points, centroids)
    loud = tf.gather(magnitude, places, batch_dims=1)
    measure = deep_clustering if kind == "deep_clustering" else whitened_kmeans
    return measure(points, centroids, loud)


def posterior(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Average how much nearer the nearest centroid is than the others.

    mean_n (S max_s p_ns - 1) / (S - 1), p_ns = softmax_s(-|x_n - c_s|)

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].

    Returns:
        float32 [batch], 0 to 1.

    >>> posterior([[[0.0]]], [[[0.0], [100.0]]]).numpy()
    array([1.], dtype=float32)
    """
    shares = posterior_masks(distances(points, centroids), 1.0)
    sources = tf.cast(tf.shape(shares)[1], tf.float32)
    surest = tf.reduce_mean(tf.reduce_max(shares, 1), -1)
    return (sources * surest - 1) / (sources - 1)


def loudness(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Take the share of points that the smallest cluster has.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].

    Returns:
        float32 [batch], 0 to 1 / sources.

    >>> loudness([[[0.0], [0.1], [0.2], [1.0]]], [[[0.0], [1.0]]]).numpy()
    array([0.25], dtype=float32)
    """
    members = binary_masks(distances(points, centroids))
    return tf.reduce_min(tf.reduce_mean(members, -1), -1)


def silhouette(
    points: tf.Tensor, centroids: tf.Tensor, seed: Seed = (0, 0), most: int = 1000
) -> tf.Tensor:
    """Compare the distances within clusters with those to the next cluster.

    mean_n (b_n - a_n) / max(a_n, b_n), where a_n is the mean distance to the others of
    the own cluster and b_n the least mean distance to another one (Rousseeuw 1987); 0
    for a point alone in its cluster. It is taken of a random part of the points, with
    the centroids of all, where nussl clusters the part again.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].
        seed: Two integers that choose the part.
        most: Size of the part.

    Returns:
        float32 [batch], -1 to 1; 0 if all points have one cluster.

    >>> silhouette([[[0.0], [0.0], [1.0], [1.0]]], [[[0.0], [1.0]]]).numpy()
    array([1.], dtype=float32)
    """
    points = tf.convert_to_tensor(points)
    total = tf.shape(points)[1]
    order = tf.random.stateless_uniform([total], tf.convert_to_tensor(seed, tf.int32))
    part = tf.gather(points, tf.argsort(order)[:most], axis=1)
    members = tf.cast(binary_masks(distances(part, centroids)), tf.float64)
    sums = tf.matmul(members, _pairs(tf.cast(part, tf.float64)))
    counts = tf.reduce_sum(members, -1, keepdims=True)
    alone = tf.maximum(counts - 1, 1)  # The point itself is no other.
    own = tf.reduce_sum(members * sums / alone, 1)
    others = tf.where(
        (members > 0) | (counts == 0),
        tf.constant(math.inf, tf.float64),
        tf.math.divide_no_nan(sums, counts),
    )
    other = tf.reduce_min(others, 1)
    single = tf.reduce_sum(members * counts, 1) <= 1
    void = single | tf.math.is_inf(other)
    other = tf.where(void, own, other)
    widths = tf.math.divide_no_nan(other - own, tf.maximum(own, other))
    widths = tf.where(void, tf.zeros_like(widths), widths)
    return tf.cast(tf.reduce_mean(widths, -1), tf.float32)


def jensen_shannon(
    points: tf.Tensor, sources: int, seed: Seed = (0, 0), samples: int = 100_000
) -> tf.Tensor:
    """Compare a mixture of one Gaussian for each source with a single Gaussian.

    Their Jensen-Shannon divergence, half the sum of the divergences of both densities
    from their mean, estimated from points drawn from each.

    Args:
        points: float32 [batch, points, dim].
        sources: How many Gaussians.
        seed: Two integers.
        samples: How many points are drawn from each.

    Returns:
        float32 [batch] in nats, 0 to ln 2 but for the error of the draw.

    >>> apart = [[[-9.0], [-8.0], [8.0], [9.0]]]
    >>> bool(jensen_shannon(apart, 2, samples=500) > jensen_shannon(apart, 1))
    True
    """
    single = gaussian_mixture.fit(points, 1, seed=seed)
    several = gaussian_mixture.fit(points, sources, seed=seed)
    seeds = tf.unstack(tf.random.split(tf.convert_to_tensor(seed, tf.int32)), num=2)
    halves = [
        _divergence(one, other, samples, part)
        for (one, other), part in zip(
            ((single, several), (several, single)), seeds, strict=True
        )
    ]
    return tf.cast(tf.add_n(halves) / 2, tf.float32)


def deep_clustering(
    points: tf.Tensor, centroids: tf.Tensor, magnitude: tf.Tensor
) -> tf.Tensor:
    """Take 1 minus the loss of deep clustering, were the clusters the truth.

    The weights are squared magnitudes. nussl gives each point to the centroid that is
    farthest, which is the same for two sources and wrong for more.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].
        magnitude: float32 [batch, points].

    Returns:
        float32 [batch], at most 1.

    >>> deep_clustering(tf.eye(2)[None], tf.eye(2)[None], tf.ones([1, 2])).numpy()
    array([1.], dtype=float32)
    """
    return 1 - losses.deep_clustering(*_as_truth(points, centroids, magnitude))


def whitened_kmeans(
    points: tf.Tensor, centroids: tf.Tensor, magnitude: tf.Tensor
) -> tf.Tensor:
    """Take 1 minus the share that whitened k-means has of its largest value.

    1 - loss / (D + S) for D dimensions and S sources, with the clusters as the truth;
    as in nussl it falls with the level of the magnitudes, because the loss adds 1 to
    their sums. See :func:`deep_clustering`.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].
        magnitude: float32 [batch, points].

    Returns:
        float32 [batch], 0 to 2 S / (D + S).

    >>> axes = tf.eye(2)[None]
    >>> whitened_kmeans(axes, axes, tf.fill([1, 2], 1e3)).numpy().round(2)
    array([1.], dtype=float32)
    """
    points = tf.convert_to_tensor(points)
    most = tf.cast(tf.shape(points)[-1] + tf.shape(centroids)[1], tf.float32)
    loss = losses.whitened_kmeans(*_as_truth(points, centroids, magnitude))
    return 1 - loss / most


def _as_truth(
    points: tf.Tensor, centroids: tf.Tensor, magnitude: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    members = binary_masks(distances(points, centroids))
    assignment = tf.transpose(members, [0, 2, 1])
    return losses.unit_norm(points), assignment, tf.square(magnitude)


def _pairs(points: tf.Tensor) -> tf.Tensor:
    """Distances between all points [batch, points, points]."""
    points -= tf.reduce_mean(points, 1, keepdims=True)
    power = tf.reduce_sum(tf.square(points), -1, keepdims=True)
    product = tf.matmul(points, points, transpose_b=True)
    squares = power + tf.linalg.matrix_transpose(power) - 2 * product
    count = tf.shape(squares)[:2]
    squares = tf.linalg.set_diag(squares, tf.zeros(count, squares.dtype))
    return tf.sqrt(tf.maximum(squares, 0))


def _divergence(
    one: gaussian_mixture.GaussianMixture,
    other: gaussian_mixture.GaussianMixture,
    samples: int,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Mean over draws from one of log(one / ((one + other) / 2)), [batch]."""
    drawn = gaussian_mixture.sample(one, samples, seed)
    logs = [gaussian_mixture.log_density(each, drawn) for each in (one, other)]
    both = tf.reduce_logsumexp(tf.stack(logs), 0) - math.log(2.0)
    return tf.reduce_mean(logs[0] - both, -1)
