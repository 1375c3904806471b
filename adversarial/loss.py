"""What the separator and its critics are trained for.

Every loss is one number for each example, so that the mean over a batch is the loss of
the batch, and replicas add up when it is divided by their number.

[1] Stoller, Ewert, Dixon: Adversarial semi-supervised audio source separation applied
    to singing voice extraction, ICASSP 2018.
[2] Gulrajani et al.: Improved Training of Wasserstein GANs, NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The root has no derivative at 0, which is where a critic that has died has its norm.
LEAST_SQUARE = 1e-12


def supervised(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    r"""Mean squared difference of logarithmic magnitudes, added over the sources [1].

    .. math:: L_s = \sum_k \frac 1 {FT} \sum_{f,t} (\hat s_k - s_k)^2

    Args:
        estimates: ln(1 + magnitude) [batch, sources, bins, frames, 1].
        sources: The true ones, of the same shape.

    Returns:
        Loss [batch].

    >>> float(supervised(tf.zeros([1, 2, 3, 4, 1]), 2 * tf.ones([1, 2, 3, 4, 1]))[0])
    8.0
    """
    return tf.reduce_mean(by_frame(estimates, sources), 1)


def by_frame(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Measure what :func:`supervised` averages, frame by frame.

    Args:
        estimates: ln(1 + magnitude) [batch, sources, bins, frames, 1].
        sources: The true ones, of the same shape.

    Returns:
        Loss [batch, frames].
    """
    squares = tf.math.squared_difference(estimates, sources)
    return tf.reduce_sum(tf.reduce_mean(squares, [2, 4]), 1)


def additivity(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    r"""Mean squared difference of the mixture and the sum of the estimates [1].

    .. math:: L_{add} = \frac 1 {FT} \sum_{f,t} (M - \sum_k (e^{\hat s_k} - 1))^2

    Args:
        estimates: ln(1 + magnitude) [batch, sources, bins, frames, 1].
        mixture: Linear magnitude of the mixture [batch, bins, frames, 1].

    Returns:
        Loss [batch].

    >>> float(additivity(tf.zeros([1, 2, 3, 4, 1]), 2 * tf.ones([1, 3, 4, 1]))[0])
    4.0
    """
    together = tf.reduce_sum(tf.math.expm1(estimates), 1)
    return tf.reduce_mean(tf.math.squared_difference(together, mixture), [1, 2, 3])


def adversarial(*scores: tf.Tensor) -> tf.Tensor:
    r"""How little the critics take the estimates for real sources [1].

    .. math:: L_u = -\sum_k D_k(\hat s_k)

    Args:
        scores: Scores [batch] of the estimates by the critic of each source.

    Returns:
        Loss [batch].

    >>> adversarial(tf.constant([1.0]), tf.constant([3.0])).numpy().tolist()
    [-4.0]
    """
    return -tf.add_n(scores)


def critic(real: tf.Tensor, estimated: tf.Tensor) -> tf.Tensor:
    r"""How badly a critic tells real from estimated examples [2].

    .. math:: D(\hat s) - D(s)

    Training adds the weighted :func:`penalty`.

    Args:
        real: Scores [batch] of real examples.
        estimated: Scores [batch] of estimates.

    Returns:
        Loss [batch].

    >>> one = tf.ones([1])
    >>> float(critic(3 * one, one)[0])
    -2.0
    """
    return estimated - real


def penalty(critic: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    r"""Steepness of a critic above 1, squared [2], on one side only [1].

    .. math:: P = \max(\sqrt{\|\nabla_x D(x)\|^2 + 10^{-12}} - 1, 0)^2

    Args:
        critic: From images to scores [batch].
        images: Where it is measured [batch, bins, frames, 1]; see :func:`between`.

    Returns:
        Penalty [batch].

    >>> steep = lambda images: 3.0 * tf.reduce_sum(images, [1, 2, 3])
    >>> penalty(steep, tf.zeros([2, 1, 1, 1])).numpy().tolist()
    [4.0, 4.0]
    """
    return tf.square(tf.maximum(steepness(critic, images) - 1.0, 0.0))


def steepness(critic: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Measure the norm of the gradient of a critic by its images.

    Args:
        critic: From images to scores [batch].
        images: Where it is measured [batch, bins, frames, 1].

    Returns:
        Norm [batch], never quite 0.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        scores = critic(images)
    gradient: Any = tape.gradient(scores, images)
    return tf.sqrt(tf.reduce_sum(tf.square(gradient), [1, 2, 3]) + LEAST_SQUARE)


def between(real: tf.Tensor, estimated: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    r"""Mix each real example with an estimate, :math:`s + e (\hat s - s)` [2].

    The pairs must be random: both come from streams of their own.

    Args:
        real: Real examples [batch, bins, frames, 1].
        estimated: Estimates of the same shape.
        shares: Share e of the estimate [batch], 0 to 1.

    Returns:
        The mixtures, of the same shape.

    >>> image = tf.ones([1, 1, 1, 1])
    >>> float(between(image, 5 * image, tf.constant([0.25]))[0, 0, 0, 0])
    2.0
    """
    return real + shares[:, tf.newaxis, tf.newaxis, tf.newaxis] * (estimated - real)
