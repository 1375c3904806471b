"""Confidence in a clustered embedding, an estimate of quality without references.

[1] Seetharaman, Wichern, Le Roux and Pardo, Bootstrapping single-channel source
separation via unsupervised spatial clustering on stereo mixtures, ICASSP 2019.
[2] Rousseeuw, Silhouettes, Journal of Computational and Applied Mathematics, 1987.

All measures use the loud points of an item; higher is better. These three of the six
of nussl 1.1 predict SI-SDR best. Spearman's rank correlation with the mean SI-SDR of a
mixture, (a) for 40 mixtures of the synthetic music that ``mini`` is trained for, 4 s
each, mean SI-SDR 5.4 dB, and (b) for 80 of spoken digits, 1 to 3 s, separated by
``tiny`` after 800 steps on other takes of the same four speakers, mean 5.5 dB:

=====================  =====  =====
measure                (a)    (b)
=====================  =====  =====
``deep_clustering``     0.78   0.44
``posterior``           0.74   0.43
``silhouette``          0.66   0.34
``whitened_kmeans``     0.19  -0.03
``loudness``           -0.15   0.17
``jensen_shannon``     -0.16  -0.02
=====================  =====  =====

If a network does not separate at all they are not informative: ``mini`` leaves 40
mixtures of spoken digits at -1.3 dB, and all six correlations are within 0.2 of zero.
``evaluate --confidence`` measures them on your own data.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.clusterers.cluster import binary_masks, loudest, posterior_masks
from clustering.clusterers.kmeans import distances, kmeans
from clustering.config import Clustering, ClusteringConfig
from clustering.losses import deep_clustering as losses
from clustering.models import spectral
from clustering.models.network import infer, require_mono
from common.signal.stft import stft

MEASURES = ("posterior", "silhouette", "deep_clustering")
SILHOUETTE_POINTS = 1000


def confidences(
    embedding: tf.Tensor, magnitude: tf.Tensor, params: Clustering
) -> dict[str, tf.Tensor]:
    """Measure how well the loud points of each item fall into clusters of k-means.

    The points are those of :func:`clustering.clusterers.cluster.loudest`; nussl leaves
    out the point at the threshold itself.

    Args:
        embedding: float32 [batch, points, dim].
        magnitude: float32 [batch, points], or [batch, frames, bins] of as many points.
        params: Options with the number of sources and the percentile of loud points.

    Returns:
        float32 [batch] for each of :data:`MEASURES`.

    Raises:
        ValueError: If there are fewer than 2 sources.

    >>> embedding = [[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]]
    >>> measures = confidences(embedding, tf.ones([1, 4]), Clustering(percentile=0.0))
    >>> {name: round(float(value[0]), 2) for name, value in measures.items()}
    {'posterior': 0.61, 'silhouette': 1.0, 'deep_clustering': 1.0}
    """
    if params.sources < 2:
        raise ValueError(
            f"sources is {params.sources}; a confidence compares 2 or more clusters"
        )
    embedding = tf.convert_to_tensor(embedding)
    magnitude = tf.reshape(magnitude, tf.shape(embedding)[:2])
    loud = loudest(magnitude, params.percentile)
    points = tf.gather(embedding, loud, batch_dims=1)
    centroids = kmeans(points, params.sources).centroids
    levels = tf.gather(magnitude, loud, batch_dims=1)
    return {
        "posterior": posterior(points, centroids),
        "silhouette": silhouette(points, centroids),
        "deep_clustering": deep_clustering(points, centroids, levels),
    }


def mixture_confidences(
    net: keras.Model, config: ClusteringConfig, mixture: np.ndarray
) -> dict[str, float]:
    """Embed a mixture and measure the confidence in its clusters.

    Args:
        net: A network with an embedding.
        config: Its configuration.
        mixture: float32 [channels, samples] at the rate of the network.

    Returns:
        Means over the channels of each of :data:`MEASURES`.
    """
    require_mono(config)
    params = config.whole_stft
    spectrum = stft(tf.constant(mixture), params)
    magnitude = spectral.magnitude(spectrum, config.power_floor)
    embedding = infer(net, config.role, magnitude).embedding
    measures = confidences(embedding, magnitude, config.cluster)
    return {name: float(tf.reduce_mean(value)) for name, value in measures.items()}


def posterior(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Average the excess of the posterior of the nearest centroid, [1].

    mean_n (S max_s p_ns - 1) / (S - 1), p_ns = softmax_s(-|x_n - c_s|)

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].

    Returns:
        float32 [batch], 0 to 1.

    >>> posterior([[[0.0]]], [[[0.0], [100.0]]]).numpy()
    array([1.], dtype=float32)
    """
    weights = posterior_masks(distances(points, centroids), 1.0)
    sources = tf.cast(tf.shape(weights)[1], tf.float32)
    largest = tf.reduce_mean(tf.reduce_max(weights, 1), -1)
    return (sources * largest - 1) / (sources - 1)


def silhouette(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Compare the distances within clusters with those to the next cluster, [2].

    mean_n (b_n - a_n) / max(a_n, b_n), where a_n is the mean distance to the others of
    the own cluster and b_n the least mean distance to another one; 0 for a
    single point in its cluster. It uses 1000 random points with the centroids of all,
    while nussl clusters these points again.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].

    Returns:
        float32 [batch], -1 to 1; 0 if all points have one cluster.

    >>> silhouette([[[0.0], [0.0], [1.0], [1.0]]], [[[0.0], [1.0]]]).numpy()
    array([1.], dtype=float32)
    """
    points = tf.convert_to_tensor(points)
    total = tf.shape(points)[1]
    order = tf.random.stateless_uniform([total], (0, 0))
    some = tf.gather(points, tf.argsort(order)[:SILHOUETTE_POINTS], axis=1)
    members = tf.cast(binary_masks(distances(some, centroids)), tf.float64)
    sums = tf.matmul(members, _pairwise(tf.cast(some, tf.float64)))
    counts = tf.reduce_sum(members, -1, keepdims=True)
    others = tf.maximum(counts - 1, 1)  # Without the point itself.
    own = tf.reduce_sum(members * sums / others, 1)
    means = tf.where(
        (members > 0) | (counts == 0),
        tf.constant(math.inf, tf.float64),
        tf.math.divide_no_nan(sums, counts),
    )
    nearest = tf.reduce_min(means, 1)
    alone = tf.reduce_sum(members * counts, 1) <= 1
    void = alone | tf.math.is_inf(nearest)
    nearest = tf.where(void, own, nearest)
    widths = tf.math.divide_no_nan(nearest - own, tf.maximum(own, nearest))
    widths = tf.where(void, tf.zeros_like(widths), widths)
    return tf.cast(tf.reduce_mean(widths, -1), tf.float32)


def deep_clustering(
    points: tf.Tensor, centroids: tf.Tensor, magnitude: tf.Tensor
) -> tf.Tensor:
    """Return 1 minus the loss of deep clustering with the clusters as the reference.

    The weights are squared magnitudes. nussl assigns each point to the farthest
    centroid, which is equivalent for two sources and wrong for more.

    Args:
        points: float32 [batch, points, dim].
        centroids: float32 [batch, sources, dim].
        magnitude: float32 [batch, points].

    Returns:
        float32 [batch], at most 1.

    >>> deep_clustering(tf.eye(2)[None], tf.eye(2)[None], tf.ones([1, 2])).numpy()
    array([1.], dtype=float32)
    """
    members = binary_masks(distances(points, centroids))
    assignment = tf.transpose(members, [0, 2, 1])
    weights = tf.square(magnitude)
    return 1 - losses.deep_clustering(losses.unit_norm(points), assignment, weights)


def _pairwise(points: tf.Tensor) -> tf.Tensor:
    """Distances between all points [batch, points, points]."""
    points -= tf.reduce_mean(points, 1, keepdims=True)
    power = tf.reduce_sum(tf.square(points), -1, keepdims=True)
    product = tf.matmul(points, points, transpose_b=True)
    squares = power + tf.linalg.matrix_transpose(power) - 2 * product
    count = tf.shape(squares)[:2]
    squares = tf.linalg.set_diag(squares, tf.zeros(count, squares.dtype))
    return tf.sqrt(tf.maximum(squares, 0))
