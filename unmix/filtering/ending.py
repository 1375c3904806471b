"""The end of a sound, where the frames of a spectrogram may hardly reach."""

from __future__ import annotations

import numpy as np

STEADY = 0.1
"""Root of the sum of squared windows from which on estimates stay as they are."""


def steady_ending(
    estimates: np.ndarray,
    mixture: np.ndarray,
    hann: np.ndarray,
    hop_samples: int,
    samples: int,
) -> None:
    """Blend estimates into the scaled mixture where no window is large, in place.

    With hops of half a window the last samples of a sound may lie at the very edge of
    the last frame. The inverse transform divides by the window there, which in the
    original raises errors of the estimates up to a hundred times full scale. Here the
    estimates turn into the mixture times the gain that fits them best in the half
    window before. Where they add up to the mixture, they still do.

    Args:
        estimates: The last estimates, float32 [sources, channels, n].
        mixture: The last samples of the mixture, float32 [channels, n].
        hann: Window of the frames.
        hop_samples: Distance of the frames.
        samples: Length of the whole sound.

    >>> hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    >>> mixture, estimates = np.ones([1, 63]), np.full([1, 1, 63], 0.7)
    >>> estimates[..., -1] = 50.0
    >>> steady_ending(estimates, mixture, hann, 32, 63)
    >>> estimates[0, 0, -2:].round(1).tolist()
    [0.7, 5.4]
    """
    weights = _ending_weights(hann, hop_samples, samples % hop_samples)
    count = len(weights)
    if not count:
        return
    before = slice(-len(hann) // 2, -count)
    gains = np.einsum("sct,ct->sc", estimates[..., before], mixture[:, before])
    power = np.square(mixture[:, before]).sum(-1)
    gains /= np.where(power > 0, power, 1.0)
    scaled = gains[..., np.newaxis] * mixture[:, -count:]
    estimates[..., -count:] = weights * estimates[..., -count:] + (1 - weights) * scaled


def _ending_weights(hann: np.ndarray, hop: int, after: int) -> np.ndarray:
    """Weights below 1 of the last samples, ``after`` of which follow a frame's centre.

    >>> _ending_weights(np.array([0.0, 0.0, 1.0, 0.05]), 2, 2).tolist()
    [0.5]
    """
    squared = np.square(hann[len(hann) // 2 :], dtype=np.float64)
    covered = sum(
        np.pad(
            squared[start : start + after], (0, max(0, after + start - len(squared)))
        )
        for start in range(0, len(squared), hop)
    )
    weights = np.minimum(np.sqrt(covered) / STEADY, 1.0)
    return weights[weights < 1.0].astype(np.float32)
