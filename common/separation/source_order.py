"""Align unordered estimates with others of the same sound."""

from __future__ import annotations

import numpy as np

FRAME_SAMPLES = 1024
FRAMES_AT_ONCE = 64


def match_channels(estimates: np.ndarray) -> np.ndarray:
    """Order the sources of every channel as those of the first.

    Cosines between magnitude spectra are compared, so that neither polarity nor the
    loudness of a source in a channel matters.

    Args:
        estimates: Float32 [sources, channels, samples].

    Returns:
        Float32 [sources, channels, samples].

    >>> left, right = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 2.0], [1, 0]])
    >>> match_channels(np.stack([left, right], 1))[:, 1].tolist()
    [[1.0, 0.0], [2.0, 2.0]]
    """
    if estimates.shape[1] == 1:
        return estimates
    matched = estimates.copy()
    for channel in range(1, estimates.shape[1]):
        cosines = _cosines(estimates[:, 0], estimates[:, channel])
        matched[:, channel] = estimates[_assign(cosines), channel]
    return matched


def match_beginnings(before: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Order the sources of a block as those of the sound that it continues.

    sum |a_s - b_p(s)|^2 is least where sum <a_s, b_p(s)> is greatest, because all else
    in it does not depend on the order p.

    Args:
        before: Float32 [sources, channels, overlap], the end of the earlier estimates.
        estimates: Float32 [sources, channels, samples] whose first ``overlap`` samples
            are of the same sound.

    Returns:
        Float32 [sources, channels, samples].

    >>> match_beginnings(np.eye(2)[:, None], np.eye(2)[::-1, None]).tolist()
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    sources, _, overlap = before.shape
    beginnings = estimates[..., :overlap].reshape(sources, -1)
    order = _assign(before.reshape(sources, -1) @ beginnings.T)
    ordered: np.ndarray = estimates[order]
    return ordered


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the cosines of magnitude spectra, [sources, samples] twice -> [i, j]."""
    step = FRAME_SAMPLES * FRAMES_AT_ONCE
    products = np.zeros((len(first), len(second)))
    energy_first, energy_second = np.zeros(len(first)), np.zeros(len(second))
    for start in range(0, first.shape[1], step):
        ours = _magnitudes(first[:, start : start + step])
        theirs = _magnitudes(second[:, start : start + step])
        products += ours @ theirs.T
        energy_first += np.square(ours).sum(-1)
        energy_second += np.square(theirs).sum(-1)
    return products / np.maximum(np.sqrt(np.outer(energy_first, energy_second)), 1e-20)


def _magnitudes(signals: np.ndarray) -> np.ndarray:
    """Compute magnitudes of adjacent sine-windowed frames, [sources, frames x bins]."""
    padded = np.pad(signals, [(0, 0), (0, -signals.shape[1] % FRAME_SAMPLES)])
    window = np.sin(np.pi * (np.arange(FRAME_SAMPLES) + 0.5) / FRAME_SAMPLES)
    frames = padded.reshape(len(signals), -1, FRAME_SAMPLES) * window
    return np.abs(np.fft.rfft(frames)).reshape(len(signals), -1)


def _assign(gains: np.ndarray) -> np.ndarray:
    """Assign a different column to each row, with the greatest sum.

    This is the Hungarian method with shortest augmenting paths; among equal choices
    the order of the columns stays.
    """
    size = len(gains)
    costs = np.pad(-np.asarray(gains, np.float64), [(1, 0), (1, 0)])
    prices = np.zeros(size + 1), np.zeros(size + 1)
    owners = np.zeros(size + 1, int)  # the row of each column, 0 for none
    for row in range(1, size + 1):
        _augment(costs, prices, owners, row)
    return np.argsort(owners[1:])


def _augment(
    costs: np.ndarray,
    prices: tuple[np.ndarray, np.ndarray],
    owners: np.ndarray,
    row: int,
) -> None:
    """Give one more row a column, along the cheapest path of exchanges."""
    slack, before = np.full(len(owners), np.inf), np.zeros(len(owners), int)
    seen = np.zeros(len(owners), bool)
    owners[0], column = row, 0
    while owners[column]:
        seen[column] = True
        reduced = costs[owners[column]] - prices[0][owners[column]] - prices[1]
        closer = ~seen & (reduced < slack)
        slack[closer], before[closer] = reduced[closer], column
        column = int(np.argmin(np.where(seen, np.inf, slack)))
        step = slack[column]
        prices[0][owners[seen]] += step
        prices[1][seen] -= step
        slack[~seen] -= step
    while column:
        owners[column] = owners[before[column]]
        column = before[column]
