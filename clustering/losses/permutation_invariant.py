"""Permutation-invariant losses: the best order of the estimates of an utterance.

[1] Yu, Kolbaek, Tan and Jensen, Permutation invariant training of deep models for
speaker-independent multi-talker speech separation, ICASSP 2017.
[2] Le Roux, Wisdom, Erdogan and Hershey, SDR - half-baked or well done?, ICASSP 2019.

nussl 1.1 uses the best order of every time-frequency bin separately, so an estimate may
hold different sources in different bins. Here there is one order for each example, as
in [1].
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import tensorflow as tf

from common.signal.permutation import best_permutation, permute

InferenceLoss = Literal["l1", "mse", "si_sdr", "snr"]
"""Names of the costs of an estimate, see :func:`pit`."""

RATIOS = ("si_sdr", "snr")
"""Costs that are defined only for waveforms."""

# Added to energies in divisors and to their ratio, so that costs are at most 80 dB and
# finite for a perfect estimate.
EPSILON = 1e-8


def pit(
    estimates: tf.Tensor, sources: tf.Tensor, loss: InferenceLoss = "l1"
) -> tf.Tensor:
    r"""Average the costs of the estimates in the best order of each example, [1].

    .. math:: \min_\pi \frac 1 S \sum_s c(e_{\pi(s)}, y_s)

    With more estimates than sources the best subset of them counts, and the others have
    no cost. The cost c is the mean of ``|e - y|`` for ``"l1"``, that of its square for
    ``"mse"``, or a negative ratio in dB,

    .. math:: -10 \log_{10}\left(\frac{|t|^2}{|e - t|^2 + \epsilon} + \epsilon\right)

    where t is y for ``"snr"`` and its projection ``<e, y> y / (|y|^2 + 1e-8)`` for
    ``"si_sdr"``, [2], of waveforms without their means. With both terms of
    1e-8 the cost of a perfect estimate is finite; nussl has no gradient there. Silent
    sources may have any estimate and are left out of the mean of ratios; nussl and
    asteroid add a constant 80 dB.

    Args:
        estimates: float32 [batch, estimates, frames, bins] or [..., samples], no
            fewer than sources.
        sources: float32 [batch, sources, ...] of the same rank.
        loss: ``"l1"``, ``"mse"``, ``"si_sdr"`` or ``"snr"``.

    Returns:
        float32 [batch]; 0 for ratios if all sources are silent. The gradient is that of
        the best order.

    Raises:
        ValueError: The loss is not one of these, or shapes do not fit.

    >>> pit([[[1.0, 2.0], [5.0, 6.0]]], [[[5.0, 6.0], [1.0, 4.0]]]).numpy().tolist()
    [0.5]
    >>> pit([[[3.0, -3.0]]], [[[1.0, -1.0]]], "snr").numpy().round(1)
    array([6.], dtype=float32)
    """
    estimates, sources = _checked(estimates, sources, loss)
    # Only the cost of the best order keeps tensors for its gradient.
    costs = _pairwise(tf.stop_gradient(estimates), sources, loss)
    ordered = permute(estimates, best_permutation(costs)[1])
    return _in_order(ordered, sources, loss)


def _in_order(
    estimates: tf.Tensor, sources: tf.Tensor, loss: InferenceLoss
) -> tf.Tensor:
    """Average the costs of estimates that are in the order of the sources, [batch]."""
    if loss not in RATIOS:
        return tf.reduce_mean(_difference(estimates, sources, loss), -1)
    costs, audible = _ratio(estimates, sources, loss)
    return tf.reduce_sum(costs, -1) / tf.maximum(tf.reduce_sum(audible, -1), 1.0)


def _pairwise(
    estimates: tf.Tensor, sources: tf.Tensor, loss: InferenceLoss
) -> tf.Tensor:
    """Compute the costs of all pairs [batch, sources, estimates]."""
    estimates, sources = estimates[:, tf.newaxis], sources[:, :, tf.newaxis]
    if loss in RATIOS:
        return _ratio(estimates, sources, loss)[0]
    return _difference(estimates, sources, loss, inner=estimates.shape.rank - 3)


def _checked(
    estimates: tf.Tensor, sources: tf.Tensor, loss: str
) -> tuple[tf.Tensor, tf.Tensor]:
    if loss not in get_args(InferenceLoss):
        raise ValueError(
            f"loss is {loss!r}; expected one of {', '.join(get_args(InferenceLoss))}"
        )
    estimates, sources = tf.cast(estimates, tf.float32), tf.cast(sources, tf.float32)
    fits = estimates.shape.rank == sources.shape.rank and estimates.shape[
        2:
    ].is_compatible_with(sources.shape[2:])
    if not fits or (sources.shape.rank != 3 and loss in RATIOS):
        axes = "samples" if loss in RATIOS else "frames, bins"
        raise ValueError(
            f"estimates {estimates.shape} and sources {sources.shape} do not fit; "
            f"expected [batch, sources, {axes}] of both for {loss!r}"
        )
    return estimates, sources


def _difference(
    estimates: tf.Tensor,
    sources: tf.Tensor,
    loss: InferenceLoss,
    inner: int | None = None,
) -> tf.Tensor:
    """Mean over the axes of a source, the last ``inner`` ones."""
    inner = estimates.shape.rank - 2 if inner is None else inner
    difference = estimates - sources
    costs = tf.abs(difference) if loss == "l1" else tf.square(difference)
    return tf.reduce_mean(costs, list(range(-inner, 0)))


def _ratio(
    estimates: tf.Tensor,
    sources: tf.Tensor,
    loss: InferenceLoss,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return costs, 0 for silent sources, and whether sources are audible, 1 or 0."""
    estimates = estimates - tf.reduce_mean(estimates, -1, keepdims=True)
    sources = sources - tf.reduce_mean(sources, -1, keepdims=True)
    energy = tf.reduce_sum(tf.square(sources), -1)
    audible = tf.cast(energy > EPSILON, tf.float32)
    target = sources
    if loss == "si_sdr":
        match = tf.reduce_sum(estimates * sources, -1) / (energy + EPSILON)
        target = match[..., tf.newaxis] * sources
    signal = tf.reduce_sum(tf.square(target), -1)
    noise = tf.reduce_sum(tf.math.squared_difference(estimates, target), -1)
    ratio = signal / (noise + EPSILON) + EPSILON
    return -10.0 / math.log(10.0) * audible * tf.math.log(ratio), audible
