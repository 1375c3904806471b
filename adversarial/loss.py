"""Losses of the separator and its critics.

Every loss has one value for each example. Their mean over a batch is the loss of the
batch; divided by the number of replicas it adds up over them.

[1] Stoller, Ewert, Dixon: Adversarial semi-supervised audio source separation applied
to singing voice extraction, ICASSP 2018.

[2] Gulrajani et al.: Improved Training of Wasserstein GANs, NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The square root has no derivative at 0, the gradient norm of a critic that has died.
LEAST_SQUARE = 1e-12


def supervised(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    r"""Mean squared error of log magnitudes, summed over the sources [1].

    .. math:: L_s = \sum_k \frac 1 {FT} \sum_{f,t} (\hat s_k - s_k)^2

    Args:
        estimates: ln(1 + magnitude) [batch, sources, bins, frames, 1].
        sources: The references, of the same shape.

    Returns:
        Loss [batch].

    >>> float(supervised(tf.zeros([1, 2, 3, 4, 1]), 2 * tf.ones([1, 2, 3, 4, 1]))[0])
    8.0
    """
    return tf.reduce_mean(supervised_by_frame(estimates, sources), 1)


def supervised_by_frame(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Compute :func:`supervised` of each frame.

    Args:
        estimates: ln(1 + magnitude) [batch, sources, bins, frames, 1].
        sources: The references, of the same shape.

    Returns:
        Loss [batch, frames].

    >>> image = tf.zeros([1, 2, 3, 4, 1])
    >>> supervised_by_frame(image, image + 1).numpy().tolist()
    [[2.0, 2.0, 2.0, 2.0]]
    """
    squares = tf.math.squared_difference(estimates, sources)
    return tf.reduce_sum(tf.reduce_mean(squares, [2, 4]), 1)


def additivity(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    r"""Mean squared error of the sum of the estimates as the mixture [1].

    .. math:: L_{add} = \frac 1 {FT} \sum_{f,t} (M - \sum_k (e^{\hat s_k} - 1))^2

    Args:
        estimates: ln(1 + magnitude) [batch, sources, bins, frames, 1].
        mixture: Linear magnitude of the mixture [batch, bins, frames, 1].

    Returns:
        Loss [batch].

    >>> float(additivity(tf.zeros([1, 2, 3, 4, 1]), 2 * tf.ones([1, 3, 4, 1]))[0])
    4.0
    """
    total = tf.reduce_sum(tf.math.expm1(estimates), 1)
    return tf.reduce_mean(tf.math.squared_difference(total, mixture), [1, 2, 3])


def adversarial(*scores: tf.Tensor) -> tf.Tensor:
    r"""Adversarial loss of the separator: the negative scores of its estimates [1].

    .. math:: L_u = -\sum_k D_k(\hat s_k)

    Args:
        scores: Scores [batch] of the estimates by the critic of each source.

    Returns:
        Loss [batch].

    >>> adversarial(tf.constant([1.0]), tf.constant([3.0])).numpy().tolist()
    [-4.0]
    """
    return -tf.add_n(scores)


def critic_loss(real: tf.Tensor, estimated: tf.Tensor) -> tf.Tensor:
    r"""Wasserstein loss of a critic, without its gradient penalty [2].

    .. math:: D(\hat s) - D(s)

    Args:
        real: Scores [batch] of real examples.
        estimated: Scores [batch] of estimates.

    Returns:
        Loss [batch].

    >>> one = tf.ones([1])
    >>> float(critic_loss(3 * one, one)[0])
    -2.0
    """
    return estimated - real


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tf.Tensor:
    r"""One-sided gradient penalty of a critic [1, 2].

    .. math:: P = \max(\sqrt{\|\nabla_x D(x)\|^2 + 10^{-12}} - 1, 0)^2

    Args:
        critic: From images to scores [batch].
        images: Images [batch, bins, frames, 1], see :func:`interpolate`.

    Returns:
        Penalty [batch].

    >>> critic = lambda images: 3.0 * tf.reduce_sum(images, [1, 2, 3])
    >>> gradient_penalty(critic, tf.zeros([2, 1, 1, 1])).numpy().tolist()
    [4.0, 4.0]
    """
    return tf.square(tf.maximum(gradient_norm(critic, images) - 1.0, 0.0))


def gradient_norm(
    critic: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tf.Tensor:
    """Compute the norm of the gradient of a critic with respect to its images.

    Args:
        critic: From images to scores [batch].
        images: Images [batch, bins, frames, 1].

    Returns:
        Norm [batch], at least 1e-6.

    >>> critic = lambda images: 3.0 * tf.reduce_sum(images, [1, 2, 3])
    >>> gradient_norm(critic, tf.zeros([1, 2, 2, 1])).numpy().tolist()
    [6.0]
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        scores = critic(images)
    gradient: Any = tape.gradient(scores, images)
    return tf.sqrt(tf.reduce_sum(tf.square(gradient), [1, 2, 3]) + LEAST_SQUARE)


def interpolate(real: tf.Tensor, estimated: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    r"""Interpolate between real examples and estimates [2].

    .. math:: s + \epsilon (\hat s - s)

    The pairs must be random: both come from streams of their own.

    Args:
        real: Real examples [batch, bins, frames, 1].
        estimated: Estimates of the same shape.
        epsilon: Weight of the estimate [batch], 0 to 1.

    Returns:
        The interpolated images, of the same shape.

    >>> image = tf.ones([1, 1, 1, 1])
    >>> float(interpolate(image, 5 * image, tf.constant([0.25]))[0, 0, 0, 0])
    2.0
    """
    return real + epsilon[:, tf.newaxis, tf.newaxis, tf.newaxis] * (estimated - real)
