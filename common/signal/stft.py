"""Short-time Fourier transforms in the framing conventions of the four papers' code.

One pair of functions, :func:`stft` and :func:`istft`, and one frozen :class:`Stft` that
states the framing. The inverse is the least-squares one of Griffin and
Lim (1984): every frame is windowed again and the overlap-added sum is divided by the
overlap-added squared window, so analysis followed by synthesis is exact wherever that
sum is not zero. Where it is nearly zero, at the edges of a sound, the division would
amplify a masked spectrogram, so the result is limited there.
"""

from __future__ import annotations

import tensorflow as tf

from common.signal.framing import (
    COVERED,
    Length,
    Stft,
    StftError,
    analysis_window,
    at_least,
    bin_gains,
    edge_gain,
    num_frames,
    synthesis_window,
    window,
)

__all__ = ["Stft", "StftError", "istft", "num_frames", "stft"]


def stft(waveform: tf.Tensor, params: Stft) -> tf.Tensor:
    """Compute the short-time Fourier transform (STFT) of waveforms.

    X[f, k] = sum_n w[n] x[f H + n] exp(-2 pi i k n / N) over the padded signal.

    Args:
        waveform: float32 [..., samples]; the length may be unknown in a graph.
        params: Framing, see :class:`Stft`.

    Returns:
        complex64 [..., frames, bins], with :func:`num_frames` frames.

    >>> stft(tf.zeros([2, 1000]), Stft(256, 64, padding="constant")).shape
    TensorShape([2, 16, 129])
    """
    waveform = tf.convert_to_tensor(waveform, tf.float32)
    samples = _last_length(waveform)
    frames = num_frames(samples, params)
    padded = _pad(waveform, samples, frames, params)  # [..., padded samples]
    framed = tf.signal.frame(padded, params.window_samples, params.hop_samples)
    windowed = framed * tf.constant(analysis_window(params), tf.float32)
    # TensorFlow cannot extend the frames where there are none.
    extended = _fit(windowed, params.transform_samples)
    spectrogram = tf.signal.rfft(extended, [params.transform_samples])
    gains = bin_gains(params)
    return spectrogram if gains is None else spectrogram * tf.constant(gains + 0j)


def istft(spectrogram: tf.Tensor, params: Stft, samples: Length) -> tf.Tensor:
    """Compute waveforms from spectrograms, the inverse of :func:`stft`.

    Args:
        spectrogram: complex64 [..., frames, bins].
        params: The framing that the spectrogram was made with.
        samples: Length of the result; samples after the last frame are zero.

    Returns:
        float32 [..., samples], at most 4 times as large as the peaks of the frames
        that reach a sample add up to.

    >>> ones, params = tf.ones([1, 700]), Stft(128, 32, padding="reflect")
    >>> bool(tf.reduce_max(abs(istft(stft(ones, params), params, 700) - 1)) < 1e-6)
    True
    """
    spectrogram = tf.convert_to_tensor(spectrogram, tf.complex64)
    gains = bin_gains(params)
    if gains is not None:
        spectrogram = spectrogram / tf.constant(gains + 0j)
    frames = tf.signal.irfft(spectrogram, [params.transform_samples])
    frames = frames[..., : params.window_samples]
    windowed = frames * tf.constant(synthesis_window(params), tf.float32)
    summed = tf.signal.overlap_and_add(windowed, params.hop_samples)
    if params.padding != "end":
        summed = summed / _squared_window_sum(tf.shape(frames)[-2], params)
        limit = _limit(frames, params)
        summed = tf.maximum(tf.minimum(summed, limit), -limit)
    return _fit(summed[..., params.front_samples :], samples)


def _last_length(tensor: tf.Tensor) -> Length:
    """Return the last axis as an int if it is static."""
    return tensor.shape[-1] if tensor.shape[-1] is not None else tf.shape(tensor)[-1]


def _zeros(like: tf.Tensor, samples: Length) -> tf.Tensor:
    """Make [..., samples] zeros for joining to ``like`` along the last axis."""
    return tf.zeros(tf.concat([tf.shape(like)[:-1], [samples]], 0), like.dtype)


def _pad(
    waveform: tf.Tensor, samples: Length, frames: Length, params: Stft
) -> tf.Tensor:
    """Surround a signal so that plain framing gives exactly ``frames`` frames."""
    if params.padding == "none":
        return waveform
    front = params.front_samples
    reach = params.window_samples + (frames - 1) * params.hop_samples
    if params.padding == "reflect":
        waveform = _mirror(waveform, samples, front)
    elif front:
        waveform = tf.concat([_zeros(waveform, front), waveform], -1)
    return _fit(waveform, reach)


def _mirror(waveform: tf.Tensor, samples: Length, half: int) -> tf.Tensor:
    missing = at_least(0, half + 1 - samples)
    extended = tf.concat([waveform, _zeros(waveform, missing)], -1)
    head = tf.reverse(extended[..., 1 : half + 1], [-1])
    tail = tf.reverse(extended[..., -half - 1 : -1], [-1])
    return tf.concat([head, extended, tail], -1)


def _fit(signal: tf.Tensor, samples: Length) -> tf.Tensor:
    """Trim or zero-pad the end to exactly ``samples``."""
    missing = at_least(0, samples - _last_length(signal))
    if not isinstance(missing, int) or missing:
        signal = tf.concat([signal, _zeros(signal, missing)], -1)
    signal = signal[..., :samples]
    if isinstance(samples, int):
        signal.set_shape(signal.shape[:-1] + [samples])
    return signal


def _squared_window_sum(frames: tf.Tensor, params: Stft) -> tf.Tensor:
    """Overlap-add the squared window over the frames, 1 where no frame reaches."""
    squared = tf.constant(window(params) ** 2, tf.float32)
    total = tf.signal.overlap_and_add(
        tf.broadcast_to(squared, [frames, params.window_samples]), params.hop_samples
    )
    return tf.where(total > COVERED, total, tf.ones_like(total))


def _limit(frames: tf.Tensor, params: Stft) -> tf.Tensor:
    """Bound the overlap-added samples by the peaks of the frames, [..., samples]."""
    highest, lowest = tf.reduce_max(frames, -1), tf.reduce_min(frames, -1)
    peaks = tf.stop_gradient(tf.maximum(highest, -lowest))  # [..., frames]
    hop, length = params.hop_samples, params.window_samples
    reach = -(-length // hop)  # hops that a frame covers
    ones = tf.ones([reach], peaks.dtype)
    summed = tf.signal.overlap_and_add(peaks[..., tf.newaxis] * ones, 1)
    samples = (tf.shape(frames)[-2] - 1) * hop + length
    return edge_gain(params) * tf.repeat(summed, hop, -1)[..., :samples]
