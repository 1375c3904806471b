"""The supervised loss of the FUSS baseline: permutation invariant, silence included.

[1] Wisdom et al., What's All the FUSS About Free Universal Sound Separation Data?,
ICASSP 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from common.signal.permutation import permute
from mixit.alignment import log_mse, order
from mixit.loss import decibels
from mixit.metrics import ACTIVE_RMS, pad_sources

MAX_SNR = 30.0
SILENT_SNR = 20.0


def supervised(
    references: tf.Tensor,
    estimates: tf.Tensor,
    mixture: tf.Tensor,
    zero_weight: float = 1.0,
    types: Sequence[str] | None = None,
) -> tf.Tensor:
    r"""Compare estimates with references in the order that fits best.

    .. math:: \frac 1 S \sum_s 10 \log_{10}(\|r_s - e_s\|^2 + 10^{-3} \|r_s\|^2
        + 10^{-8})

    for references that sound; where a reference is silent, its term is
    10 log10(\|e_s\|^2 + 10^-2 \|x\|^2 + 10^-8) with the mixture x. The order is found
    without the floors of 30 and 20 dB, silent references included, as in [1]'s
    program. That one leaves silent references out if no reference of the whole batch
    sounds; here the loss of an example does not depend on the others, and they count.

    Args:
        references: Sources [batch, references, samples]; missing ones are silent.
        estimates: Estimates [batch, sources, samples], at least as many.
        mixture: Mixtures [batch, samples].
        zero_weight: Weight of the terms of silent references.
        types: Type of each source, such as speech or noise: only sources of the same
            type change places. None: all may.

    Returns:
        Loss [batch] in dB, which depends on the level of the sources.

    Raises:
        ValueError: There are more references than estimates, or not as many types as
            estimates.

    >>> voices = tf.constant([[[0.5, -0.5, 0.0], [0.0, 0.5, -0.5]]])
    >>> loss = supervised(voices, voices[:, ::-1], tf.reduce_sum(voices, axis=1))
    >>> round(float(loss[0]), 2)  # 30 dB below the sources
    -33.01
    """
    references = pad_sources(references, estimates.shape[1] or 0)
    chosen = order(log_mse(references, estimates, math.inf), types)
    error = tf.reduce_sum(tf.square(references - permute(estimates, chosen)), axis=-1)
    power = tf.reduce_sum(tf.square(references), axis=-1)
    whole = tf.reduce_sum(tf.square(mixture), axis=-1, keepdims=True)
    silent = tf.sqrt(tf.reduce_mean(tf.square(references), axis=-1)) <= ACTIVE_RMS
    floor = tf.where(silent, _share(SILENT_SNR) * whole, _share(MAX_SNR) * power)
    terms = decibels(error + floor)
    # Zero times a term that is not finite is not zero.
    weighed = zero_weight * terms if zero_weight else tf.zeros_like(terms)
    return tf.reduce_mean(tf.where(silent, weighed, terms), axis=-1)


def _share(snr: float) -> float:
    return 10.0 ** (-snr / 10.0)
