"""The mixture invariant loss, searched in Gram matrices.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training, 2020.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection

import numpy as np
import tensorflow as tf

EPSILON = 1e-8
# Losses that differ by less than this many dB are a tie, which float32 could not see.
TIE_DB = 1e-6


def mixit(
    references: tf.Tensor,
    estimates: tf.Tensor,
    max_snr: float = 30.0,
    allow: Collection[tuple[int, ...]] | None = None,
    deny: Collection[tuple[int, ...]] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Mixture invariant loss: estimates are assigned to mixtures in the best way.

    .. math:: \min_A \frac 1 N \sum_n 10 \log_{10} (\|x_n - (A e)_n\|^2
        + 10^{-max\_snr/10} \|x_n\|^2 + 10^{-8})

    is eq. (2) and (3) of [1] without the term that does not depend on the estimates.
    Every assignment's error follows from the products of the signals with each other,
    so the search costs one matrix product; value and gradient are then computed from
    the signals for the winner alone, as an exhaustive search would.

    Args:
        references: Mixtures [batch, mixtures, samples].
        estimates: Separated sources [batch, sources, samples].
        max_snr: Signal-to-noise ratio at which the loss saturates, in dB.
        allow: Assignments that may be chosen, each the mixture of every source; None
            allows all.
        deny: Assignments that may not be chosen.

    Returns:
        Loss [batch] in dB, which depends on the level of the mixtures, and assignment
        [batch, mixtures, sources] of zeros and ones, the first of several that tie.

    Raises:
        ValueError: There are more mixtures than sources, or no assignment is left.
    """
    mixtures, sources = references.shape[1] or 0, estimates.shape[1] or 0
    candidates = assignments(mixtures, sources, allow, deny)
    best = _search(references, estimates, candidates, max_snr)
    assignment = tf.stop_gradient(tf.gather(_constant(candidates), best))
    return assigned_loss(references, estimates, assignment, max_snr), assignment


def assigned_loss(
    references: tf.Tensor, estimates: tf.Tensor, assignment: tf.Tensor, max_snr: float
) -> tf.Tensor:
    """Mixture invariant loss [batch] of a given assignment, as in :func:`mixit`."""
    mixed = tf.matmul(assignment, estimates)
    error = tf.reduce_sum(tf.square(references - mixed), axis=-1)
    power = tf.reduce_sum(tf.square(references), axis=-1)
    return tf.reduce_mean(_decibels(error, power, max_snr), axis=-1)


def assignments(
    mixtures: int,
    sources: int,
    allow: Collection[tuple[int, ...]] | None = None,
    deny: Collection[tuple[int, ...]] | None = None,
) -> np.ndarray:
    """List the ways to give every source to one mixture, the last varying fastest.

    Returns:
        Zeros and ones [assignments, mixtures, sources].

    Raises:
        ValueError: There are more mixtures than sources, or no assignment is left.

    >>> assignments(2, 2, allow=[(0, 1)]).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    if mixtures > sources:
        raise ValueError(
            f"{mixtures} mixtures cannot be made of {sources} estimates; give at least "
            "as many estimates as mixtures"
        )
    allowed = None if allow is None else {tuple(map(int, a)) for a in allow}
    denied = {tuple(map(int, a)) for a in deny or ()}
    chosen = [
        choice
        for choice in itertools.product(range(mixtures), repeat=sources)
        if choice not in denied and (allowed is None or choice in allowed)
    ]
    if not chosen:
        raise ValueError(
            f"no assignment of {sources} estimates to {mixtures} mixtures is left; "
            f"each in the allow list needs {sources} numbers from 0 to {mixtures - 1}"
        )
    one_hot = np.eye(mixtures, dtype=np.float32)[np.asarray(chosen)]
    return np.ascontiguousarray(one_hot.transpose(0, 2, 1))


def _search(
    references: tf.Tensor, estimates: tf.Tensor, candidates: np.ndarray, max_snr: float
) -> tf.Tensor:
    """Index of the best assignment of each example [batch], without gradient.

    The products are taken in float64: near the floor of the loss an error is the small
    difference of large products.
    """
    references = tf.cast(tf.stop_gradient(references), tf.float64)
    estimates = tf.cast(tf.stop_gradient(estimates), tf.float64)
    choose = tf.constant(
        candidates, tf.float64
    )  # p: assignments, m: mixtures, s: sources
    gram = tf.matmul(
        estimates, estimates, transpose_b=True
    )  # [batch, sources, sources]
    cross = tf.matmul(references, estimates, transpose_b=True)
    power = tf.reduce_sum(tf.square(references), axis=-1)[:, tf.newaxis]
    quadratic = tf.einsum("pms,bst,pmt->bpm", choose, gram, choose)
    linear = tf.einsum("pms,bms->bpm", choose, cross)
    error = tf.maximum(power - 2.0 * linear + quadratic, 0.0)
    losses = tf.reduce_mean(_decibels(error, power, max_snr), axis=-1)
    lowest = tf.reduce_min(losses, axis=-1, keepdims=True)
    first = tf.cast(losses <= lowest + TIE_DB, tf.int32)
    return tf.argmax(first, axis=-1, output_type=tf.int32)


def _decibels(error: tf.Tensor, power: tf.Tensor, max_snr: float) -> tf.Tensor:
    floor = 10.0 ** (-max_snr / 10.0) * power + EPSILON
    return 10.0 / math.log(10.0) * tf.math.log(error + floor)


def _constant(candidates: np.ndarray) -> tf.Tensor:
    return tf.constant(candidates, tf.float32)
