"""Short-time Fourier transforms in the framing conventions of the four papers' code.

One pair of functions, :func:`stft` and :func:`istft`, and one frozen :class:`Stft` that
says how frames lie on the signal. The inverse is the least-squares one of Griffin and
Lim (1984): every frame is windowed again and the overlap-added sum is divided by the
overlap-added squared window, so analysis followed by synthesis is exact wherever that
sum is not zero. Where it is nearly zero, at the rim of a sound, a masked spectrogram
would be blown up: the result is limited there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

Length = int | tf.Tensor
"""A number of samples or frames: known now, or a scalar int32 tensor of the graph."""

Window = Literal["hann", "sqrt_hann"]
Padding = Literal["none", "end", "constant", "reflect", "constant_whole"]
Scale = Literal["none", "window_sum", "tight"]

COVERED = 1e-10
"""Squared window sum below which a sample counts as seen by no frame."""

RIM_GAIN = 4.0
"""Largest sample of a result, relative to the sum of the peaks of the frames there.

No sample whose squared window sum is at least 1 / 4 reaches it."""


class StftError(ValueError):
    """Transform parameters that describe no transform."""


@dataclass(frozen=True)
class Stft:
    """How a waveform is cut into windowed frames.

    Attributes:
        window_samples: Length of the periodic window, in samples.
        hop_samples: Distance of neighbouring frames, in samples, at most the window.
        fft_samples: Length of the transform; frames are zero padded at their end up
            to it. None means ``window_samples``.
        window: ``"hann"``, or ``"sqrt_hann"``, its square root.
        padding: What is put around n samples before framing (W window, H hop):
            ``"none"``: nothing; 1 + (n - W) // H frames, none if n < W; what the
            frames do not reach is lost.
            ``"end"``: zeros at the end up to a whole frame; 1 + ceil((n - W) / H)
            frames, at least one. The inverse uses the dual window of an endless
            signal, which leaves the first and last W - H samples faded.
            ``"constant"``: W / 2 zeros at both ends; 1 + n // H frames. With H = W /
            2 and n no whole number of hops the last samples lie on the rim of one
            window, as in librosa, and are restored with few digits.
            ``"reflect"``: the signal mirrored over W / 2 samples at both ends; 1 + n
            // H frames. A signal too short to mirror is first extended by zeros.
            ``"constant_whole"``: W / 2 zeros at both ends, then zeros up to a whole
            hop; 1 + ceil(n / H) frames.
        scale: ``"window_sum"`` divides the spectrogram by the sum of the window, so
            that a sine of amplitude a peaks at a / 2. ``"tight"`` multiplies it with
            2 sqrt(hop / (window * transform)), as asteroid does: with square-root Hann
            windows the squares of all bins, the first and last by half, add up to
            those of the signal. ``"none"`` is the plain sum.

    Raises:
        StftError: If a length or a name is not among the ones above.

    >>> Stft(4096, 1024, padding="reflect").bins
    2049
    """

    window_samples: int
    hop_samples: int
    fft_samples: int | None = None
    window: Window = "hann"
    padding: Padding = "none"
    scale: Scale = "none"

    def __post_init__(self) -> None:
        _check_names(self)
        if self.window_samples < 2:
            raise StftError(
                f"window_samples is {self.window_samples}; a window has at least 2"
            )
        if not 1 <= self.hop_samples <= self.window_samples:
            raise StftError(
                f"hop_samples is {self.hop_samples}; expected 1 to window_samples "
                f"({self.window_samples}), so that frames leave no gaps"
            )
        if self.transform_samples < self.window_samples:
            raise StftError(
                f"fft_samples is {self.fft_samples}; expected at least "
                f"window_samples ({self.window_samples})"
            )
        if self._centred and self.window_samples % 2:
            raise StftError(
                f"window_samples is {self.window_samples}; padding "
                f"{self.padding!r} needs an even window"
            )

    @property
    def transform_samples(self) -> int:
        """Length of the transform in samples."""
        return self.fft_samples or self.window_samples

    @property
    def bins(self) -> int:
        """Number of frequency bins, from 0 Hz to half the sample rate."""
        return self.transform_samples // 2 + 1

    @property
    def _centred(self) -> bool:
        return self.padding in ("constant", "reflect", "constant_whole")

    @property
    def _front_samples(self) -> int:
        return self.window_samples // 2 if self._centred else 0


def stft(waveform: tf.Tensor, params: Stft) -> tf.Tensor:
    """Transform waveforms to spectrograms.

    X[f, k] = sum_n w[n] x[f H + n] exp(-2 pi i k n / N) over the padded signal.

    Args:
        waveform: float32 [..., samples]; the length may be unknown in a graph.
        params: Framing, see :class:`Stft`.

    Returns:
        complex64 [..., frames, bins], frames as :func:`num_frames` says.

    >>> stft(tf.zeros([2, 1000]), Stft(256, 64, padding="constant")).shape
    TensorShape([2, 16, 129])
    """
    waveform = tf.convert_to_tensor(waveform, tf.float32)
    samples = _last_length(waveform)
    frames = num_frames(samples, params)
    padded = _pad(waveform, samples, frames, params)  # [..., padded samples]
    framed = tf.signal.frame(padded, params.window_samples, params.hop_samples)
    window = _window(params)
    window = window * _factor(window, params)
    windowed = framed * tf.constant(window, tf.float32)
    return tf.signal.rfft(windowed, [params.transform_samples])


def istft(spectrogram: tf.Tensor, params: Stft, samples: Length) -> tf.Tensor:
    """Turn spectrograms back into waveforms, the inverse of :func:`stft`.

    Args:
        spectrogram: complex64 [..., frames, bins].
        params: The framing that the spectrogram was made with.
        samples: Length of the result: longer than the frames reach gives zeros.

    Returns:
        float32 [..., samples], at most 4 times as large as the peaks of the frames
        that reach a sample add up to.

    >>> ones, params = tf.ones([1, 700]), Stft(128, 32, padding="reflect")
    >>> bool(tf.reduce_max(abs(istft(stft(ones, params), params, 700) - 1)) < 1e-6)
    True
    """
    spectrogram = tf.convert_to_tensor(spectrogram, tf.complex64)
    frames = tf.signal.irfft(spectrogram, [params.transform_samples])
    frames = _slice(frames, 0, params.window_samples)
    window = _synthesis_window(params)
    summed = tf.signal.overlap_and_add(
        frames * tf.constant(window, tf.float32), params.hop_samples
    )
    if params.padding != "end":
        summed = summed / _squared_window_sum(tf.shape(frames)[-2], params)
        limit = _limit(frames, params)
        summed = tf.maximum(tf.minimum(summed, limit), -limit)
    return _fit(_slice(summed, params._front_samples, None), samples)


def num_frames(samples: Length, params: Stft) -> Length:
    """Count the frames of a signal.

    Args:
        samples: Length of the signal, an int or a scalar tensor.
        params: Framing, see :class:`Stft` for the formulas.

    Returns:
        The number of frames, an int for an int.

    >>> num_frames(12000, Stft(256, 64, padding="constant_whole"))
    189
    """
    window, hop = params.window_samples, params.hop_samples
    if params.padding == "none":
        return _at_least(0, 1 + (samples - window) // hop)
    if params.padding == "end":
        return _at_least(1, 1 - (window - samples) // hop)
    if params.padding == "constant_whole":
        return 1 - (-samples // hop)
    return 1 + samples // hop


def _check_names(params: Stft) -> None:
    known = {
        "window": ("hann", "sqrt_hann"),
        "padding": ("none", "end", "constant", "reflect", "constant_whole"),
        "scale": ("none", "window_sum", "tight"),
    }
    for field, names in known.items():
        value = getattr(params, field)
        if value not in names:
            raise StftError(f"{field} is {value!r}; expected one of {', '.join(names)}")


def _at_least(least: int, count: Length) -> Length:
    return max(least, count) if isinstance(count, int) else tf.maximum(least, count)


def _last_length(tensor: tf.Tensor) -> Length:
    """Give the last axis as an int where the graph knows it."""
    return tensor.shape[-1] if tensor.shape[-1] is not None else tf.shape(tensor)[-1]


def _slice(tensor: tf.Tensor, start: Length, stop: Length | None) -> tf.Tensor:
    return tensor[..., start:stop]


def _zeros(like: tf.Tensor, samples: Length) -> tf.Tensor:
    """Make [..., samples] zeros for joining to ``like`` along the last axis."""
    return tf.zeros(tf.concat([tf.shape(like)[:-1], [samples]], 0), like.dtype)


def _pad(
    waveform: tf.Tensor, samples: Length, frames: Length, params: Stft
) -> tf.Tensor:
    """Surround a signal so that plain framing gives exactly ``frames`` frames."""
    if params.padding == "none":
        return waveform
    front = params._front_samples
    reach = params.window_samples + (frames - 1) * params.hop_samples
    if params.padding == "reflect":
        waveform = _mirror(waveform, samples, front)
    elif front:
        waveform = tf.concat([_zeros(waveform, front), waveform], -1)
    return _fit(waveform, reach)


def _mirror(waveform: tf.Tensor, samples: Length, half: int) -> tf.Tensor:
    missing = _at_least(0, half + 1 - samples)
    extended = tf.concat([waveform, _zeros(waveform, missing)], -1)
    head = tf.reverse(_slice(extended, 1, half + 1), [-1])
    tail = tf.reverse(_slice(extended, -half - 1, -1), [-1])
    return tf.concat([head, extended, tail], -1)


def _fit(signal: tf.Tensor, samples: Length) -> tf.Tensor:
    """Cut or zero-extend the end to exactly ``samples``."""
    missing = _at_least(0, samples - _last_length(signal))
    if not isinstance(missing, int) or missing:
        signal = tf.concat([signal, _zeros(signal, missing)], -1)
    signal = _slice(signal, 0, samples)
    if isinstance(samples, int):
        signal.set_shape(signal.shape[:-1] + [samples])
    return signal


def _window(params: Stft) -> np.ndarray:
    """Make the periodic window in float64, [window_samples]."""
    phase = 2 * math.pi * np.arange(params.window_samples) / params.window_samples
    hann = 0.5 - 0.5 * np.cos(phase)
    return np.sqrt(hann) if params.window == "sqrt_hann" else hann


def _synthesis_window(params: Stft) -> np.ndarray:
    window = _window(params)
    scale = 1.0 / _factor(window, params)
    if params.padding == "end":
        window = window / _endless_sum(window**2, params.hop_samples)
    return window * scale


def _factor(window: np.ndarray, params: Stft) -> float:
    """What a spectrogram of the plain sum is multiplied with."""
    if params.scale == "window_sum":
        return float(1.0 / window.sum())
    if params.scale == "tight":
        size = params.window_samples * params.transform_samples
        return 2.0 * math.sqrt(params.hop_samples / size)
    return 1.0


def _endless_sum(squared: np.ndarray, hop: int) -> np.ndarray:
    """Sum of all hops of the squared window, at each sample of one window."""
    phases = np.arange(len(squared)) % hop
    return np.bincount(phases, squared, minlength=hop)[phases]


def _squared_window_sum(frames: tf.Tensor, params: Stft) -> tf.Tensor:
    """Overlap-add the squared window over the frames, 1 where no frame reaches."""
    squared = tf.constant(_window(params) ** 2, tf.float32)
    total = tf.signal.overlap_and_add(
        tf.broadcast_to(squared, [frames, params.window_samples]), params.hop_samples
    )
    return tf.where(total > COVERED, total, tf.ones_like(total))


def _limit(frames: tf.Tensor, params: Stft) -> tf.Tensor:
    """Bound the overlap-added samples by the peaks of the frames, [..., samples]."""
    highest, lowest = tf.reduce_max(frames, -1), tf.reduce_min(frames, -1)
    peaks = tf.stop_gradient(tf.maximum(highest, -lowest))  # [..., frames]
    hop, window = params.hop_samples, params.window_samples
    reach = -(-window // hop)  # hops that a frame reaches over
    ones = tf.ones([reach], peaks.dtype)
    summed = tf.signal.overlap_and_add(peaks[..., tf.newaxis] * ones, 1)
    samples = (tf.shape(frames)[-2] - 1) * hop + window
    scale = RIM_GAIN / _factor(_window(params), params)
    return scale * _slice(tf.repeat(summed, hop, -1), 0, samples)
