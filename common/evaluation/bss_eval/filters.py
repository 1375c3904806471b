"""Distortion filters of BSS Eval: projections on delayed references, least squares.

An estimate is projected on the span of the references, each delayed by 0 to L - 1
samples. The filters are the solution of G c = d. G holds the correlations of the
references with each other, d those with the estimate (Vincent, Gribonval, Févotte:
Performance measurement in blind audio source separation, 2006). All of them come from
one pass of short transforms over the sound, and one factorisation of G serves every
estimate.

G is singular where channels are equal, or sums of others. The projection is the same
without them, so they are left out. G is nearly singular where a channel is a filtered
copy of others, or where parts of the spectrum are empty. If its condition number is
beyond the digits of float64, rounding errors would decide on the filters. Those of the
least norm are then taken, by a pseudoinverse that leaves out eigenvalues below the
relative size of rounding errors, which is what museval does where its solver fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg
from scipy.linalg import lapack

EPSILON = float(np.finfo(np.float64).eps)
"""Added to the diagonal of G, as by museval; it matters for the faintest sounds."""
DEPENDENT = 32 * EPSILON
"""Share of the energy of a channel that counts as zero."""
FRAME_FILTERS = 16
"""Length of the transforms in lengths of the filters."""
GROUP_SAMPLES = 1 << 20
"""Samples of all channels that are transformed at once, which bounds the memory."""


Sounds = Sequence[np.ndarray] | np.ndarray
"""Sources, each of real [channels, samples], of any type; they are read in chunks."""


class Frame(NamedTuple):
    """Samples from ``first`` on, of which those outside of ``window`` count as zero.

    Attributes:
        first: May lie before the window.
        window: Part of the sound.
        number: Of the window.
    """

    first: int
    window: slice
    number: int = 0


def read(sounds: Sounds, frames: Sequence[Frame], length: int) -> np.ndarray:
    """Read frames of several sounds.

    Args:
        sounds: Each [channels, samples].
        frames: Where the frames begin.
        length: Samples of a frame.

    Returns:
        Float64 [frames, channels of all sounds, length].

    >>> read([np.array([[1, 2, 3]])], [Frame(-1, slice(0, 2))], 4)
    array([[[0., 1., 2., 0.]]])
    """
    ends = np.cumsum([0, *(sound.shape[0] for sound in sounds)])
    result = np.zeros([len(frames), ends[-1], length])
    for row, (first, window, _) in zip(result, frames, strict=True):
        start, stop = max(first, window.start), min(first + length, window.stop)
        if start < stop:
            for sound, low, high in zip(sounds, ends[:-1], ends[1:], strict=True):
                part = row[low:high, start - first : stop - first]
                part[:] = sound[:, start:stop]
    return result


def grouped(frames: Iterable[Frame], samples: int) -> Iterator[list[Frame]]:
    """Group frames whose channels have so many samples in all into bounded memory.

    >>> [len(group) for group in grouped([Frame(0, slice(1))] * 5, GROUP_SAMPLES // 2)]
    [2, 2, 1]
    """
    remaining = iter(frames)
    while group := list(islice(remaining, max(1, GROUP_SAMPLES // samples))):
        yield group


def correlations(
    references: Sounds, others: Sounds, window: slice, length: int
) -> np.ndarray:
    """Correlate references with themselves and with other sounds.

    r[i, k, l] = sum over t of x_i(t) y_k(t + l), in blocks: the spectra of the blocks
    are multiplied, added up and transformed back once.

    Args:
        references: Sounds x, each [channels, samples].
        others: Sounds that follow the references among the y.
        window: Part of all sounds to use.
        length: Number of lags l from 0 on.

    Returns:
        Float64 [channels of x, channels of y, length].

    >>> x, y = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 1.0, 2.0]])
    >>> correlations([x], [y], slice(0, 3), 2).round(9)
    array([[[14.,  8.],
            [ 8.,  5.]]])
    """
    size = min(FRAME_FILTERS * length, window.stop - window.start + length)
    size = scipy.fft.next_fast_len(size, real=True)
    step = size - length + 1
    frames = (Frame(n, window) for n in range(window.start, window.stop, step))
    inner = sum(sound.shape[0] for sound in references)
    outer = inner + sum(sound.shape[0] for sound in others)
    total = np.zeros([size // 2 + 1, inner, outer], np.complex128)
    for group in grouped(frames, outer * size):
        blocks = read([*references, *others], group, size)
        x = scipy.fft.rfft(blocks[:, :inner, :step], size).conj()
        y = scipy.fft.rfft(blocks)
        total += contiguous(x, (2, 1, 0)) @ contiguous(y, (2, 0, 1))
    lags: np.ndarray = scipy.fft.irfft(np.moveaxis(total, 0, -1), size)
    return lags[..., :length]


def contiguous(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Transpose and copy, because BLAS needs contiguous arrays."""
    return np.ascontiguousarray(array.transpose(axes))


def distortion_filters(products: np.ndarray) -> np.ndarray:
    """Solve for the filters of references that approximate other sounds best.

    Args:
        products: Float64 [channels of the references, those and channels of the
            others, length], see :func:`correlations`.

    Returns:
        Float64 [channels of the others, channels of the references, length].

    >>> x, y = np.array([[1.0, 0.0, 0.0]]), np.array([[2.0, 3.0, 0.0]])
    >>> distortion_filters(correlations([x], [y], slice(0, 3), 2)).round(9)
    array([[[2., 3.]]])
    """
    inner, outer, length = products.shape
    kept = _independent(products[:, :inner, 0])
    result = np.zeros([outer - inner, inner, length])
    if kept:
        right = products[kept, inner:].swapaxes(1, 2).reshape(-1, outer - inner)
        solution = _solve(products[np.ix_(kept, kept)], right)
        result[:, kept] = solution.T.reshape(-1, len(kept), length)
    return result


def _independent(energies: np.ndarray) -> list[int]:
    """List the channels that are neither silent nor sums or copies of others."""
    scale = np.sqrt(np.outer(energies.diagonal(), energies.diagonal()))
    cosines = np.divide(energies, scale, out=np.zeros_like(energies), where=scale > 0)
    kept: list[int] = []
    for channel in range(len(energies)):
        trial = np.ix_([*kept, channel], [*kept, channel])
        if np.linalg.eigvalsh(cosines[trial])[0] > DEPENDENT:
            kept.append(channel)
    return kept


def _solve(products: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve G c = d by Cholesky's method, or by the pseudoinverse if G is singular.

    Args:
        products: Correlations of independent channels.
        right: Float64 [channels * length, others].
    """
    inner, _, length = products.shape
    scale = np.sqrt(np.einsum("iij->ij", products)[:, 0] + EPSILON)
    unit = products / np.outer(scale, scale)[..., np.newaxis]
    repeated = np.repeat(scale, length)[:, np.newaxis]
    # LAPACK overwrites the transpose of a contiguous array.
    matrix = _gram(unit, EPSILON / scale**2).T
    factor, failed = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if not failed and _condition(unit, factor) > EPSILON:
        solution: np.ndarray = lapack.dpotrs(factor, right / repeated, lower=1)[0]
        solution /= repeated
        return solution
    del matrix, factor
    matrix = _gram(products, np.zeros(inner)).T
    values, vectors = scipy.linalg.eigh(
        matrix, overwrite_a=True, check_finite=False, driver="evd"
    )
    large = values > len(values) * EPSILON * values[-1]
    vectors = vectors[:, large]
    shortest: np.ndarray = vectors @ ((vectors.T @ right) / values[large, np.newaxis])
    return shortest


def _condition(products: np.ndarray, factor: np.ndarray) -> float:
    """Estimate the reciprocal condition number of a factored matrix from below."""
    both = np.abs(products).sum(axis=2) + np.abs(products[..., 1:]).sum(axis=2).T
    return float(lapack.dpocon(factor, both.sum(axis=0).max(), uplo="L")[0])


def _gram(products: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Assemble the upper half of the matrix of all references at all delays.

    Args:
        products: Float64 [channels, channels, length].
        added: To the diagonal of each channel.
    """
    inner, _, length = products.shape
    matrix = np.empty([inner, length, inner, length])
    for i in range(inner):
        for k in range(i, inner):
            matrix[i, :, k] = scipy.linalg.toeplitz(products[i, k], products[k, i])
        np.einsum("aa->a", matrix[i, :, i])[:] += added[i]
    return matrix.reshape(inner * length, -1)
