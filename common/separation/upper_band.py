"""Divide the sound above a model's band among its sources.

A model of a lower rate than the sound has no estimates above its band. In each frame
the share of a source in the upper bins of the model is applied to all higher bins:

    s_i = e_i + g_i (x - sum_j e_j),    g_i = |E_i|^2 / sum_j |E_j|^2

with the mixture x, the estimates e and their energies |E|^2 in a frame, from a quarter
to nine tenths of the band. The shares add up to 1 and are crossfaded by Hann windows,
so the results add up to the mixture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from common.separation.separator import Queue

HOP_SECONDS = 0.016
LOWEST, HIGHEST = 0.25, 0.9
"""Bounds of the bins whose energy counts, as fractions of the model's band."""

LEAST = 1e-18
"""Added to each energy: where all sources are silent they have equal shares."""

HOPS_AT_ONCE = 64

Pair = tuple[np.ndarray, np.ndarray]
"""A mixture [channels, samples] and its estimates [sources, channels, samples]."""


def complete(
    pairs: Iterable[Pair], sample_rate: int, model_rate: int
) -> Iterator[Pair]:
    """Add to the estimates their shares of the mixture above the model's band.

    Args:
        pairs: Mixture and estimates in chunks of any lengths, full scale +-1.
        sample_rate: Rate of both, in Hz.
        model_rate: Rate of the model, in Hz.

    Yields:
        Mixture and completed estimates, with as many samples in all as the input. They
        do not depend on the lengths of the chunks.

    >>> mixture, estimates = np.ones([1, 900]), np.full([2, 1, 900], 0.25)
    >>> whole = list(complete([(mixture, estimates)], 16000, 8000))
    >>> float(np.concatenate([parts for _, parts in whole], -1).sum(0).min())
    1.0
    """
    hop = max(16, round(HOP_SECONDS * sample_rate))
    bins = np.fft.rfftfreq(_fft_length(2 * hop), 1 / sample_rate) / (model_rate / 2)
    chosen = (bins >= LOWEST) & (bins < HIGHEST)
    mixtures, estimates = Queue(), Queue()
    before: np.ndarray | None = None
    for mixture, parts in pairs:
        mixtures.push(mixture)
        estimates.push(parts)
        while (hops := mixtures.samples // hop - 1) > 0:
            hops = min(hops, HOPS_AT_ONCE)
            seen = estimates.peek((hops + 1) * hop)
            shares = _shares(seen, hop, chosen, before)
            before = shares[..., -1:]
            yield _divided(mixtures, estimates, shares, hop, hops * hop)
    if mixtures.samples:
        rest = mixtures.samples
        hops = -(-rest // hop)
        pad = [(0, 0), (0, 0), (0, (hops + 1) * hop - rest)]
        shares = _shares(np.pad(estimates.peek(rest), pad), hop, chosen, before)
        yield _divided(mixtures, estimates, shares, hop, rest)


def _fft_length(samples: int) -> int:
    """Return the smallest length from samples on without a prime factor above 5.

    The 1412 samples of a window at 44.1 kHz are 4 times a prime.
    """
    rest = samples
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return samples if rest == 1 else _fft_length(samples + 1)


def _shares(
    estimates: np.ndarray, hop: int, chosen: np.ndarray, before: np.ndarray | None
) -> np.ndarray:
    """Compute the shares in frames, after those of the last one, [..., 1 + frames]."""
    if before is None:  # the first frame begins one hop before the sound
        estimates = np.pad(estimates, [(0, 0), (0, 0), (hop, 0)])
    window = np.sin(np.pi * np.arange(2 * hop) / (2 * hop)) ** 2
    frames = np.lib.stride_tricks.sliding_window_view(estimates, 2 * hop, -1)
    windowed = frames[..., ::hop, :] * window
    spectra = np.fft.rfft(windowed, _fft_length(2 * hop))[..., chosen]
    energies = np.square(np.abs(spectra)).sum(-1) + LEAST
    shares = energies / energies.sum(0)
    return shares if before is None else np.concatenate([before, shares], -1)


def _divided(
    mixtures: Queue, estimates: Queue, shares: np.ndarray, hop: int, samples: int
) -> Pair:
    """Take samples, and divide the mixture minus its estimates by the shares."""
    mixture, parts = mixtures.take(samples), estimates.take(samples)
    rise = np.sin(np.pi / 2 * np.arange(hop) / hop) ** 2
    steps = np.diff(shares)[..., np.newaxis]
    gains = shares[..., :-1, np.newaxis] + rise * steps
    gains = gains.reshape(*gains.shape[:2], -1)[..., :samples]
    rest = mixture - parts.sum(0, dtype=np.float64)
    return mixture, (parts + gains * rest).astype(np.float32)
