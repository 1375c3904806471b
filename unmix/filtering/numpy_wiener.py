"""The Wiener filter of :mod:`.wiener` in numpy, without TensorFlow, and its options.

Bins are independent, so a few are filtered at a time to save memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

WINDOW_FRAMES = 300
"""Frames in a window of the filter, as in the original."""
SLOPE = 15.0
"""Steepness of the compression of masks."""
SCALE = 10.0
"""Largest magnitude of the mixture in the iterations."""
EPS = 1e-10
"""Energy of the noise in the model of the iterations."""
BINS_AT_ONCE = 128


@dataclass(frozen=True)
class Options:
    """Options of the filter.

    Attributes:
        niter: Iterations of expectation maximisation, 0 for the first estimates.
        softmask: Start from ratio masks instead of the phase of the mixture.
        residual: Add a last target, the mixture minus the first estimates.
        alpha: Exponent of the magnitudes in the masks; the original had it up to
            version 1.0. Only with ``softmask``.
        logit: Mask value that is mapped to one half; higher and lower values are pushed
            towards 1 and 0 by 1 / (1 + exp(-15 (mask - logit))), as in the original of
            April 2019; None or 0 leaves the masks. Only with ``softmask``.

    Raises:
        ValueError: ``niter`` is negative, or ``alpha`` or ``logit`` is set without
            ``softmask``.
    """

    niter: int = 1
    softmask: bool = False
    residual: bool = False
    alpha: float = 1.0
    logit: float | None = None

    def __post_init__(self) -> None:
        if self.niter < 0:
            raise ValueError(
                f"niter is {self.niter}; expected the number of iterations, 0 for none"
            )
        if not self.softmask and (self.alpha != 1.0 or self.logit):
            raise ValueError(
                f"alpha={self.alpha} and logit={self.logit} shape the masks of "
                "softmask, which is off; set softmask, or leave alpha at 1 and logit "
                "at none"
            )


def grid_frames(window: int | None) -> int:
    """Return the number of frames of which chunks begin at a multiple.

    Args:
        window: Frames in a window of the filter; None or 0: a whole segment.

    Raises:
        ValueError: The number is negative.

    >>> grid_frames(300), grid_frames(None)
    (300, 1)
    """
    if window is not None and window < 0:
        raise ValueError(
            f"wiener_win_len is {window}; expected the frames in a window of the "
            "filter, or 0 for all of a segment"
        )
    return window or 1


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
