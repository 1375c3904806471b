"""The losses: of mixtures without labels, of sources with labels, of sparse outputs.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training, 2020.
[2] Wisdom et al., What's All the FUSS About Free Universal Sound Separation Data?,
ICASSP 2021.
[3] Wisdom et al., Sparse, Efficient, and Semantic Mixture Invariant Training: Taming
In-the-Wild Unsupervised Sound Separation, 2021, arXiv 2106.00847.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.signal.permutation import best_permutation, permute

EPSILON = 1e-8
# Losses that differ by less than this many dB are equal to float32.
TIE_DB = 1e-6
# 16 estimates of 2 mixtures: measured as 0.25 GB for a batch, 12 ms for an example.
MOST_ASSIGNMENTS = 65536
# Fraction of the mean power of the outputs that is added to each. With it the equations
# have a solution if outputs are silent or copies of each other, and quiet outputs do
# not cancel the leakage between loud ones, which no assignment can do. With half of 8
# outputs silent but for leakage of 5 %, 42 of 100 assignments are the best, and 3 of
# 100 at 1e-6.
RIDGE = 0.1
ACTIVE_RMS = 1e-8
"""Root mean square above which a reference is not silent."""
MAX_SNR, SILENT_SNR = 30.0, 20.0
"""Ratios in dB at which the supervised loss saturates, the second of silent ones."""
# Outputs 80 dB below the mixture are silent. Keeps the gradient of the root finite.
SILENT_SHARE = 1e-8
# Keeps the ratio finite in digital silence, -120 dB.
LEAST_POWER = 1e-12


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
    r"""Mixture invariant loss of the best assignment of estimates to mixtures.

    .. math:: \min_A \frac 1 N \sum_n 10 \log_{10} (\|x_n - (A e)_n\|^2
        + 10^{-max\_snr/10} \|x_n\|^2 + 10^{-8})

    is eq. (2) and (3) of [1] without the term that does not depend on the estimates.
    Every assignment's error follows from the products of the signals with each other,
    so the search costs one matrix product. Value and gradient are then computed from
    the signals for the best assignment, as in an exhaustive search.

    Args:
        references: Mixtures [batch, mixtures, samples].
        estimates: Separated sources [batch, sources, samples].
        max_snr: Signal-to-noise ratio at which the loss saturates, in dB.
        allow: Assignments that may be chosen, each the mixture of every source; None
            or an empty list allows all.
        deny: Assignments that may not be chosen.

    Returns:
        Loss [batch] in dB, which depends on the level of the mixtures, and assignment
        [batch, mixtures, sources] of zeros and ones, the first of several that tie.

    Raises:
        ValueError: There are more mixtures than sources, more than 65,536 assignments
            or none, or a list has an invalid entry.

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


def least_squares(
    references: tf.Tensor, estimates: tf.Tensor, max_snr: float = 30.0
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Mixture invariant loss of an approximately best assignment, without a search.

    The mixing matrix of least squares, :math:`x e^T (e e^T + \lambda I)^{-1}`, is
    rounded: every output is assigned to the mixture in which its weight is greatest,
    the efficient loss of [3]. The cost grows with the cube of the number of outputs
    instead of exponentially. It is an approximation: the assignment may not be the
    best one, and then the loss is above that of :func:`mixit.loss.mixit`, never below.
    With 8 outputs that leak up to 5 % into each other 99 of 100 assignments were the
    best; with 20 %, half of them, and the loss was 0.5 dB above on average.

    Args:
        references: Mixtures [batch, mixtures, samples].
        estimates: Separated sources [batch, sources, samples].
        max_snr: Signal-to-noise ratio at which the loss saturates, in dB.

    Returns:
        Loss [batch] and assignment [batch, mixtures, sources], as
        :func:`mixit.loss.mixit` returns them.

    Raises:
        ValueError: There are more mixtures than sources.

    >>> sources = tf.random.stateless_normal([1, 16, 500], [1, 2])
    >>> mixtures = tf.reduce_sum(tf.reshape(sources, [1, 2, 8, 500]), axis=2)
    >>> _, assignment = least_squares(mixtures, sources)
    >>> assignment[0, 0].numpy().astype(int).tolist()
    [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    mixtures, _ = counts(references, estimates)
    weights = _mixing_matrix(products(references, estimates))
    assignment = tf.one_hot(tf.argmax(weights, axis=1), mixtures, axis=1)
    return assigned_loss(references, estimates, assignment, max_snr), assignment


def supervised(
    references: tf.Tensor,
    estimates: tf.Tensor,
    mixture: tf.Tensor,
    zero_weight: float = 1.0,
) -> tf.Tensor:
    r"""Supervised loss of the FUSS baseline: permutation invariant, with silence [2].

    .. math:: \frac 1 S \sum_s 10 \log_{10}(\|r_s - e_s\|^2 + 10^{-3} \|r_s\|^2
        + 10^{-8})

    for references that are not silent; the term of a silent reference is
    10 log10(\|e_s\|^2 + 10^-2 \|x\|^2 + 10^-8) with the mixture x. The alignment
    ignores the floors of 30 and 20 dB and includes silent references, as the program
    of [2] does. That program omits silent references if all references of a batch are
    silent; here they always count, so that the loss of an example does not depend on
    the others.

    Args:
        references: Sources [batch, references, samples]; missing ones are silent.
        estimates: Estimates [batch, sources, samples], at least as many.
        mixture: Mixtures [batch, samples].
        zero_weight: Weight of the terms of silent references.

    Returns:
        Loss [batch] in dB, which depends on the level of the sources.

    Raises:
        ValueError: There are more references than estimates.

    >>> voices = tf.constant([[[0.5, -0.5, 0.0], [0.0, 0.5, -0.5]]])
    >>> loss = supervised(voices, voices[:, ::-1], tf.reduce_sum(voices, axis=1))
    >>> round(float(loss[0]), 2)  # 30 dB below the sources
    -33.01
    """
    references = pad_sources(references, estimates.shape[1] or 0)
    _, chosen = best_permutation(log_mse(references, estimates, math.inf))
    error = tf.reduce_sum(tf.square(references - permute(estimates, chosen)), axis=-1)
    power = tf.reduce_sum(tf.square(references), axis=-1)
    whole = tf.reduce_sum(tf.square(mixture), axis=-1, keepdims=True)
    silent = tf.sqrt(tf.reduce_mean(tf.square(references), axis=-1)) <= ACTIVE_RMS
    floor = tf.where(silent, _floor(SILENT_SNR) * whole, _floor(MAX_SNR) * power)
    terms = decibels(error + floor)
    # Zero times a term that is not finite would not be zero.
    weighed = zero_weight * terms if zero_weight else tf.zeros_like(terms)
    return tf.reduce_mean(tf.where(silent, weighed, terms), axis=-1)


def sparsity(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    r"""Penalty on distributing a sound over several outputs, the sparsity loss of [3].

    With the root mean squares r of the S outputs it is

    .. math:: \frac 1 S \|r\|_1 / \|r\|_2,

    from 1/S for a single output to 1/sqrt(S) for equal ones, whatever the level.

    The text of [3] was not available. The ratio of norms of r, with the mean as the
    first, follows two public implementations. One, by colleagues of the authors,
    divides by the level of the mixture instead, which is equal for uncorrelated
    outputs. The covariance loss of [3] is not implemented, because its formula is not
    public.

    Args:
        estimates: Outputs [batch, sources, samples].
        mixture: Mixtures [batch, samples]; their level sets the threshold of silence.

    Returns:
        Penalty [batch], not negative.

    >>> equal = tf.ones([1, 4, 10])
    >>> round(float(sparsity(equal, tf.ones([1, 10]))[0]), 3)
    0.5
    """
    level = tf.reduce_mean(tf.square(mixture), axis=-1, keepdims=True)
    power = tf.reduce_mean(tf.square(estimates), axis=-1)
    power += SILENT_SHARE * level + LEAST_POWER
    return tf.reduce_mean(tf.sqrt(power), axis=-1) / tf.sqrt(
        tf.reduce_sum(power, axis=-1)
    )


def log_mse(
    references: tf.Tensor, estimates: tf.Tensor, max_snr: float = 30.0
) -> tf.Tensor:
    r"""Compute the cost of every pair of a reference and an estimate.

    .. math:: 10 \log_{10}(\|r - e\|^2 + 10^{-max\_snr/10} \|r\|^2 + 10^{-8})

    Args:
        references: Waveforms [batch, references, samples].
        estimates: Waveforms [batch, estimates, samples].
        max_snr: Ratio at which the cost saturates, in dB.

    Returns:
        Costs [batch, references, estimates] in dB, without gradient.

    >>> waves = tf.eye(2, 4)[tf.newaxis]
    >>> log_mse(waves, waves)[0].numpy().round().tolist()
    [[-30.0, 3.0], [3.0, -30.0]]
    """
    inner = products(references, estimates)
    power = inner.power[..., tf.newaxis]
    energy = tf.linalg.diag_part(inner.gram)[:, tf.newaxis]
    error = tf.maximum(power - 2.0 * inner.cross + energy, 0.0)
    return tf.cast(decibels(error + _floor(max_snr) * power), tf.float32)


def pad_sources(sources: tf.Tensor, count: int) -> tf.Tensor:
    """Add silent sources up to a count; [batch, sources, samples].

    >>> pad_sources(tf.ones([1, 2, 3]), 4)[0, :, 0].numpy().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    missing = max(0, count - (sources.shape[1] or 0))
    return tf.pad(sources, [[0, 0], [0, missing], [0, 0]])


def assigned_loss(
    references: tf.Tensor, estimates: tf.Tensor, assignment: tf.Tensor, max_snr: float
) -> tf.Tensor:
    """Mixture invariant loss [batch] of a given assignment, as in :func:`mixit`.

    >>> waves = tf.eye(2, 4)[tf.newaxis]
    >>> round(float(assigned_loss(waves, waves, tf.eye(2)[tf.newaxis], 30.0)[0]))
    -30
    """
    mixed = tf.matmul(assignment, estimates)
    error = tf.reduce_sum(tf.square(references - mixed), axis=-1)
    power = tf.reduce_sum(tf.square(references), axis=-1)
    floor = _floor(max_snr) * power
    return tf.reduce_mean(decibels(error + floor), axis=-1)


def counts(references: tf.Tensor, estimates: tf.Tensor) -> tuple[int, int]:
    """Return the numbers of mixtures and estimates, checked.

    Raises:
        ValueError: One is not static, or there are more mixtures than estimates.

    >>> counts(tf.zeros([1, 2, 8]), tf.zeros([1, 4, 8]))
    (2, 4)
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
    """List all assignments of sources to mixtures, the last source varying fastest.

    Returns:
        The mixture of each source, int32 [assignments, sources].

    Raises:
        ValueError: There are too many assignments or none, or a list has an invalid
            entry.

    >>> assignments(2, 2, deny=[(0, 1)]).tolist()
    [[0, 0], [1, 0], [1, 1]]
    """
    denied = _listed("deny", mixtures, sources, deny or ())
    allowed: Iterable[tuple[int, ...]]
    if allow is None or len(allow) == 0:
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
    """Inner products of signals in float64, because float32 loses small errors.

    Near the floor of the loss an error is the small difference of large products.

    >>> inner = products(tf.ones([1, 1, 4]), 2.0 * tf.ones([1, 1, 4]))
    >>> [float(tf.squeeze(each)) for each in inner]
    [4.0, 8.0, 16.0]
    """
    references = tf.cast(tf.stop_gradient(references), tf.float64)
    estimates = tf.cast(tf.stop_gradient(estimates), tf.float64)
    return Products(
        power=tf.reduce_sum(tf.square(references), axis=-1),
        cross=tf.matmul(references, estimates, transpose_b=True),
        gram=tf.matmul(estimates, estimates, transpose_b=True),
    )


def decibels(energy: tf.Tensor) -> tf.Tensor:
    """Logarithm of an energy that may be zero, 10 log10(energy + 1e-8).

    >>> decibels(tf.constant([0.0, 1.0])).numpy().round().tolist()
    [-80.0, 0.0]
    """
    return 10.0 / math.log(10.0) * tf.math.log(energy + EPSILON)


def _mixing_matrix(inner: Products) -> tf.Tensor:
    """Weights [batch, mixtures, sources] of the estimates in the mixtures."""
    sources = inner.gram.shape[-1] or 0
    power = tf.linalg.trace(inner.gram)[:, tf.newaxis, tf.newaxis] / sources
    ridge = (RIDGE * power + EPSILON) * tf.eye(sources, dtype=tf.float64)
    weights = tf.linalg.solve(
        inner.gram + ridge, tf.linalg.matrix_transpose(inner.cross)
    )
    return tf.linalg.matrix_transpose(weights)


def _floor(max_snr: float) -> float:
    return 10.0 ** (-max_snr / 10.0)


def _search(inner: Products, candidates: np.ndarray, max_snr: float) -> tf.Tensor:
    """Index of the best assignment of each example [batch], the first of equals.

    The loss of a mixture depends only on the set of its sources, and there are only 2^S
    sets for any number of mixtures.
    """
    sets, indices = _source_sets(candidates, inner.power.shape[1] or 0)
    members = tf.constant(sets, tf.float64)
    # [batch, sets], [batch, mixtures, sets]
    quadratic = tf.reduce_sum(tf.matmul(members, inner.gram) * members, axis=-1)
    linear = tf.matmul(inner.cross, members, transpose_b=True)
    power = inner.power[..., tf.newaxis]
    error = tf.maximum(power - 2.0 * linear + quadratic[:, tf.newaxis], 0.0)
    losses = tf.unstack(decibels(error + _floor(max_snr) * power), axis=1)
    pairs = zip(losses, indices, strict=True)
    total = tf.add_n([tf.gather(loss, index, axis=1) for loss, index in pairs])
    lowest = tf.reduce_min(total, axis=-1, keepdims=True)
    first = tf.cast(total <= lowest + TIE_DB * len(losses), tf.int32)
    return tf.argmax(first, axis=-1, output_type=tf.int32)


def _source_sets(candidates: np.ndarray, mixtures: int) -> tuple[np.ndarray, ...]:
    """Sets of sources that occur, and the index of each mixture's set among them.

    Sets are rows of zeros and ones [sets, sources], indices [mixtures, assignments].
    """
    member = candidates == np.arange(mixtures)[:, np.newaxis, np.newaxis]
    rows = np.packbits(member.reshape(-1, candidates.shape[1]), axis=1)
    unique, indices = np.unique(rows, axis=0, return_inverse=True)
    sets = np.unpackbits(unique, axis=1, count=candidates.shape[1])
    return sets, indices.reshape(mixtures, -1).astype(np.int32)


def _check_number(mixtures: int, sources: int) -> None:
    number = mixtures**sources
    if number > MOST_ASSIGNMENTS:
        raise ValueError(
            f"{sources} estimates can be given to {mixtures} mixtures in {number} "
            f"ways, more than the {MOST_ASSIGNMENTS} that are tried; use "
            "assignment=least_squares, or an allow list"
        )


def _listed(
    name: str, mixtures: int, sources: int, listed: Collection[tuple[int, ...]]
) -> set[tuple[int, ...]]:
    """Check the assignments of a list."""
    chosen = {tuple(map(int, item)) for item in listed}
    for row in sorted(chosen):
        if len(row) != sources or not set(row) <= set(range(mixtures)):
            raise ValueError(
                f"the {name} list holds {row}; expected {sources} numbers from 0 to "
                f"{mixtures - 1}, the mixture of each estimate"
            )
    return chosen
