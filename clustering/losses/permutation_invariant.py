"""Losses of estimates whose order is free: the best order of a whole utterance counts.

[1] Yu, Kolbaek, Tan and Jensen, Permutation invariant training of deep models for
speaker-independent multi-talker speech separation, ICASSP 2017.
[2] Le Roux, Wisdom, Erdogan and Hershey, SDR - half-baked or well done?, ICASSP 2019.
[3] Wisdom et al., Unsupervised sound separation using mixture invariant training,
NeurIPS 2020.

nussl 1.1 takes the best order of every time-frequency bin by itself, which is no
separation: an estimate may then hold another source in each bin. Here it is one order
for each example, as in [1].
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import tensorflow as tf

from common.signal.permutation import best_permutation, permute

Kind = Literal["l1", "mse", "si_sdr", "snr"]

# Added to energies that divide, and to their ratio: no cost exceeds 80 dB, and that of
# a perfect estimate is finite.
EPSILON = 1e-8


def pit(
    estimates: tf.Tensor,
    sources: tf.Tensor,
    kind: Kind = "l1",
    zero_mean: bool = True,
    snr_max: float | None = None,
) -> tf.Tensor:
    r"""Average the costs of the estimates in the best order of each example, [1].

    .. math:: \min_\pi \frac 1 S \sum_s c(e_{\pi(s)}, y_s)

    With more estimates than sources the best choice of them counts, and the others
    are free. For the costs c see :func:`in_order`.

    Args:
        estimates: float32 [batch, estimates, frames, bins] or [..., samples], no
            fewer than sources.
        sources: float32 [batch, sources, ...] of the same rank.
        kind: ``"l1"``, ``"mse"``, ``"si_sdr"`` or ``"snr"``.
        zero_mean: Whether the means of waveforms are removed, for the ratios.
        snr_max: Ratio in dB above which nothing is gained, or None.

    Returns:
        float32 [batch]. Its gradient is that of the best order.

    Raises:
        ValueError: If the kind is not one of these or shapes do not fit.

    >>> pit([[[1.0, 2.0], [5.0, 6.0]]], [[[5.0, 6.0], [1.0, 4.0]]]).numpy().tolist()
    [0.5]
    """
    estimates, sources = _checked(estimates, sources, kind)
    # Only the winner's cost keeps what a gradient needs, not every pair.
    costs = pairwise(tf.stop_gradient(estimates), sources, kind, zero_mean, snr_max)
    _, permutation = best_permutation(costs)
    ordered = permute(estimates, permutation)
    return in_order(ordered, sources, kind, zero_mean, snr_max)


def in_order(
    estimates: tf.Tensor,
    sources: tf.Tensor,
    kind: Kind = "l1",
    zero_mean: bool = True,
    snr_max: float | None = None,
) -> tf.Tensor:
    r"""Average the costs of estimates that are in the order of the sources.

    ``"l1"`` is the mean of |e - y|, ``"mse"`` that of its square. The ratios are, in dB
    and negative,

    .. math:: -10 \log_{10}\left(\frac{|t|^2}{|e - t|^2 + f |t|^2 + \epsilon}
        + \epsilon\right), \quad f = 10^{-snr_{max} / 10}

    where t is y for ``"snr"`` and its projection <e, y> y / (|y|^2 + 1e-8) for
    ``"si_sdr"``, [2]; f is the soft threshold of [3], 0 without ``snr_max``. With 1e-8
    in both places a perfect estimate is finite, where nussl has no gradient. A silent
    source takes no part in the mean, where nussl and asteroid add a constant 80 dB.

    Args:
        estimates: float32 [batch, sources, frames, bins] or [..., samples].
        sources: float32 of the same shape.
        kind: As for :func:`pit`.
        zero_mean: As for :func:`pit`.
        snr_max: As for :func:`pit`.

    Returns:
        float32 [batch]; 0 if ratios are asked for and all sources are silent.

    Raises:
        ValueError: If the kind is not one of these or shapes do not fit.

    >>> in_order([[[2.2, -1.8]]], [[[1.0, -1.0]]], "snr", False).numpy().round(1)
    array([0.2], dtype=float32)
    """
    estimates, sources = _checked(estimates, sources, kind)
    if kind not in ("si_sdr", "snr"):
        return tf.reduce_mean(_difference(estimates, sources, kind), -1)
    costs, audible = _ratio(estimates, sources, kind, zero_mean, snr_max)
    return tf.reduce_sum(costs, -1) / tf.maximum(tf.reduce_sum(audible, -1), 1.0)


def pairwise(
    estimates: tf.Tensor,
    sources: tf.Tensor,
    kind: Kind = "l1",
    zero_mean: bool = True,
    snr_max: float | None = None,
) -> tf.Tensor:
    """Compare every estimate with every source, for an order and for the curious.

    Args:
        estimates: float32 [batch, estimates, ...], as for :func:`pit`.
        sources: float32 [batch, sources, ...].
        kind: As for :func:`pit`.
        zero_mean: As for :func:`pit`.
        snr_max: As for :func:`pit`.

    Returns:
        Costs c of :func:`in_order`, float32 [batch, sources, estimates]; 0 for the
        ratios of a silent source, which may then have any estimate.

    Raises:
        ValueError: If the kind is not one of these or shapes do not fit.

    >>> pairwise([[[1.0], [5.0]]], [[[5.0], [2.0]]]).numpy().tolist()
    [[[4.0, 0.0], [1.0, 3.0]]]
    """
    estimates, sources = _checked(estimates, sources, kind)
    estimates, sources = estimates[:, tf.newaxis], sources[:, :, tf.newaxis]
    if kind in ("si_sdr", "snr"):
        return _ratio(estimates, sources, kind, zero_mean, snr_max)[0]
    return _difference(estimates, sources, kind, inner=estimates.shape.rank - 3)


def _checked(
    estimates: tf.Tensor, sources: tf.Tensor, kind: str
) -> tuple[tf.Tensor, tf.Tensor]:
    if kind not in get_args(Kind):
        raise ValueError(
            f"kind of loss is {kind!r}; expected one of {', '.join(get_args(Kind))}"
        )
    estimates, sources = tf.cast(estimates, tf.float32), tf.cast(sources, tf.float32)
    fits = estimates.shape.rank == sources.shape.rank and estimates.shape[
        2:
    ].is_compatible_with(sources.shape[2:])
    if not fits or (sources.shape.rank != 3 and kind in ("si_sdr", "snr")):
        wanted = "samples" if kind in ("si_sdr", "snr") else "frames, bins"
        raise ValueError(
            f"estimates {estimates.shape} and sources {sources.shape} do not fit; "
            f"expected [batch, sources, {wanted}] of both for {kind!r}"
        )
    return estimates, sources


def _difference(
    estimates: tf.Tensor, sources: tf.Tensor, kind: Kind, inner: int | None = None
) -> tf.Tensor:
    """Mean over what lies within a source: the last ``inner`` axes."""
    inner = estimates.shape.rank - 2 if inner is None else inner
    difference = estimates - sources
    costs = tf.abs(difference) if kind == "l1" else tf.square(difference)
    return tf.reduce_mean(costs, list(range(-inner, 0)))


def _ratio(
    estimates: tf.Tensor,
    sources: tf.Tensor,
    kind: Kind,
    zero_mean: bool,
    snr_max: float | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Costs, 0 for silent sources, and which of them are audible, as 1 or 0."""
    if zero_mean:
        estimates = estimates - tf.reduce_mean(estimates, -1, keepdims=True)
        sources = sources - tf.reduce_mean(sources, -1, keepdims=True)
    energy = tf.reduce_sum(tf.square(sources), -1)
    audible = tf.cast(energy > EPSILON, tf.float32)
    target = sources
    if kind == "si_sdr":
        match = tf.reduce_sum(estimates * sources, -1) / (energy + EPSILON)
        target = match[..., tf.newaxis] * sources
    signal = tf.reduce_sum(tf.square(target), -1)
    noise = tf.reduce_sum(tf.math.squared_difference(estimates, target), -1)
    floor = 0.0 if snr_max is None else 10.0 ** (-snr_max / 10.0)
    ratio = signal / (noise + floor * signal + EPSILON) + EPSILON
    return -10.0 / math.log(10.0) * audible * tf.math.log(ratio), audible
