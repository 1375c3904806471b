"""The Wiener filter, from magnitudes of the targets to their spectrograms.

The networks estimate the magnitude of each target in each bin. The filter computes
complex spectrograms that are consistent with the mixture: first by its phase or by
ratio masks, then by iterations of expectation maximisation, which use the position of
each target in the stereo image.

[1] Uhlich et al., Improving music source separation based on deep neural networks
through data augmentation and network blending, ICASSP 2017.
[2] Duong, Vincent and Gribonval, Under-determined reverberant audio source separation
using a full-rank spatial covariance model, IEEE TASLP 18 (7), 2010.
[3] Prätzlich et al., Kernel additive modeling for interference reduction in
multi-channel music recordings, ICASSP 2015.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from unmix.filtering.numpy_wiener import EPS, SCALE, SLOPE, WINDOW_FRAMES, Options

DEFAULT = Options()


class Planes(NamedTuple):
    """Complex numbers as two float64 tensors, whose products compilers fuse well."""

    real: tf.Tensor
    imag: tf.Tensor


class FirstEstimates(NamedTuple):
    """First estimates, real gains on one complex carrier.

    Attributes:
        gains: [..., targets, channels, frames, bins].
        carrier: [..., channels, frames, bins].
        power: Squared magnitude of the carrier, None if all of it is 1.
        total: Sum of the gains of all sources [..., channels, frames, bins].
    """

    gains: tf.Tensor
    carrier: Planes
    power: tf.Tensor | None
    total: tf.Tensor


class SpatialModel(NamedTuple):
    """Each target as a Gaussian with one covariance for every bin, as in [2].

    Attributes:
        power: Mean over the channels [..., targets, frames, bins].
        variance: Variance of the channels relative to it [..., targets, channels,
            bins].
        cross: Covariance of the first channel with the last [..., targets, 1, bins].
    """

    power: tf.Tensor
    variance: tf.Tensor
    cross: Planes


def wiener(
    magnitudes: tf.Tensor, mixture: tf.Tensor, options: Options = DEFAULT
) -> tf.Tensor:
    r"""Separate a mixture with the magnitudes of its targets.

    The first estimates of target j are y_j = V_j x / |x|, or with ``softmask`` y_j =
    x V_j^alpha / (eps + sum_k V_k^alpha). Each iteration then computes

    .. math:: v_j = \frac 1 C \|y_j\|^2, \quad
        R_j = \sum_t y_j y_j^H / (eps + \sum_t v_j), \quad
        y_j = v_j R_j (\sqrt{eps} I + \sum_k v_k R_k)^{-1} x,

    the approximation of [1] to the algorithm of [2]. It is computed in float64 with
    the determinant as a sum of terms that cannot be negative: if all estimates have
    equal channels, the matrix is singular in float32. Where x is exactly zero and there
    is no ``softmask``, the original goes on with x = 1; here x stays zero.

    Frames of zeros at the end have no effect. The input should be one window of a few
    seconds, because each bin has one direction for all its frames.

    Args:
        magnitudes: float [..., targets, channels or 1, frames, bins], not negative.
        mixture: complex64 or complex128 [..., channels, frames, bins] of one or two
            channels.
        options: Options of the filter; the compression of masks is that of [3].

    Returns:
        Spectrograms [..., targets (+ 1), channels, frames, bins], of the type of the
        mixture. They sum to it for ``niter=0`` with a residual, or with uncompressed
        masks in bins where a target is not zero.

    Raises:
        ValueError: The shapes are inconsistent.

    >>> mixture = tf.constant([[[3.0 + 4.0j]]], tf.complex64)
    >>> estimates = wiener(
    ...     tf.constant([[[[2.0]]]]), mixture, Options(niter=0, residual=True)
    ... )
    >>> [f"{each:.2f}" for each in estimates.numpy().ravel()]
    ['1.20+1.60j', '1.80+2.40j']
    """
    magnitudes, mixture = map(tf.convert_to_tensor, (magnitudes, mixture))
    _check_shapes(magnitudes, mixture)
    if magnitudes.shape[-3] != mixture.shape[-3]:
        magnitudes = tf.repeat(magnitudes, mixture.shape[-3], axis=-3)
    x = Planes(*(tf.cast(f(mixture), tf.float64) for f in (tf.math.real, tf.math.imag)))
    if options.softmask:
        first = _ratio_masks(magnitudes, x, options)
    else:
        first = _mixture_phase(magnitudes, x)
    if options.residual:
        first = _append_residual(first)
    y = _maximise(first, x, options.niter) if options.niter else _planes(first)
    part = tf.float32 if mixture.dtype == tf.complex64 else tf.float64
    return tf.complex(tf.cast(y.real, part), tf.cast(y.imag, part))


def windowed(
    magnitudes: tf.Tensor,
    mixture: tf.Tensor,
    window_frames: int = WINDOW_FRAMES,
    options: Options = DEFAULT,
) -> tf.Tensor:
    """Apply :func:`wiener` separately to windows of a spectrogram.

    All windows are in one graph, for training through the filter; separation of files
    runs one window after the other.

    Args:
        magnitudes: float [..., targets, channels or 1, frames, bins].
        mixture: complex [..., channels, frames, bins].
        window_frames: Length of the windows, of which the last may be shorter.
        options: Options of the filter.

    Returns:
        Spectrograms [..., targets (+ 1), channels, frames, bins].

    Raises:
        ValueError: The shapes are inconsistent.

    >>> sound = tf.complex(tf.random.stateless_normal([2, 7, 3], [1, 2]), 0.0)
    >>> windowed(tf.abs(sound)[tf.newaxis], sound, window_frames=4).shape.as_list()
    [1, 2, 7, 3]
    """
    magnitudes, mixture = map(tf.convert_to_tensor, (magnitudes, mixture))
    length = min(window_frames, mixture.shape[-2] or window_frames)
    estimates = wiener(
        _split_windows(magnitudes, length), _split_windows(mixture, length), options
    )
    joined = _join_windows(estimates)[..., : tf.shape(mixture)[-2], :]
    shape = [*estimates.shape[1:-2], *mixture.shape[-2:]]
    return tf.ensure_shape(joined, shape)


def _mixture_phase(magnitudes: tf.Tensor, x: Planes) -> FirstEstimates:
    """Use the phase of the mixture, which is 0 in bins of zeros."""
    power = _power(x)
    sounds = power > 0.0
    absolute = tf.sqrt(tf.where(sounds, power, 1.0))
    carrier = Planes(tf.where(sounds, x.real / absolute, 1.0), x.imag / absolute)
    total = tf.where(sounds, absolute, 0.0)
    return FirstEstimates(tf.cast(magnitudes, tf.float64), carrier, None, total)


def _ratio_masks(magnitudes: tf.Tensor, x: Planes, options: Options) -> FirstEstimates:
    """Multiply the mixture by the ratio mask of each target."""
    gains = tf.cast(magnitudes, tf.float64)
    if options.alpha != 1.0:
        gains = tf.pow(gains, options.alpha)
    gains /= EPS + tf.reduce_sum(gains, axis=-4, keepdims=True)
    if options.logit:
        gains = tf.sigmoid(SLOPE * (gains - options.logit))
    return FirstEstimates(gains, x, _power(x), tf.ones_like(x.real))


def _append_residual(first: FirstEstimates) -> FirstEstimates:
    """Add the rest of the mixture as a target."""
    total = first.total[..., tf.newaxis, :, :, :]
    rest = total - tf.reduce_sum(first.gains, axis=-4, keepdims=True)
    return first._replace(gains=tf.concat([first.gains, rest], axis=-4))


def _maximise(first: FirstEstimates, x: Planes, niter: int) -> Planes:
    """Run the iterations of expectation maximisation.

    The original attenuates a loud mixture; more noise has the same effect.
    """
    loudest = tf.reduce_max(_power(x), axis=[-3, -2, -1])[..., tf.newaxis, tf.newaxis]
    scale = tf.maximum(loudest / SCALE**2, 1.0)
    model = _model(*_first_moments(first), EPS * scale)
    y = _filter(model, x, EPS**0.5 * scale[..., tf.newaxis])
    for _ in range(niter - 1):
        model = _model(_power(y), _cross(y), EPS * scale)
        y = _filter(model, x, EPS**0.5 * scale[..., tf.newaxis])
    return y


def _first_moments(first: FirstEstimates) -> tuple[tf.Tensor, Planes]:
    """Energy and cross products of the first estimates, with few passes over them."""
    gains, turn = first.gains, _cross(first.carrier)
    energy = tf.square(gains)
    if first.power is not None:
        energy *= first.power[..., tf.newaxis, :, :, :]
    both = gains[..., 0, :, :] * gains[..., -1, :, :]
    return energy, Planes(*(both * part[..., tf.newaxis, :, :] for part in turn))


def _model(energy: tf.Tensor, cross: Planes, eps: tf.Tensor) -> SpatialModel:
    """Estimate the model from energies and cross products of the estimates."""
    sums = _sum_frames(energy)
    weight = 1.0 / (eps + tf.reduce_mean(sums, axis=-2))
    weight = weight[..., tf.newaxis, :]
    parts = (_sum_frames(part)[..., tf.newaxis, :] * weight for part in cross)
    return SpatialModel(tf.reduce_mean(energy, axis=-3), sums * weight, Planes(*parts))


def _filter(model: SpatialModel, x: Planes, noise: tf.Tensor) -> Planes:
    """Estimate the targets of a model from the mixture."""
    w = Planes(*(part[..., tf.newaxis, :, :, :] for part in _solve(model, x, noise)))
    variance = model.variance[..., tf.newaxis, :]  # [..., targets, channels, 1, bins]
    y = Planes(variance * w.real, variance * w.imag)
    if variance.shape[-3] == 2:
        other = _across(Planes(*(part[..., tf.newaxis, :] for part in model.cross)), w)
        y = Planes(y.real + other.real, y.imag + other.imag)
    power = model.power[..., tf.newaxis, :, :]
    return Planes(power * y.real, power * y.imag)


def _solve(model: SpatialModel, x: Planes, noise: tf.Tensor) -> Planes:
    """Multiply the mixture by the inverse of its covariance in the model."""
    variance = _mix(model.power, model.variance)
    if x.real.shape[-3] == 1:
        inverse = 1.0 / (noise + variance)
        return Planes(x.real * inverse, x.imag * inverse)
    cross = Planes(*(_mix(model.power, part) for part in model.cross))
    left, right = variance[..., :1, :, :], variance[..., 1:, :, :]
    # If all targets have one direction, the last term is a difference of equal numbers.
    determinant = tf.maximum(left * right - _power(cross), 0.0)
    inverse = 1.0 / (noise * (noise + left + right) + determinant)
    others = noise + tf.reverse(variance, [-3])
    back = _across(cross, x)
    real, imag = (others * p - q for p, q in zip(x, back, strict=True))
    return Planes(real * inverse, imag * inverse)


def _mix(power: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Add up parts [..., targets, channels, bins] of covariances, times the power."""
    targets = zip(
        tf.unstack(power, axis=-3),
        tf.unstack(part[..., tf.newaxis, :], axis=-4),
        strict=True,
    )
    terms = [spectrum[..., tf.newaxis, :, :] * one for spectrum, one in targets]
    return tf.add_n(terms)


def _across(cross: Planes, x: Planes) -> Planes:
    """Multiply both channels by the covariance [..., 1, frames, bins] of the other."""
    sign = tf.constant([[[1.0]], [[-1.0]]], tf.float64)
    hermitian = Planes(cross.real, sign * cross.imag)
    return _times(hermitian, Planes(*(tf.reverse(part, [-3]) for part in x)))


def _planes(first: FirstEstimates) -> Planes:
    parts = (part[..., tf.newaxis, :, :, :] for part in first.carrier)
    return Planes(*(first.gains * part for part in parts))


def _power(y: Planes) -> tf.Tensor:
    return tf.square(y.real) + tf.square(y.imag)


def _cross(y: Planes) -> Planes:
    """Multiply the first channel by the conjugate of the last."""
    left, right = (Planes(*(part[..., c, :, :] for part in y)) for c in (0, -1))
    return _times(left, Planes(right.real, -right.imag))


def _times(a: Planes, b: Planes) -> Planes:
    return Planes(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def _sum_frames(spectra: tf.Tensor) -> tf.Tensor:
    """Sum over frames [..., bins].

    The quarters are added first. Compilers turn a plain sum into a loop over the frames
    of one bin after the other, which takes four times as long.
    """
    quarter = (spectra.shape[-2] or tf.shape(spectra)[-2]) // 4
    parts = [spectra[..., i * quarter : (i + 1) * quarter, :] for i in range(4)]
    rest = tf.reduce_sum(spectra[..., 4 * quarter :, :], axis=-2)
    return rest + tf.reduce_sum(tf.add_n(parts), axis=-2)


def _split_windows(spectra: tf.Tensor, length: int) -> tf.Tensor:
    """Cut [..., frames, bins] into windows [windows, ..., length, bins]."""
    shape = tf.shape(spectra)
    missing = tf.math.floormod(-shape[-2], length)
    none = [0, 0]
    ends = tf.stack([none] * (len(spectra.shape) - 2) + [[0, missing], none])
    padded = tf.pad(spectra, ends)
    split = tf.concat([shape[:-2], [-1, length], shape[-1:]], axis=0)
    rank = len(spectra.shape)
    order = [rank - 2, *range(rank - 2), rank - 1, rank]
    windows = tf.transpose(tf.reshape(padded, split), order)
    return tf.ensure_shape(
        windows, [None, *spectra.shape[:-2], length, spectra.shape[-1]]
    )


def _join_windows(windows: tf.Tensor) -> tf.Tensor:
    """Join windows [windows, ..., length, bins] one after the other."""
    rank = windows.shape.rank
    shape = tf.shape(windows)
    together = tf.transpose(windows, [*range(1, rank - 2), 0, rank - 2, rank - 1])
    joined = tf.concat([shape[1:-2], [shape[0] * shape[-2]], shape[-1:]], axis=0)
    return tf.reshape(together, joined)


def _check_shapes(magnitudes: tf.Tensor, mixture: tf.Tensor) -> None:
    channels = mixture.shape[-3] if (mixture.shape.rank or 0) >= 3 else None
    if channels not in (1, 2):
        raise ValueError(
            f"the mixture has shape {mixture.shape}; expected [..., channels, frames, "
            "bins] with 1 or 2 channels, separate more of them in pairs"
        )
    if magnitudes.shape.rank is None or magnitudes.shape.rank < 4:
        raise ValueError(
            f"the magnitudes have shape {magnitudes.shape}; expected [..., targets, "
            "channels, frames, bins], with an axis of 1 for a single target"
        )
    targets, own = magnitudes.shape[-4:-2]
    if not targets or own not in (1, channels):
        raise ValueError(
            f"the magnitudes have shape {magnitudes.shape}; expected a fixed number of "
            f"targets, and 1 or the {channels} channels of the mixture"
        )
    if not magnitudes.shape[-2:].is_compatible_with(mixture.shape[-2:]):
        raise ValueError(
            f"the magnitudes have shape {magnitudes.shape} and the mixture "
            f"{mixture.shape}; expected the same frames and bins, of one transform"
        )
