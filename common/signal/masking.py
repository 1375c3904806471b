"""Time-frequency masks from magnitudes, and estimates that sum to the mixture."""

from __future__ import annotations

import tensorflow as tf


def ratio_mask(
    magnitudes: tf.Tensor, power: float = 1.0, floor: float = 1e-10
) -> tf.Tensor:
    r"""Compute ratio masks, which divide each bin in proportion to the magnitudes.

    .. math:: m_s = \frac{|X_s|^p}{floor + \sum_k |X_k|^p}

    Args:
        magnitudes: float32 [..., sources, frames, bins], not negative.
        power: Exponent p: 1 for amplitudes, 2 for powers (a Wiener filter).
        floor: Added to the sum, so that silent bins get masks of zero.

    Returns:
        float32 [..., sources, frames, bins] in [0, 1].

    >>> ratio_mask(tf.constant([[[3.0]], [[1.0]]])).numpy().ravel().tolist()
    [0.75, 0.25]
    """
    powered = tf.pow(tf.convert_to_tensor(magnitudes), power)
    return powered / (floor + tf.reduce_sum(powered, -3, keepdims=True))


def binary_mask(magnitudes: tf.Tensor) -> tf.Tensor:
    """Compute binary masks, which assign each bin to its single loudest source.

    Args:
        magnitudes: float32 [..., sources, frames, bins], not negative.

    Returns:
        float32 [..., sources, frames, bins], one-hot over sources; all zeros where
        several sources are equally loud, silence included.

    >>> binary_mask(tf.constant([[[3.0, 0.0]], [[1.0, 0.0]]])).numpy().tolist()
    [[[1.0, 0.0]], [[0.0, 0.0]]]
    """
    magnitudes = tf.convert_to_tensor(magnitudes)
    loudest = tf.reduce_max(magnitudes, -3, keepdims=True)
    winners = (magnitudes == loudest) & (loudest > 0)
    alone = tf.reduce_sum(tf.cast(winners, tf.int32), -3, keepdims=True) == 1
    return tf.cast(winners & alone, magnitudes.dtype)


def mixture_consistency(
    mixture: tf.Tensor, estimates: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Make estimates sum to the mixture by the smallest change (mixture consistency).

    out_s = e_s + w_s (x - sum_k e_k), Wisdom et al., "Differentiable consistency
    constraints for improved deep speech enhancement" (2019), eq. (10).

    Args:
        mixture: float32 [..., samples].
        estimates: float32 [..., sources, samples].
        weights: float32 [..., sources], the fraction of the difference that is added
            to each source; they sum to 1. None means equal fractions.

    Returns:
        float32 [..., sources, samples].

    >>> mixture_consistency([4.0], [[1.0], [2.0]]).numpy().tolist()
    [[1.5], [2.5]]
    """
    mixture = tf.convert_to_tensor(mixture)
    estimates = tf.convert_to_tensor(estimates)
    missing = mixture - tf.reduce_sum(estimates, -2)
    if weights is None:
        fractions = 1.0 / tf.cast(tf.shape(estimates)[-2], estimates.dtype)
    else:
        fractions = tf.expand_dims(weights, -1)
    return estimates + fractions * tf.expand_dims(missing, -2)
