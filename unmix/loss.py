"""Losses: magnitudes of one target, or waveforms of all.

[1] Stöter, Uhlich, Liutkus and Mitsufuji, Open-Unmix - A Reference Implementation for
Music Source Separation, JOSS 4 (41), 2019.
[2] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training, 2020.
"""

from __future__ import annotations

import math

import tensorflow as tf

# Energy below this fraction of the mixture's counts as zero, -30 dB as in [2].
FLOOR = 1e-3
# Energy of a sample of digital silence, -120 dB.
LEAST_POWER = 1e-12


def spectrogram_loss(estimate: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of magnitudes, the loss of [1].

    The mean over a batch is the mean over all its elements; divided by the number of
    replicas it adds up over them.

    Args:
        estimate: Estimated magnitudes [batch, channels, frames, bins].
        target: Magnitudes of the target, of the same shape.

    Returns:
        Loss [batch].

    >>> estimate = tf.constant([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    >>> spectrogram_loss(estimate, tf.ones([2, 1, 1, 2])).numpy().tolist()
    [0.5, 1.0]
    """
    return tf.reduce_mean(tf.math.squared_difference(estimate, target), [-3, -2, -1])


def waveform_loss(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    r"""Negative signal-to-distortion ratio of waveforms, in dB.

    .. math:: \frac 1 S \sum_s 10 \log_{10}
        \frac{\|e_s - y_s\|^2 + f}{\|y_s\|^2 + f}, \quad f = 10^{-3} \|\sum_s y_s\|^2

    The mean over the targets gives quiet ones the same weight as loud ones. The floor
    f, after [2], keeps the loss finite for silent targets. The original trains only on
    magnitudes; this loss is for ``end_to_end``.

    Args:
        estimates: Waveforms [batch, targets, channels, samples].
        sources: True waveforms, of the same shape.

    Returns:
        Loss [batch]: 0 for silence, -30 at best for a target as loud as the mixture.

    >>> tone = tf.sin(tf.range(100.0))[tf.newaxis, tf.newaxis, tf.newaxis]
    >>> round(float(waveform_loss(0.9 * tone, tone)[0]), 1)
    -19.6
    """
    whole = tf.reduce_sum(sources, axis=1, keepdims=True)
    floor = FLOOR * _energy(whole) + LEAST_POWER * _count(sources)
    noise = _energy(estimates - sources) + floor
    ratio = tf.math.log(noise) - tf.math.log(_energy(sources) + floor)
    return 10.0 / math.log(10.0) * tf.reduce_mean(ratio, axis=-1)


def _energy(waveforms: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(waveforms), axis=[-2, -1])


def _count(waveforms: tf.Tensor) -> tf.Tensor:
    """Number of samples of all channels of one source."""
    return tf.cast(tf.reduce_prod(tf.shape(waveforms)[-2:]), waveforms.dtype)
