"""Framing of a signal, and the analysis and synthesis windows.

The module does not need TensorFlow. :mod:`common.signal.stft` and
:mod:`common.signal.numpy_stft`, the same transforms in numpy, share it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Length = Any
"""A number of samples or frames: an int, or a scalar int32 tensor of a graph."""

Window = Literal["hann", "sqrt_hann", "sqrt_hann_tf"]
Padding = Literal["none", "end", "constant", "reflect", "constant_whole"]
Scale = Literal["none", "window_sum", "tight"]

COVERED = 1e-10
"""Squared window sum below which a sample counts as outside all frames."""

EDGE_GAIN = 4.0
"""Largest sample of a result, relative to the sum of the peaks of the frames there.

It limits only samples whose squared window sum is below 1 / 4."""


class StftError(ValueError):
    """Parameters of a transform that are out of range."""


@dataclass(frozen=True)
class Stft:
    """Parameters of a short-time Fourier transform.

    Attributes:
        window_samples: Length of the window, in samples.
        hop_samples: Distance of neighbouring frames, in samples, at most the window.
        fft_samples: Length of the transform; frames are zero padded at their end up
            to it. None means ``window_samples``.
        window: ``"hann"``, periodic, or ``"sqrt_hann"``, its square root, or
            ``"sqrt_hann_tf"``, that of ``tf.signal.hann_window``, which is periodic for
            even lengths and symmetric for odd ones.
        padding: Padding of n samples before framing (W window, H hop):
            ``"none"``: nothing; 1 + (n - W) // H frames, none if n < W; samples
            beyond the last frame are lost.
            ``"end"``: zeros at the end up to a whole frame; 1 + ceil((n - W) / H)
            frames, at least one. The inverse uses the dual window of an endless
            signal, which leaves the first and last W - H samples faded. Samples at
            which the windows of all frames are 0, as with H = W, become 0.
            ``"constant"``: W / 2 zeros at both ends; 1 + n // H frames. With H = W /
            2 and n no whole number of hops the last samples lie at the edge of one
            window, as in librosa, and are restored with few digits.
            ``"reflect"``: the signal mirrored over W / 2 samples at both ends; 1 + n
            // H frames. A signal too short to mirror is first extended by zeros.
            ``"constant_whole"``: W / 2 zeros at both ends, then zeros up to a whole
            hop; 1 + ceil(n / H) frames.
        scale: ``"window_sum"`` divides the spectrogram by the sum of the window, so
            that a sine of amplitude a peaks at a / 2. ``"tight"`` multiplies it with
            2 sqrt(hop / (window * transform)), and the bins of 0 Hz and half the rate
            by the root of one half as well, as asteroid does: with square-root Hann
            windows the squares of all bins add up to those of the signal. ``"none"``
            is the plain sum.

    Raises:
        StftError: If a length or a name is invalid.

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
    def front_samples(self) -> int:
        """Samples of padding before the signal."""
        return self.window_samples // 2 if self._centred else 0


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
        return at_least(0, 1 + (samples - window) // hop)
    if params.padding == "end":
        return at_least(1, 1 - (window - samples) // hop)
    if params.padding == "constant_whole":
        return 1 - (-samples // hop)
    return 1 + samples // hop


def window(params: Stft) -> np.ndarray:
    """Return the window in float64, [window_samples].

    >>> window(Stft(4, 2)).round(3).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    period = size = params.window_samples
    if params.window == "sqrt_hann_tf" and size % 2:
        period = size - 1
    hann = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(size) / period)
    return hann if params.window == "hann" else np.sqrt(hann)


def analysis_window(params: Stft) -> np.ndarray:
    """Return the analysis window, which :func:`common.signal.stft.stft` applies.

    >>> float(analysis_window(Stft(4, 2, scale="window_sum")).sum())
    1.0
    """
    return window(params) * _factor(params)


def synthesis_window(params: Stft) -> np.ndarray:
    """Return the synthesis window, which :func:`common.signal.stft.istft` applies.

    >>> synthesis_window(Stft(4, 2, padding="end")).round(3).tolist()
    [0.0, 1.0, 1.0, 1.0]
    """
    shape = window(params)
    scale = 1.0 / _factor(params)
    if params.padding == "end":
        total = _endless_sum(shape**2, params.hop_samples)
        shape = np.divide(shape, total, out=np.zeros_like(shape), where=total > 0)
    return shape * scale


def bin_gains(params: Stft) -> np.ndarray | None:
    """Return the gains of the bins, float32 [bins], or None if all are 1.

    >>> bin_gains(Stft(4, 2, scale="tight")).round(3)
    array([0.707, 1.   , 0.707], dtype=float32)
    """
    if params.scale != "tight":
        return None
    gains = np.ones(params.bins, np.float32)
    # All other bins stand for two frequencies, one of them negative.
    single = [0] if params.transform_samples % 2 else [0, -1]
    gains[single] = math.sqrt(0.5)
    return gains


def edge_gain(params: Stft) -> float:
    """Return the largest sample of a result, relative to the peaks of its frames.

    >>> edge_gain(Stft(4, 2))
    4.0
    """
    return EDGE_GAIN / _factor(params)


def _check_names(params: Stft) -> None:
    rules = {
        "window": ("hann", "sqrt_hann", "sqrt_hann_tf"),
        "padding": ("none", "end", "constant", "reflect", "constant_whole"),
        "scale": ("none", "window_sum", "tight"),
    }
    for field, names in rules.items():
        value = getattr(params, field)
        if value not in names:
            raise StftError(f"{field} is {value!r}; expected one of {', '.join(names)}")


def at_least(least: int, count: Length) -> Length:
    """Return the larger of a bound and a count, an int or a tensor.

    >>> at_least(1, -3)
    1
    """
    if isinstance(count, int):
        return max(least, count)
    import tensorflow as tf

    return tf.maximum(least, count)


def _factor(params: Stft) -> float:
    """Return the factor by which the scale multiplies the plain sum."""
    if params.scale == "window_sum":
        return float(1.0 / window(params).sum())
    if params.scale == "tight":
        size = params.window_samples * params.transform_samples
        return 2.0 * math.sqrt(params.hop_samples / size)
    return 1.0


def _endless_sum(squared: np.ndarray, hop: int) -> np.ndarray:
    """Sum of all hops of the squared window, at each sample of one window."""
    phases = np.arange(len(squared)) % hop
    return np.bincount(phases, squared, minlength=hop)[phases]
