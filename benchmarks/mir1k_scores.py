"""The measures of Huang et al. on MIR-1K: BSS Eval 3, means weighted by length.

BSS Eval needs the energies of projections alone. With the Gram matrix G of both
references, each delayed by 0 to 511 samples, and the products d of an estimate e with
them, that of e on all of them is d' G^-1 d, and what is left is orthogonal to it. So a
clip takes some transforms and one factorisation, whatever its length.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.fft
import scipy.linalg

FILTER = 512
"""Samples of the filters by which an estimate may differ from its source."""
MEASURES = ("SDR", "SIR", "SAR")
GLOBAL = {"NSDR": "GNSDR", "SIR": "GSIR", "SAR": "GSAR"}
"""Measures of a clip and their names over all clips."""


class Clip:
    """Both sources of a clip, ready for any number of estimates.

    Args:
        sources: Float [sources, samples], none of them silent.
        sample_rate: In Hz.
    """

    def __init__(self, sources: np.ndarray, sample_rate: int) -> None:
        self.sources, self.sample_rate = sources.astype(np.float64), sample_rate
        self.mixture = self.sources.sum(axis=0, keepdims=True)
        self.samples = sources.shape[1]
        size = scipy.fft.next_fast_len(self.samples + FILTER, real=True)
        self._size, self._spectra = size, scipy.fft.rfft(self.sources, size)
        count = len(sources)
        blocks = [[self._block(i, j) for j in range(count)] for i in range(count)]
        self._alone = [scipy.linalg.cho_factor(blocks[i][i]) for i in range(count)]
        self._all = scipy.linalg.cho_factor(np.block(blocks))

    def measure(self, estimates: np.ndarray) -> dict[str, np.ndarray]:
        """Measure every estimate against every source.

        Args:
            estimates: Float [estimates, samples].

        Returns:
            Each of :data:`MEASURES` in dB, [estimates, sources]; NaN of a silent
            estimate.
        """
        estimates = estimates.astype(np.float64)
        spectra = scipy.fft.rfft(estimates, self._size)[:, np.newaxis]
        lags = scipy.fft.irfft(np.conj(self._spectra) * spectra, self._size)
        products = lags[..., :FILTER]
        whole = np.sum(np.square(estimates), axis=1)[:, np.newaxis]
        every = _energy(self._all, products.reshape(len(whole), -1))[:, np.newaxis]
        pairs = zip(self._alone, products.swapaxes(0, 1), strict=True)
        own = np.stack([_energy(*pair) for pair in pairs], axis=1)
        return {
            "SDR": decibels(own, whole - own),
            "SIR": decibels(own, every - own),
            "SAR": np.broadcast_to(decibels(every, whole - every), own.shape),
        }

    def _block(self, first: int, second: int) -> np.ndarray:
        """Products of one source with another, both delayed by 0 to 511 samples."""
        product = self._spectra[first] * np.conj(self._spectra[second])
        lags = scipy.fft.irfft(product, self._size)
        return scipy.linalg.toeplitz(np.r_[lags[0], lags[:-FILTER:-1]], lags[:FILTER])


def _energy(factor: tuple[np.ndarray, bool], products: np.ndarray) -> np.ndarray:
    """Energy of the projection that has these products with what it is on."""
    return np.sum(products * scipy.linalg.cho_solve(factor, products.T).T, axis=1)


def decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Ratio of energies; an error below the digits of float64 counts as such."""
    with np.errstate(invalid="ignore", divide="ignore"):
        least = np.finfo(np.float64).eps * signal
        return 10 * np.log10(signal / np.maximum(noise, least))


def ordered(clip: Clip, estimates: np.ndarray) -> np.ndarray:
    """Put as many estimates as sources in the order of the largest mean SIR."""
    ratios = clip.measure(estimates)["SIR"]
    columns = list(range(ratios.shape[1]))
    orders = map(list, itertools.permutations(columns))
    return estimates[max(orders, key=lambda order: np.nansum(ratios[order, columns]))]


def shared_out(clip: Clip, outputs: np.ndarray) -> np.ndarray:
    """Add up outputs to an estimate of each source, by the smallest squared error.

    No separator knows the sources, so that the scores are those of the best choice.
    """
    choices = itertools.product(np.eye(len(clip.sources)), repeat=len(outputs))
    sums = (np.stack(choice, axis=1) @ outputs for choice in choices)
    return min(sums, key=lambda each: np.sum(np.square(each - clip.sources)))
