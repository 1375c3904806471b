"""Signal-to-distortion ratios that stay finite for silent and for perfect estimates.

Le Roux et al., "SDR: half-baked or well done?" (2019). Both are the definitions that
the MixIT code reports as ``snr_residual`` and ``snr_gain_invariant``.
"""

from __future__ import annotations

import tensorflow as tf

EPSILON = 1e-8
"""Power that is added to signal and to noise: -80 dB of full scale."""

NEARLY_EQUAL = 0.01
"""Distance from 1 - c^2 below which the noise is summed instead, for its digits."""


def sdr(reference: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
    """Compute the signal-to-distortion ratio (SDR), or SNR, of an estimate.

    10 log10((mean t^2 + 1e-8) / (mean (t - e)^2 + 1e-8))

    Args:
        reference: float32 [..., samples], full scale +-1.
        estimate: float32 [..., samples].

    Returns:
        float32 [...] in dB; 0 for a silent estimate of a sound far above -80 dB.

    >>> round(float(sdr([1.0, -1.0], [0.9, -0.9])), 3)
    20.0
    """
    reference = tf.convert_to_tensor(reference)
    difference = reference - estimate
    signal = tf.reduce_mean(tf.square(reference), -1) + EPSILON
    return _decibel(signal / (tf.reduce_mean(tf.square(difference), -1) + EPSILON))


def si_sdr(
    reference: tf.Tensor, estimate: tf.Tensor, zero_mean: bool = False
) -> tf.Tensor:
    r"""Compute the scale-invariant SDR of an estimate, whatever its gain.

    With both signals at unit norm and their inner product c:

    .. math:: 10 \log_{10} \frac{c^2 + 10^{-8}}{\|e - c t\|^2 + 10^{-8}},
        \quad \|e - c t\|^2 = 1 - c^2

    Args:
        reference: float32 [..., samples].
        estimate: float32 [..., samples].
        zero_mean: Remove the mean of both signals first.

    Returns:
        float32 [...] in dB, within +-80; -80 where either signal is silent.

    >>> round(float(si_sdr([1.0, -1.0, 0.0, 0.0], [3.0, -3.0, 0.6, 0.0])), 2)
    16.99
    """
    unit_reference = _unit_norm(tf.convert_to_tensor(reference), zero_mean)
    unit_estimate = _unit_norm(tf.convert_to_tensor(estimate), zero_mean)
    cosine = tf.reduce_sum(unit_reference * unit_estimate, -1, keepdims=True)
    signal = tf.square(tf.squeeze(cosine, -1))
    summed = tf.reduce_sum(tf.square(unit_estimate - cosine * unit_reference), -1)
    noise = tf.where(1 - signal >= NEARLY_EQUAL, 1 - signal, summed)
    # Without this a silent estimate would have no noise either, and score 0 dB.
    noise = tf.where(_is_silent(unit_reference) | _is_silent(unit_estimate), 1.0, noise)
    return _decibel((signal + EPSILON) / (noise + EPSILON))


def _unit_norm(signal: tf.Tensor, zero_mean: bool) -> tf.Tensor:
    if zero_mean:
        signal = signal - tf.reduce_mean(signal, -1, keepdims=True)
    energy = tf.reduce_sum(tf.square(signal), -1, keepdims=True)
    return signal * tf.math.rsqrt(tf.maximum(energy, 1e-16))


def _is_silent(unit: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(unit == 0, -1)


def _decibel(ratio: tf.Tensor) -> tf.Tensor:
    return 10 / tf.math.log(10.0) * tf.math.log(ratio)
