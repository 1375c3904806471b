"""The mixture invariant loss, searched in Gram matrices.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training, 2020.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

EPSILON = 1e-8
# Losses that differ by less than this many dB are a tie, which float32 could not see.
TIE_DB = 1e-6
# 16 estimates of 2 mixtures: measured as 0.25 GB for a batch, 12 ms for an example.
MOST_ASSIGNMENTS = 65536


class Products(NamedTuple):
    """Inner products of references and estimates in float64, without gradient.

    Attributes:
        power: Energy of the references [batch, references].
        cross: References with estimates [batch, references, estimates].
        gram: Estimates with each other [batch, estimates, estimates].
    """

    power: tf.Tensor
    cross: tf.Tensor
    gram: tf.Tensor


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
        ValueError: There are more mixtures than sources, more than 65,536 assignments
            or none, or one of the lists holds something else.

    >>> voices = tf.random.stateless_normal([1, 4, 500], [1, 2])
    >>> mixtures = voices[:, :2] + voices[:, 2:]
    >>> mixit(mixtures, voices)[1][0].numpy().astype(int).tolist()
    [[1, 0, 1, 0], [0, 1, 0, 1]]
    """
    mixtures, sources = counts(references, estimates)
    candidates = assignments(mixtures, sources, allow, deny)
    best = _search(products(references, estimates), candidates, max_snr)
    owners = tf.gather(tf.constant(candidates), best)  # [batch, sources]
    assignment = tf.one_hot(owners, mixtures, axis=1)
    return assigned_loss(references, estimates, assignment, max_snr), assignment


def assigned_loss(
    references: tf.Tensor, estimates: tf.Tensor, assignment: tf.Tensor, max_snr: float
) -> tf.Tensor:
    """Mixture invariant loss [batch] of a given assignment, as in :func:`mixit`."""
    mixed = tf.matmul(assignment, estimates)
    error = tf.reduce_sum(tf.square(references - mixed), axis=-1)
    power = tf.reduce_sum(tf.square(references), axis=-1)
    floor = 10.0 ** (-max_snr / 10.0) * power
    return tf.reduce_mean(decibels(error + floor), axis=-1)


def counts(references: tf.Tensor, estimates: tf.Tensor) -> tuple[int, int]:
    """Number of mixtures and of estimates, checked.

    Raises:
        ValueError: One is not known, or there are more mixtures than estimates.
    """
    mixtures, sources = references.shape[1], estimates.shape[1]
    if not mixtures or not sources:
        raise ValueError(
            f"mixtures have shape {references.shape} and estimates {estimates.shape}; "
            "the second axis of both must be known when the graph is traced"
        )
    if mixtures > sources:
        raise ValueError(
            f"{mixtures} mixtures cannot be made of {sources} estimates; give at least "
            "as many estimates as mixtures"
        )
    return mixtures, sources


def assignments(
    mixtures: int,
    sources: int,
    allow: Collection[tuple[int, ...]] | None = None,
    deny: Collection[tuple[int, ...]] | None = None,
) -> np.ndarray:
    """List the ways to give every source to one mixture, the last varying fastest.

    Returns:
        The mixture of each source, int32 [assignments, sources].

    Raises:
        ValueError: There are too many assignments to try or none, or one of the lists
            holds something else.

    >>> assignments(2, 2, deny=[(0, 1)]).tolist()
    [[0, 0], [1, 0], [1, 1]]
    """
    denied = _listed("deny", mixtures, sources, deny or ())
    allowed: Iterable[tuple[int, ...]]
    if allow is None:
        _check_number(mixtures, sources)
        allowed = itertools.product(range(mixtures), repeat=sources)
    else:
        allowed = sorted(_listed("allow", mixtures, sources, allow))
    chosen = [choice for choice in allowed if choice not in denied]
    if not chosen:
        raise ValueError(
            f"no assignment of {sources} estimates to {mixtures} mixtures is left by "
            "the allow and deny lists; allow more, or deny less"
        )
    return np.array(chosen, np.int32)


def products(references: tf.Tensor, estimates: tf.Tensor) -> Products:
    """Multiply signals with each other in float64, in which errors can be told.

    Near the floor of the loss an error is the small difference of large products.
    """
    references = tf.cast(tf.stop_gradient(references), tf.float64)
    estimates = tf.cast(tf.stop_gradient(estimates), tf.float64)
    return Products(
        power=tf.reduce_sum(tf.square(references), axis=-1),
        cross=tf.matmul(references, estimates, transpose_b=True),
        gram=tf.matmul(estimates, estimates, transpose_b=True),
    )


def decibels(energy: tf.Tensor) -> tf.Tensor:
    """Logarithm of an energy that may be zero, 10 log10(energy + 1e-8)."""
    return 10.0 / math.log(10.0) * tf.math.log(energy + EPSILON)


def _search(found: Products, candidates: np.ndarray, max_snr: float) -> tf.Tensor:
    """Index of the best assignment of each example [batch], the first of equals.

    A mixture's loss depends on the set of its sources alone, and the assignments share
    these sets: 2^S of them for any number of mixtures.
    """
    sets, places = _source_sets(candidates, found.power.shape[1] or 0)
    members = tf.constant(sets, tf.float64)
    # [batch, sets], [batch, mixtures, sets]
    quadratic = tf.reduce_sum(tf.matmul(members, found.gram) * members, axis=-1)
    linear = tf.matmul(found.cross, members, transpose_b=True)
    power = found.power[..., tf.newaxis]
    error = tf.maximum(power - 2.0 * linear + quadratic[:, tf.newaxis], 0.0)
    losses = tf.unstack(decibels(error + 10.0 ** (-max_snr / 10.0) * power), axis=1)
    pairs = zip(losses, places, strict=True)
    total = tf.add_n([tf.gather(loss, place, axis=1) for loss, place in pairs])
    lowest = tf.reduce_min(total, axis=-1, keepdims=True)
    first = tf.cast(total <= lowest + TIE_DB * len(losses), tf.int32)
    return tf.argmax(first, axis=-1, output_type=tf.int32)


def _source_sets(candidates: np.ndarray, mixtures: int) -> tuple[np.ndarray, ...]:
    """Sets of sources that occur, and the place of each mixture's set among them.

    Sets are rows of zeros and ones [sets, sources], places [mixtures, assignments].
    """
    member = candidates == np.arange(mixtures)[:, np.newaxis, np.newaxis]
    rows = np.packbits(member.reshape(-1, candidates.shape[1]), axis=1)
    unique, places = np.unique(rows, axis=0, return_inverse=True)
    sets = np.unpackbits(unique, axis=1, count=candidates.shape[1])
    return sets, places.reshape(mixtures, -1).astype(np.int32)


def _check_number(mixtures: int, sources: int) -> None:
    number = mixtures**sources
    if number > MOST_ASSIGNMENTS:
        raise ValueError(
            f"{sources} estimates can be given to {mixtures} mixtures in {number} "
            f"ways, more than the {MOST_ASSIGNMENTS} that are tried; use "
            "mixit.least_squares (assignment=least_squares), or an allow list"
        )


def _listed(
    name: str, mixtures: int, sources: int, listed: Collection[tuple[int, ...]]
) -> set[tuple[int, ...]]:
    """Check the assignments of a list."""
    chosen = {tuple(map(int, each)) for each in listed}
    for each in sorted(chosen):
        if len(each) != sources or not set(each) <= set(range(mixtures)):
            raise ValueError(
                f"the {name} list holds {each}; expected {sources} numbers from 0 to "
                f"{mixtures - 1}, the mixture of each estimate"
            )
    return chosen
