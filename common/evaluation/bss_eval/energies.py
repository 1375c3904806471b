"""Energies of the parts of an estimate: true source, filtered, interference, artifacts.

With s the reference, e the estimate, p the projection of e on s and P that on all
references, the spatial error is p - s, the interference P - p and the artifacts are
e - P. All is computed in chunks: frames are transformed, multiplied by the spectra of
all filters at once, and transformed back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from common.evaluation.bss_eval.filters import (
    FRAME_FILTERS,
    Frame,
    Sounds,
    contiguous,
    grouped,
    read,
)


class Parts(NamedTuple):
    """Energies, each float64 [pairs, windows].

    Attributes:
        true: Of the reference s.
        own: Of the projection p on it.
        every: Of the projection P on all references.
        error: Of e - s.
        own_error: Of e - p.
        spatial: Of p - s.
        interference: Of P - p.
        artifacts: Of e - P.
    """

    true: np.ndarray
    own: np.ndarray
    every: np.ndarray
    error: np.ndarray
    own_error: np.ndarray
    spatial: np.ndarray
    interference: np.ndarray
    artifacts: np.ndarray


class Pairs(NamedTuple):
    """Pairs of references and estimates to compare, and their filters.

    Attributes:
        references: Index of the reference of each pair.
        estimates: Index of the estimate of each pair.
        own: Filters of the pair, float64 [pairs, channels of the estimate, channels of
            the reference, length].
        every: Filters of each estimate, float64 [estimates, channels, channels of all
            references, length].
    """

    references: Sequence[int]
    estimates: Sequence[int]
    own: np.ndarray
    every: np.ndarray


def measure(
    references: Sounds,
    estimates: Sounds,
    pairs: Pairs,
    windows: Sequence[slice],
) -> Parts:
    """Measure the energies of all parts in windows of the sound.

    Each window is treated as a sound of its own, with zeros around it; the tails of the
    filters after its end belong to it.

    Args:
        references: Sounds of as many channels each.
        estimates: As many sounds.
        pairs: The pairs to compare.
        windows: Parts of the sound, none of them empty.

    >>> s, e = np.array([[3.0, 0.0]]), np.array([[6.0, 1.0]])
    >>> pairs = Pairs([0], [0], np.array([[[[2.0]]]]), np.array([[[[2.0]]]]))
    >>> parts = measure([s], [e], pairs, [slice(0, 2)])
    >>> [energy.item() for energy in (parts.own, parts.spatial, parts.artifacts)]
    [36.0, 9.0, 1.0]
    """
    length = pairs.own.shape[-1]
    longest = max(window.stop - window.start for window in windows)
    size = min(FRAME_FILTERS * length, longest + 2 * length)
    size = scipy.fft.next_fast_len(size, real=True)
    spectra = _spectra(pairs, size)
    total = np.zeros([len(Parts._fields), len(pairs.references), len(windows)])
    frames = list(_frames(windows, size - length + 1, length - 1))
    for group in grouped(frames, sum(spectra.shape[1:]) * size):
        block = read([*references, *estimates], group, size)
        energies = _energies(block, spectra, pairs)
        for frame, column in zip(group, np.moveaxis(energies, -1, 0), strict=True):
            total[:, :, frame.number] += column
    return Parts(*total)


def _frames(windows: Sequence[slice], step: int, tail: int) -> Iterator[Frame]:
    """Cover windows, and the tails that filters add to them."""
    for number, window in enumerate(windows):
        for first in range(window.start, window.stop + tail, step):
            yield Frame(first - tail, window, number)


def _spectra(pairs: Pairs, size: int) -> np.ndarray:
    """Transform all filters.

    Returns:
        Complex128 [bins, outputs, channels of all references]; the outputs are the
        channels of the pairs, then those of the estimates.
    """
    count, channels, inner, length = pairs.own.shape
    own = np.zeros([count, channels, pairs.every.shape[2], length])
    for wide, narrow, reference in zip(own, pairs.own, pairs.references, strict=True):
        wide[:, reference * inner : (reference + 1) * inner] = narrow
    both = np.concatenate([*own, *pairs.every])
    return np.ascontiguousarray(np.moveaxis(scipy.fft.rfft(both, size), -1, 0))


def _energies(block: np.ndarray, spectra: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Filter frames of all references and measure the energies of all parts.

    Args:
        block: Float64 [frames, channels of the references and estimates, samples].
        spectra: The filters.
        pairs: The pairs to compare.

    Returns:
        Float64 [parts, pairs, frames].
    """
    frames, _, size = block.shape
    count, channels, _, length = pairs.own.shape
    inner = spectra.shape[2]
    x = contiguous(scipy.fft.rfft(block[:, :inner]), (2, 1, 0))
    filtered = contiguous(spectra @ x, (1, 2, 0))
    outputs = scipy.fft.irfft(filtered, size, overwrite_x=True)[..., length - 1 :]
    outputs = outputs.reshape(-1, channels, *outputs.shape[1:])
    sounds = block[..., length - 1 :].swapaxes(0, 1)
    sounds = sounds.reshape(-1, channels, *sounds.shape[1:])
    references, estimates = sounds[: inner // channels], sounds[inner // channels :]
    result = np.empty([len(Parts._fields), count, frames])
    for pair in range(count):
        s, e = references[pairs.references[pair]], estimates[pairs.estimates[pair]]
        own, every = outputs[pair], outputs[count + pairs.estimates[pair]]
        parts = s, own, every, e - s, e - own, own - s, every - own, e - every
        result[:, pair] = [np.einsum("cft,cft->f", part, part) for part in parts]
    return result
