"""The supervised loss of the FUSS baseline: permutation invariant, silence included.

[1] Wisdom et al., What's All the FUSS About Free Universal Sound Separation Data?,
ICASSP 2021.
"""

from __future__ import annotations

import math

import tensorflow as tf

from common.permutation import best_permutation, permute
from mixit.metrics import log_mse_costs, pad_sources

EPSILON = 1e-8
ACTIVE_RMS = 1e-8
MATCH_SNR = 1e6
MAX_SNR = 30.0
SILENT_SNR = 20.0


def supervised(
    references: tf.Tensor,
    estimates: tf.Tensor,
    mixture: tf.Tensor,
    zero_weight: float = 1.0,
) -> tf.Tensor:
    r"""Compare estimates with references in the order that fits best.

    .. math:: \frac 1 S \sum_s 10 \log_{10}(\|r_s - e_s\|^2 + 10^{-3} \|r_s\|^2)

    for references that sound; where a reference is silent, its term is
    10 log10(\|e_s\|^2 + 10^-2 \|x\|^2) with the mixture x. The order is found without
    these floors, as in [1].

    Args:
        references: Sources [batch, references, samples]; missing ones are silent.
        estimates: Estimates [batch, sources, samples], at least as many.
        mixture: Mixtures [batch, samples].
        zero_weight: Weight of the terms of silent references.

    Returns:
        Loss [batch] in dB, which depends on the level of the sources.

    Raises:
        ValueError: There are more references than estimates.
    """
    references = pad_sources(references, estimates.shape[1] or 0)
    _, order = best_permutation(log_mse_costs(references, estimates, MATCH_SNR))
    error = tf.reduce_sum(tf.square(references - permute(estimates, order)), axis=-1)
    power = tf.reduce_sum(tf.square(references), axis=-1)
    whole = tf.reduce_sum(tf.square(mixture), axis=-1, keepdims=True)
    silent = tf.sqrt(tf.reduce_mean(tf.square(references), axis=-1)) <= ACTIVE_RMS
    losses = tf.where(
        silent,
        zero_weight * _decibels(error + 10.0 ** (-SILENT_SNR / 10.0) * whole),
        _decibels(error + 10.0 ** (-MAX_SNR / 10.0) * power),
    )
    return tf.reduce_mean(losses, axis=-1)


def _decibels(power: tf.Tensor) -> tf.Tensor:
    return 10.0 / math.log(10.0) * tf.math.log(power + EPSILON)
