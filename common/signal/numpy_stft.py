"""The transforms of :mod:`common.signal.stft` in numpy, for use without TensorFlow."""

from __future__ import annotations

import numpy as np

from common.signal.framing import (
    COVERED,
    Stft,
    analysis_window,
    bin_gains,
    edge_gain,
    num_frames,
    synthesis_window,
    window,
)


def stft(waveform: np.ndarray, params: Stft) -> np.ndarray:
    """Compute the short-time Fourier transform (STFT) of waveforms.

    Args:
        waveform: float32 [..., samples].
        params: Framing, see :class:`common.signal.framing.Stft`.

    Returns:
        complex64 [..., frames, bins].

    >>> stft(np.zeros([2, 1000], np.float32), Stft(256, 64, padding="constant")).shape
    (2, 16, 129)
    """
    count = num_frames(waveform.shape[-1], params)
    shape = analysis_window(params).astype(np.float32)
    padded = _padded(waveform, count, params)
    windowed = frames(padded, params, count) * shape
    spectrogram = np.fft.rfft(windowed, params.transform_samples).astype(np.complex64)
    gains = bin_gains(params)
    return spectrogram if gains is None else spectrogram * gains


def istft(spectrogram: np.ndarray, params: Stft, samples: int) -> np.ndarray:
    """Compute waveforms from spectrograms, the inverse of :func:`stft`.

    Args:
        spectrogram: complex64 [..., frames, bins].
        params: The framing that the spectrogram was made with.
        samples: Length of the result; samples after the last frame are zero.

    Returns:
        float32 [..., samples], limited as by :func:`common.signal.stft.istft`.

    >>> ones, params = np.ones([1, 700], np.float32), Stft(128, 32, padding="reflect")
    >>> bool(abs(istft(stft(ones, params), params, 700) - 1).max() < 1e-6)
    True
    """
    gains = bin_gains(params)
    spectrogram = spectrogram if gains is None else spectrogram / gains
    made = np.fft.irfft(spectrogram, params.transform_samples).astype(np.float32)
    made = made[..., : params.window_samples]
    shape = synthesis_window(params).astype(np.float32)
    summed = overlap_and_add(made * shape, params.hop_samples)
    if params.padding != "end":
        summed /= squared_window_sum(params, made.shape[-2])
        limit = _limit(made, params)[..., : summed.shape[-1]]
        summed = np.clip(summed, -limit, limit)
    front = params.front_samples
    return _fitted(summed[..., front:], samples)


def frames(padded: np.ndarray, params: Stft, count: int) -> np.ndarray:
    """View the frames of padded waveforms, [..., count, window samples].

    >>> frames(np.arange(6), Stft(4, 2), 2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    """
    size, hop = params.window_samples, params.hop_samples
    if not count:
        return np.zeros([*padded.shape[:-1], 0, size], padded.dtype)
    views = np.lib.stride_tricks.sliding_window_view(padded, size, -1)
    return views[..., : (count - 1) * hop + 1 : hop, :]


def overlap_and_add(made: np.ndarray, hop: int) -> np.ndarray:
    """Add up frames [..., frames, size] that lie a hop apart.

    >>> overlap_and_add(np.ones([2, 3]), 2).tolist()
    [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    count, size = made.shape[-2:]
    rows = -(-size // hop)
    total = np.zeros([*made.shape[:-2], count + rows - 1, hop], made.dtype)
    for row in range(rows):
        part = made[..., row * hop : (row + 1) * hop]
        total[..., row : row + count, : part.shape[-1]] += part
    line = total.reshape(*made.shape[:-2], -1)
    return line[..., : max(0, count - 1) * hop + size]


def squared_window_sum(params: Stft, count: int) -> np.ndarray:
    """Overlap-add the squared window over frames, 1 where no frame reaches.

    >>> squared_window_sum(Stft(4, 2), 2).round(3).tolist()
    [1.0, 0.25, 1.0, 0.5, 1.0, 0.25]
    """
    squared = (window(params) ** 2).astype(np.float32)
    total = overlap_and_add(np.tile(squared, [count, 1]), params.hop_samples)
    return np.where(total > COVERED, total, np.float32(1.0))


def reflected(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Pad waveforms by reflection at both ends; short ones are first extended by zeros.

    >>> reflected(np.array([1, 2, 3]), 2).tolist()
    [3, 2, 1, 2, 3, 2, 1]
    """
    lead = [(0, 0)] * (waveform.ndim - 1)
    missing = max(0, samples + 1 - waveform.shape[-1])
    longer = np.pad(waveform, [*lead, (0, missing)])
    return np.pad(longer, [*lead, (samples, samples)], mode="reflect")


def _padded(waveform: np.ndarray, count: int, params: Stft) -> np.ndarray:
    """Surround a signal so that plain framing gives exactly ``count`` frames."""
    if params.padding == "none":
        return waveform
    lead = [(0, 0)] * (waveform.ndim - 1)
    front = params.front_samples
    reach = params.window_samples + (count - 1) * params.hop_samples
    if params.padding == "reflect":
        waveform = reflected(waveform, front)
    else:
        waveform = np.pad(waveform, [*lead, (front, 0)])
    return _fitted(waveform, reach)


def _fitted(signal: np.ndarray, samples: int) -> np.ndarray:
    """Trim or zero-extend the end to exactly ``samples``."""
    missing = max(0, samples - signal.shape[-1])
    if missing:
        signal = np.pad(signal, [*[(0, 0)] * (signal.ndim - 1), (0, missing)])
    return signal[..., :samples]


def _limit(made: np.ndarray, params: Stft) -> np.ndarray:
    """Bound the overlap-added samples by the peaks of the frames, [..., samples]."""
    peaks = abs(made).max(-1)
    reach = -(-params.window_samples // params.hop_samples)
    summed = overlap_and_add(np.repeat(peaks[..., np.newaxis], reach, -1), 1)
    return np.float32(edge_gain(params)) * np.repeat(summed, params.hop_samples, -1)
