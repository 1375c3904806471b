"""Compute masks from embeddings: cluster the loud points, then mask all points.

Hershey et al., Deep clustering, ICASSP 2016, with the soft masks of nussl, of version 1
and of 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from clustering.clusterers import gaussian_mixture
from clustering.clusterers.gaussian_mixture import GaussianMixture
from clustering.clusterers.kmeans import distances, kmeans
from clustering.config import Clustering
from clustering.losses.targets import vad

Model = tf.Tensor | GaussianMixture
"""Centroids, float32 [batch, sources, dim], or a mixture of Gaussians."""


class Clustered(NamedTuple):
    """Masks, float32 [batch, sources, frames, bins], and their model."""

    masks: tf.Tensor
    model: Model


def cluster(
    embedding: tf.Tensor, magnitude: tf.Tensor, params: Clustering
) -> Clustered:
    """Find the sources of each item and their masks.

    To separate several channels into the same sources, concatenate their frames. As
    items of a batch, channels have independent sources and orders.

    Args:
        embedding: float32 [batch, points, dim], points = frames * bins, bins fastest.
        magnitude: Magnitude of the mixture, float32 [batch, frames, bins].
        params: Options.

    Returns:
        Masks of sum 1 over the sources, the same in each call, and the model in their
        order.

    Raises:
        ValueError: The shapes do not fit.

    >>> embedding = [[[0.0], [0.1], [9.0], [0.0]]]
    >>> params = Clustering(percentile=0.0, mask="binary")
    >>> cluster(embedding, tf.ones([1, 2, 2]), params).masks.numpy().tolist()
    [[[[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]]]
    """
    embedding, magnitude = _checked(embedding, magnitude)
    flat = tf.reshape(magnitude, tf.shape(embedding)[:2])
    indices = loudest(flat, params.percentile)
    points = tf.gather(embedding, indices, batch_dims=1)
    weights = _weights(magnitude, flat, params)
    if weights is not None:
        weights = tf.gather(weights, indices, batch_dims=1)
    model: Model
    if params.method == "gmm":
        model = gaussian_mixture.fit(points, params.sources, weights)
    else:
        model = kmeans(
            points, params.sources, weights, restarts=params.restarts
        ).centroids
    unordered = masks(embedding, magnitude, model, params)
    if not params.order_by_size:
        return Clustered(unordered, model)
    sizes = tf.reduce_sum(unordered, [2, 3])
    order = tf.argsort(sizes, -1, "DESCENDING", stable=True)
    return Clustered(tf.gather(unordered, order, batch_dims=1), _ordered(model, order))


def masks(
    embedding: tf.Tensor, magnitude: tf.Tensor, model: Model, params: Clustering
) -> tf.Tensor:
    """Make the masks of a fitted model, in its order.

    Args:
        embedding: float32 [batch, points, dim], points = frames * bins.
        magnitude: float32 [batch, frames, bins], only for its shape.
        model: Centroids [batch or 1, sources, dim] or a mixture, from :func:`cluster`.
        params: Options, of which ``mask`` and ``beta`` are used.

    Returns:
        float32 [batch, sources, frames, bins], of sum 1 over the sources.

    Raises:
        ValueError: The shapes do not fit.

    >>> embedding, centroids = [[[0.0], [0.5]]], [[[0.0], [40.0]]]
    >>> masks(embedding, [[[1.0, 1.0]]], centroids, Clustering()).shape.as_list()
    [1, 2, 1, 2]
    """
    embedding, magnitude = _checked(embedding, magnitude)
    if isinstance(model, GaussianMixture):
        flat = gaussian_mixture.responsibilities(model, embedding)
        flat = binary_masks(-flat) if params.mask == "binary" else flat
    else:
        away = distances(embedding, model)
        if params.mask == "binary":
            flat = binary_masks(away)
        elif params.mask == "soft":
            flat = soft_masks(away, params.beta)
        else:
            flat = posterior_masks(away, params.beta)
    shape = tf.shape(magnitude)
    size = [shape[0], flat.shape[1] or tf.shape(flat)[1], shape[1], shape[2]]
    return tf.reshape(flat, size)


def soft_masks(away: tf.Tensor, beta: float = 5.0) -> tf.Tensor:
    """Compute exp(-beta d) + 1e-8, divided by its sum over the sources.

    As in nussl 1, a point far from all sources belongs to all of them equally.

    Args:
        away: Distances, float32 [batch, sources, points].
        beta: Decay with the distance.

    Returns:
        float32 [batch, sources, points], of sum 1 over the sources.

    >>> soft_masks([[[0.0], [100.0]]]).numpy().round(4).tolist()
    [[[1.0], [0.0]]]
    """
    near = tf.exp(-beta * tf.convert_to_tensor(away)) + 1e-8
    return near / tf.reduce_sum(near, 1, keepdims=True)


def posterior_masks(away: tf.Tensor, alpha: float = 5.0) -> tf.Tensor:
    """Compute exp(-alpha d), divided by its sum over the sources.

    As in nussl of 2019, a point far from all sources belongs to the nearest.

    Args:
        away: Distances, float32 [batch, sources, points].
        alpha: Decay with the distance.

    Returns:
        float32 [batch, sources, points], of sum 1 over the sources.

    >>> posterior_masks([[[800.0], [1000.0]]]).numpy().tolist()
    [[[1.0], [0.0]]]
    """
    away = tf.convert_to_tensor(away)
    near = tf.exp(-alpha * (away - tf.reduce_min(away, 1, keepdims=True)))
    return near / tf.reduce_sum(near, 1, keepdims=True)


def binary_masks(away: tf.Tensor) -> tf.Tensor:
    """Assign every point to its nearest source, the first of equally near ones.

    Args:
        away: Distances, float32 [batch, sources, points].

    Returns:
        float32 [batch, sources, points], one 1 for each point.

    >>> binary_masks([[[0.5, 3.0], [0.5, 1.0]]]).numpy().tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    away = tf.convert_to_tensor(away)
    sources = away.shape[1] or tf.shape(away)[1]
    return tf.one_hot(tf.argmin(away, 1), sources, axis=1)


def loudest(magnitude: tf.Tensor, percentile: float) -> tf.Tensor:
    """Find the points whose magnitude is not below a percentile of their item.

    The percentile is interpolated linearly, as by numpy. Every item has the same number
    of points: of equal magnitudes at the threshold the first ones are taken, while
    nussl takes all of them, which in silence are all points.

    Args:
        magnitude: float32 [batch, points].
        percentile: 0 to 100; 0 takes all points.

    Returns:
        Ascending indices of the points, int32 [batch, count].

    >>> loudest([[5.0, 1.0, 3.0, 4.0, 2.0]], 50.0).numpy()[0].tolist()
    [0, 2, 3]
    """
    magnitude = tf.convert_to_tensor(magnitude)
    total = tf.shape(magnitude)[1]
    if percentile == 0:
        return tf.range(total)[tf.newaxis] + tf.zeros_like(magnitude, tf.int32)
    position = tf.cast(total - 1, tf.float64) * (percentile / 100)
    # A product such as 0.9 * 10 may be slightly above the integer.
    below = tf.cast(tf.math.ceil(position - 1e-6), tf.int32)
    # Sorted, so that random draws from them do not depend on the order of the kernel,
    # which differs between versions and devices.
    return tf.sort(tf.math.top_k(magnitude, total - below, sorted=False)[1])


def _weights(
    magnitude: tf.Tensor, flat: tf.Tensor, params: Clustering
) -> tf.Tensor | None:
    """Weights of the points [batch, points], 0 to leave one out; none: all equal."""
    weights = flat if params.weighted else None
    if params.within_db is None:
        return weights
    near = vad(magnitude, params.within_db)
    return near if weights is None else near * weights


def _ordered(model: Model, order: tf.Tensor) -> Model:
    if isinstance(model, GaussianMixture):
        return GaussianMixture(
            *(tf.gather(tensor, order, batch_dims=1) for tensor in model)
        )
    return tf.gather(model, order, batch_dims=1)


def _checked(embedding: tf.Tensor, magnitude: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    embedding, magnitude = map(tf.convert_to_tensor, (embedding, magnitude))
    if embedding.shape.rank != 3 or magnitude.shape.rank != 3:
        raise ValueError(
            f"the embedding has shape {embedding.shape} and the magnitude "
            f"{magnitude.shape}; expected [batch, points, dim] and [batch, frames, "
            "bins]"
        )
    points = magnitude.shape[1:].num_elements()
    if None not in (points, embedding.shape[1]) and points != embedding.shape[1]:
        raise ValueError(
            f"the embedding has {embedding.shape[1]} points and the magnitude "
            f"{magnitude.shape[1]} frames of {magnitude.shape[2]} bins; expected a "
            "point for each bin of each frame"
        )
    return embedding, magnitude
