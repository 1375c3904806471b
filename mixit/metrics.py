"""Measures of separation into any number of sources, as the paper reports them.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training,
NeurIPS 2020.
[2] Wisdom et al., What's All the FUSS About Free Universal Sound Separation Data?,
ICASSP 2021.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from common.metrics import si_sdr
from common.permutation import best_permutation, permute

ACTIVE_RMS = 1e-8
# An estimate counts as a source when it is less than 20 dB below the weakest reference.
ACTIVE_POWER_RATIO = 0.01


class Scores(NamedTuple):
    """Measures of a batch of examples.

    Attributes:
        separated: SI-SNR of the aligned estimates [batch, sources] in dB.
        mixture: SI-SNR of the mixture taken as an estimate [batch, sources] in dB.
        active_references: Which references are not silent [batch, sources].
        active_estimates: Which aligned estimates are not negligible [batch, sources].
    """

    separated: tf.Tensor
    mixture: tf.Tensor
    active_references: tf.Tensor
    active_estimates: tf.Tensor

    @property
    def improvement(self) -> tf.Tensor:
        """SI-SNR gained over the mixture [batch, sources] in dB."""
        return self.separated - self.mixture

    @property
    def active_count(self) -> tf.Tensor:
        """Number of references that are not silent [batch]."""
        return tf.reduce_sum(tf.cast(self.active_references, tf.int32), axis=-1)


def pad_sources(sources: tf.Tensor, count: int) -> tf.Tensor:
    """Add silent sources up to a count; [batch, sources, samples]."""
    missing = max(0, count - (sources.shape[1] or 0))
    return tf.pad(sources, [[0, 0], [0, missing], [0, 0]])


def log_mse_costs(
    references: tf.Tensor, estimates: tf.Tensor, max_snr: float = 30.0
) -> tf.Tensor:
    """Cost of every pair by which training aligns estimates to references.

    10 log10(|e - r|^2 + 10^(-max_snr/10) |r|^2 + 1e-8), from products of the signals.

    Args:
        references: Waveforms [batch, references, samples].
        estimates: Waveforms [batch, estimates, samples].
        max_snr: Ratio at which the cost saturates, in dB.

    Returns:
        Costs [batch, references, estimates] in dB.
    """
    wanted = tf.reduce_sum(tf.square(references), axis=-1)[..., tf.newaxis]
    got = tf.reduce_sum(tf.square(estimates), axis=-1)[:, tf.newaxis]
    product = tf.matmul(references, estimates, transpose_b=True)
    error = tf.maximum(wanted - 2.0 * product + got, 0.0)
    floor = 10.0 ** (-max_snr / 10.0) * wanted + 1e-8
    return 10.0 / math.log(10.0) * tf.math.log(error + floor)


def si_snr_costs(references: tf.Tensor, estimates: tf.Tensor) -> tf.Tensor:
    """Negative SI-SNR of every pair, from products of the signals.

    Args:
        references: Waveforms [batch, references, samples].
        estimates: Waveforms [batch, estimates, samples].

    Returns:
        Costs [batch, references, estimates] in dB; 80 where either is silent.
    """
    product = tf.matmul(_unit(references), _unit(estimates), transpose_b=True)
    signal = tf.square(product)
    noise = tf.maximum(1.0 - signal, 0.0)
    return 10.0 / math.log(10.0) * tf.math.log((noise + 1e-8) / (signal + 1e-8))


def score(
    references: tf.Tensor, estimates: tf.Tensor, mixture: tf.Tensor, by: str = "si_snr"
) -> Scores:
    """Align estimates to references and measure them, section 3 of [2].

    Args:
        references: Waveforms [batch, references, samples]; silent ones are filling.
        estimates: Waveforms [batch, estimates, samples], at least as many.
        mixture: Waveforms [batch, samples].
        by: What the alignment minimises: ``si_snr`` in evaluation, ``log_mse`` while
            training, as Google's programs do.

    Returns:
        The measures, one for each estimate: missing references are silent.

    Raises:
        ValueError: There are more references than estimates.
    """
    count = estimates.shape[1] or 0
    references = pad_sources(references, count)
    costs = log_mse_costs if by == "log_mse" else si_snr_costs
    _, permutation = best_permutation(costs(references, estimates))
    aligned = permute(estimates, permutation)
    active = tf.sqrt(_power(references)) > ACTIVE_RMS
    return Scores(
        separated=si_sdr(references, aligned),
        mixture=si_sdr(references, mixture[:, tf.newaxis] + tf.zeros_like(references)),
        active_references=active,
        active_estimates=_active(_power(references), _power(aligned), active),
    )


def _active(
    reference_power: tf.Tensor, power: tf.Tensor, active: tf.Tensor
) -> tf.Tensor:
    """Find the estimates that are not negligible beside the weakest reference."""
    loud = tf.where(active, reference_power, power.dtype.max)
    weakest = tf.reduce_min(loud, axis=-1, keepdims=True)
    return power > ACTIVE_POWER_RATIO * weakest


def _unit(waveform: tf.Tensor) -> tf.Tensor:
    energy = tf.reduce_sum(tf.square(waveform), axis=-1, keepdims=True)
    return waveform * tf.math.rsqrt(tf.maximum(energy, 1e-16))


def _power(waveform: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(waveform), axis=-1)
