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

from common.signal.metrics import si_sdr
from common.signal.permutation import best_permutation, permute
from mixit.loss import ACTIVE_RMS, least_squares, log_mse, mixit, pad_sources

# Outputs of which all assignments to mixtures are tried; 2^S of them for two mixtures.
MOST_SEARCHED = 12
# An estimate counts as a source when it is less than 20 dB below the weakest reference.
ACTIVE_POWER_RATIO = 0.01


class Scores(NamedTuple):
    """Measures of a batch of examples.

    Attributes:
        separated: SI-SNR of the aligned estimates [batch, sources] in dB.
        mixture: SI-SNR of the mixture taken as an estimate [batch, sources] in dB.
        active_references: Which references are not silent [batch, sources].
        active_estimates: Which aligned estimates are not negligible [batch, sources].
        reference_power: Mean power of the references [batch, sources].
        estimate_power: Mean power of the aligned estimates [batch, sources].
    """

    separated: tf.Tensor
    mixture: tf.Tensor
    active_references: tf.Tensor
    active_estimates: tf.Tensor
    reference_power: tf.Tensor
    estimate_power: tf.Tensor

    @property
    def improvement(self) -> tf.Tensor:
        """SI-SNR gained over the mixture [batch, sources] in dB."""
        return self.separated - self.mixture


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


def align(
    references: tf.Tensor, estimates: tf.Tensor, by: str = "si_snr"
) -> tuple[tf.Tensor, tf.Tensor]:
    """Put estimates into the order of the references that they fit best.

    Missing references are silent. Silent references take the estimates that are left:
    by ``si_snr`` any, by ``log_mse`` rather the quiet ones.

    Args:
        references: Waveforms [batch, references, samples]; silent ones are filling.
        estimates: Waveforms [batch, estimates, samples], at least as many.
        by: What the alignment minimises, ``si_snr`` or ``log_mse``.

    Returns:
        References and aligned estimates, both [batch, estimates, samples].

    Raises:
        ValueError: There are more references than estimates, or no such alignment.

    >>> voices = tf.constant([[[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]])
    >>> _, aligned = align(voices, tf.reverse(voices, [1]), by="log_mse")
    >>> bool(tf.reduce_all(aligned == voices))
    True
    """
    costs = {"si_snr": si_snr_costs, "log_mse": log_mse}
    if by not in costs:
        raise ValueError(f"by is {by!r}; expected one of {', '.join(costs)}")
    wanted, count = references.shape[1] or 0, estimates.shape[1] or 0
    if wanted > count:
        raise ValueError(
            f"there are {wanted} references and {count} estimates; every reference "
            "needs an estimate of its own: take a model with more outputs, or leave "
            "out silent references"
        )
    references = pad_sources(references, count)
    _, permutation = best_permutation(costs[by](references, estimates))
    return references, permute(estimates, permutation)


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
    references, aligned = align(references, estimates, by)
    power, found = _power(references), _power(aligned)
    active = tf.sqrt(power) > ACTIVE_RMS
    return Scores(
        separated=si_sdr(references, aligned),
        mixture=si_sdr(references, mixture[:, tf.newaxis]),
        active_references=active,
        active_estimates=_active(power, found, active),
        reference_power=power,
        estimate_power=found,
    )


def score_mixtures(
    mixtures: tf.Tensor, estimates: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Put mixtures together again from the estimates of their sum and measure them.

    The test of [1] for recordings whose sources are unknown: every estimate goes to
    the mixture that the loss gives it to.

    Args:
        mixtures: Waveforms [batch, mixtures, samples].
        estimates: Estimates for their sum [batch, estimates, samples].

    Returns:
        SI-SNR of the mixtures put together again, and of the sum taken for each of
        them, both [batch, mixtures] in dB.

    Raises:
        ValueError: There are more mixtures than estimates.
    """
    count = estimates.shape[1] or 0
    find = mixit if count <= MOST_SEARCHED else least_squares
    _, assignment = find(mixtures, estimates)
    together = tf.reduce_sum(mixtures, axis=1, keepdims=True)
    again = tf.matmul(assignment, estimates)
    return si_sdr(mixtures, again), si_sdr(mixtures, together)


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
