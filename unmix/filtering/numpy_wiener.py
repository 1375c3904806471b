"""The Wiener filter of :mod:`.wiener` in numpy, for use without TensorFlow.

Bins are independent, so a few are filtered at a time to save memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SLOPE = 15.0
SCALE = 10.0
EPS = 1e-10
BINS_AT_ONCE = 128


class Options(NamedTuple):
    """Options of the filter, as in :func:`unmix.filtering.wiener.wiener`.

    Attributes:
        niter: Iterations of expectation maximisation.
        softmask: Start from ratio masks instead of the phase of the mixture.
        residual: Add the mixture minus the targets as one more source.
        alpha: Exponent of the ratio masks.
        logit: Centre of their compression, None for none.
    """

    niter: int = 1
    softmask: bool = False
    residual: bool = False
    alpha: float = 1.0
    logit: float | None = None


class _Spatial(NamedTuple):
    """Covariance of each target: power [targets, frames, bins] times one for each bin.

    Variance is [targets, channels, bins], the covariance of both channels
    [targets, bins].
    """

    power: np.ndarray
    variance: np.ndarray
    cross: np.ndarray


def wiener(magnitudes: np.ndarray, mixture: np.ndarray, options: Options) -> np.ndarray:
    """Separate a mixture with the magnitudes of its targets.

    Args:
        magnitudes: float32 [targets, channels or 1, frames, bins], not negative.
        mixture: complex64 [channels, frames, bins] of one or two channels.
        options: Options of the filter.

    Returns:
        complex64 [targets (+ 1), channels, frames, bins].

    >>> mixture = np.full([1, 1, 1], 3 + 4j, np.complex64)
    >>> options = Options(niter=0, residual=True)
    >>> estimates = wiener(np.full([1, 1, 1, 1], 2.0), mixture, options)
    >>> [f"{each:.2f}" for each in estimates.ravel()]
    ['1.20+1.60j', '1.80+2.40j']
    """
    loudest = float(np.square(np.abs(mixture).astype(np.float64)).max(initial=0.0))
    scale = max(loudest / SCALE**2, 1.0)
    sources = len(magnitudes) + options.residual
    estimates = np.empty([sources, *mixture.shape], np.complex64)
    for start in range(0, mixture.shape[-1], BINS_AT_ONCE):
        part = np.s_[..., start : start + BINS_AT_ONCE]
        x = mixture[part].astype(np.complex128)
        y = _first(magnitudes[part].astype(np.float64), x, options)
        for _ in range(options.niter):
            y = _filtered(_spatial(y, EPS * scale), x, EPS**0.5 * scale)
        estimates[part] = y
    return estimates


def _first(gains: np.ndarray, x: np.ndarray, options: Options) -> np.ndarray:
    """First estimates, by the phase of the mixture or by ratio masks."""
    absolute = np.abs(x)
    sounds = absolute > 0.0
    if options.softmask:
        carrier, total = x, np.ones_like(absolute)
        gains = gains**options.alpha
        gains = gains / (EPS + gains.sum(0))
        if options.logit:
            gains = 1.0 / (1.0 + np.exp(-SLOPE * (gains - options.logit)))
    else:
        carrier = np.where(sounds, x / np.where(sounds, absolute, 1.0), 1.0)
        total = absolute
    gains = np.broadcast_to(gains, [len(gains), *x.shape])
    if options.residual:
        gains = np.concatenate([gains, (total - gains.sum(0))[np.newaxis]])
    return gains * carrier


def _spatial(y: np.ndarray, eps: float) -> _Spatial:
    """Estimate the covariances from [targets, channels, frames, bins]."""
    energy = np.square(y.real) + np.square(y.imag)
    sums = energy.sum(-2)
    weight = 1.0 / (eps + sums.mean(1))
    cross = (y[:, 0] * y[:, -1].conj()).sum(-2) * weight
    return _Spatial(energy.mean(1), sums * weight[:, np.newaxis], cross)


def _filtered(model: _Spatial, x: np.ndarray, noise: float) -> np.ndarray:
    """Estimate the targets [targets, channels, frames, bins] from the mixture."""
    w = _solved(model, x, noise)
    y = model.variance[:, :, np.newaxis] * w
    if len(x) == 2:
        y += _across(model.cross[:, np.newaxis], w)
    return model.power[:, np.newaxis] * y


def _solved(model: _Spatial, x: np.ndarray, noise: float) -> np.ndarray:
    """Multiply the mixture by the inverse of its covariance in the model."""
    variance = np.einsum("tfb,tcb->cfb", model.power, model.variance)
    if len(x) == 1:
        return x / (noise + variance)
    cross = np.einsum("tfb,tb->fb", model.power, model.cross)
    left, right = variance
    # If all targets have one direction, the last term is a difference of equal numbers.
    volume = np.maximum(left * right - np.square(np.abs(cross)), 0.0)
    inverse = 1.0 / (noise * (noise + left + right) + volume)
    return ((noise + variance[::-1]) * x - _across(cross, x)) * inverse


def _across(cross: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Multiply both channels by the covariance of the other."""
    return np.stack([cross * x[1], cross.conj() * x[0]], axis=-3)


def check_options(
    niter: int, softmask: bool, alpha: float, logit: float | None
) -> None:
    """Refuse options of the filter that are out of range or have no effect.

    Raises:
        ValueError: There are fewer than no iterations, or masks are shaped that are not
            used.

    >>> check_options(1, True, 2.0, None)
    """
    if niter < 0:
        raise ValueError(
            f"niter is {niter}; expected the number of iterations, 0 for none"
        )
    if not softmask and (alpha != 1.0 or logit):
        raise ValueError(
            f"alpha={alpha} and logit={logit} shape the masks of softmask, which is "
            "off; set softmask, or leave alpha at 1 and logit at none"
        )
