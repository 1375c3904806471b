"""From embeddings to masks: cluster the loud points, then share out all of them.

Hershey et al., Deep clustering, ICASSP 2016, with the soft masks of nussl, in version 1
and as it was in 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import tensorflow as tf

from clustering import gaussian_mixture
from clustering.gaussian_mixture import GaussianMixture
from clustering.kmeans import Seed, distances, kmeans
from clustering.targets import vad

Method = Literal["kmeans", "gmm"]
MaskKind = Literal["soft", "binary", "posterior"]
Model = tf.Tensor | GaussianMixture
"""Centroids, float32 [batch, sources, dim], or a mixture of Gaussians."""


@dataclass(frozen=True)
class Clustering:
    """How masks are made of embeddings.

    Attributes:
        sources: How many masks.
        method: ``"kmeans"``, or ``"gmm"``, Gaussians with full covariances, whose
            responsibilities are the masks.
        percentile: Points are clustered if their magnitude is not below this percentile
            of the item, 0 to 100; 0 takes all. See :func:`loudest`.
        within_db: Of these, points are clustered that are less than so many dB below
            the loudest of the item, as the weight ``"vad"`` of training has it; none:
            all of them.
        mask: Of k-means: see :func:`soft_masks`, :func:`posterior_masks` and
            :func:`binary_masks`. A mixture has the last one, or its responsibilities.
        beta: How fast soft and posterior masks fall with the distance, above 0.
        restarts: Beginnings of k-means.
        weighted: Let points count by their magnitude.
        order_by_size: Put the source with the largest mask first.

    Raises:
        ValueError: If a value is none of these.
    """

    sources: int = 2
    method: Method = "kmeans"
    percentile: float = 90.0
    within_db: float | None = None
    mask: MaskKind = "soft"
    beta: float = 5.0
    restarts: int = 1
    weighted: bool = False
    order_by_size: bool = True

    def __post_init__(self) -> None:
        for name, kinds in (("method", Method), ("mask", MaskKind)):
            value, known = getattr(self, name), get_args(kinds)
            if value not in known:
                raise ValueError(
                    f"{name} is {value!r}; expected one of {', '.join(known)}"
                )
        for name in ("sources", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        _check_percentile(self.percentile)
        if self.within_db is not None and not self.within_db > 0:
            raise ValueError(
                f"within_db is {self.within_db}; expected none or a number above 0"
            )
        if not self.beta > 0:
            raise ValueError(f"beta is {self.beta}; expected a number above 0")


class Clustered(NamedTuple):
    """Masks, float32 [batch, sources, frames, bins], and the model they are of."""

    masks: tf.Tensor
    model: Model


def cluster(
    embedding: tf.Tensor,
    magnitude: tf.Tensor,
    params: Clustering,
    seed: Seed = (0, 0),
) -> Clustered:
    """Find the sources of each item and their masks.

    Channels that shall have the same sources go one after another among the frames;
    along the batch each channel has sources, and an order, of its own.

    Args:
        embedding: float32 [batch, points, dim], points = frames * bins, bins fastest.
        magnitude: Of the mixture, float32 [batch, frames, bins], not negative.
        params: How.
        seed: Two integers; the same ones give the same masks.

    Returns:
        Masks of sum 1 over the sources, and the model in their order, which makes the
        masks of further blocks with :func:`masks`.

    Raises:
        ValueError: If the shapes do not fit.

    >>> embedding = [[[0.0], [0.1], [9.0], [0.0]]]
    >>> params = Clustering(percentile=0.0, mask="binary")
    >>> cluster(embedding, tf.ones([1, 2, 2]), params).masks.numpy().tolist()
    [[[[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]]]
    """
    embedding, magnitude = _checked(embedding, magnitude)
    flat = tf.reshape(magnitude, tf.shape(embedding)[:2])
    places = loudest(flat, params.percentile)
    points = tf.gather(embedding, places, batch_dims=1)
    weights = _weights(magnitude, flat, params)
    if weights is not None:
        weights = tf.gather(weights, places, batch_dims=1)
    model: Model
    if params.method == "gmm":
        model = gaussian_mixture.fit(points, params.sources, weights, seed=seed)
    else:
        model = kmeans(
            points, params.sources, weights, seed=seed, restarts=params.restarts
        ).centroids
    found = masks(embedding, magnitude, model, params)
    if not params.order_by_size:
        return Clustered(found, model)
    order = tf.argsort(tf.reduce_sum(found, [2, 3]), -1, "DESCENDING", stable=True)
    return Clustered(tf.gather(found, order, batch_dims=1), _ordered(model, order))


def masks(
    embedding: tf.Tensor, magnitude: tf.Tensor, model: Model, params: Clustering
) -> tf.Tensor:
    """Make the masks of a model that is known, in its order.

    Args:
        embedding: float32 [batch, points, dim], points = frames * bins.
        magnitude: float32 [batch, frames, bins], of which only the shape counts.
        model: Centroids [batch or 1, sources, dim] or a mixture, from :func:`cluster`.
        params: ``mask`` and ``beta`` of them.

    Returns:
        float32 [batch, sources, frames, bins], of sum 1 over the sources.

    Raises:
        ValueError: If the shapes do not fit.

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
    """Share points out by exp(-beta d) + 1e-8, divided by its sum over the sources.

    That is nussl 1: what is far from all sources is shared out equally.

    Args:
        away: Distances, float32 [batch, sources, points].
        beta: How fast they fall.

    Returns:
        float32 [batch, sources, points], of sum 1 over the sources.

    >>> soft_masks([[[0.0], [100.0]]]).numpy().round(4).tolist()
    [[[1.0], [0.0]]]
    """
    near = tf.exp(-beta * tf.convert_to_tensor(away)) + 1e-8
    return near / tf.reduce_sum(near, 1, keepdims=True)


def posterior_masks(away: tf.Tensor, alpha: float = 5.0) -> tf.Tensor:
    """Share points out by exp(-alpha d), divided by its sum over the sources.

    That is nussl of 2019: what is far from all sources goes to the nearest.

    Args:
        away: Distances, float32 [batch, sources, points].
        alpha: How fast they fall.

    Returns:
        float32 [batch, sources, points], of sum 1 over the sources.

    >>> posterior_masks([[[800.0], [1000.0]]]).numpy().tolist()
    [[[1.0], [0.0]]]
    """
    away = tf.convert_to_tensor(away)
    near = tf.exp(-alpha * (away - tf.reduce_min(away, 1, keepdims=True)))
    return near / tf.reduce_sum(near, 1, keepdims=True)


def binary_masks(away: tf.Tensor) -> tf.Tensor:
    """Give every point to its nearest source, the first of equally near ones.

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
    of points: of equal magnitudes at the threshold the first ones are taken, where
    nussl takes all of them, which in silence would be all points.

    Args:
        magnitude: float32 [batch, points].
        percentile: 0 to 100; 0 takes all points.

    Returns:
        Places of the points, int32 [batch, count], in no particular order.

    Raises:
        ValueError: If the percentile is out of range.

    >>> sorted(loudest([[5.0, 1.0, 3.0, 4.0, 2.0]], 50.0).numpy()[0].tolist())
    [0, 2, 3]
    """
    _check_percentile(percentile)
    magnitude = tf.convert_to_tensor(magnitude)
    total = tf.shape(magnitude)[1]
    if percentile == 0:
        return tf.range(total)[tf.newaxis] + tf.zeros_like(magnitude, tf.int32)
    place = tf.cast(total - 1, tf.float64) * (percentile / 100)
    # A product such as 0.9 * 10 may come out a little above the whole number.
    below = tf.cast(tf.math.ceil(place - 1e-6), tf.int32)
    return tf.math.top_k(magnitude, total - below, sorted=False)[1]


def _weights(
    magnitude: tf.Tensor, flat: tf.Tensor, params: Clustering
) -> tf.Tensor | None:
    """What points count, [batch, points]: 0 leaves one out; none: all count alike."""
    weights = flat if params.weighted else None
    if params.within_db is None:
        return weights
    near = vad(magnitude, params.within_db)
    return near if weights is None else near * weights


def _ordered(model: Model, order: tf.Tensor) -> Model:
    if isinstance(model, GaussianMixture):
        return GaussianMixture(
            *(tf.gather(each, order, batch_dims=1) for each in model)
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


def _check_percentile(percentile: float) -> None:
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile}; expected 0 to 100")
