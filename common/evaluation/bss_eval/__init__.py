"""BSS Eval, versions 3 and 4: SDR, ISR, SIR and SAR of separated sources.

An estimate may differ from its reference by a filter of 512 samples. Version 3 fits
filters to each window or to the whole sound, as ``bss_eval_sources`` and
``bss_eval_images`` of the Matlab toolbox and of mir_eval; version 4 fits them to the
whole sound and measures in windows, as museval and the campaigns of music separation
since 2018. ``python -m common.evaluation.bss_eval`` measures folders of sound files.

An error of exactly zero gives an infinite ratio. A source or an estimate that is silent
in a window gives NaN for all sources in that window, as in museval.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from common.evaluation.bss_eval.energies import Pairs, Parts, measure
from common.evaluation.bss_eval.filters import Sounds, correlations, distortion_filters

GLOBAL = "SDR", "SIR", "SAR"
WINDOWED = "SDR", "ISR", "SIR", "SAR"
CHUNK_SAMPLES = 1 << 20
MOST_PERMUTED = 8
"""Largest number of sources whose orders are all tried."""


class MeasureError(ValueError):
    """Sounds that cannot be measured."""


@dataclass(frozen=True)
class Options:
    """Options of BSS Eval.

    Attributes:
        mode: ``"v4"``: the filters are those of the whole sound. ``"v3"``: each window
            has its own.
        window: Length of a window in samples; infinite: the whole sound is one.
        hop: Samples from one window to the next; None: the length of a window. A
            remainder shorter than a window is not measured.
        images: Whether a filter counts as an error (``bss_eval_images``, ISR), or is
            forgiven (``bss_eval_sources``).
        permute: Whether to find the order of the estimates with the largest mean SIR,
            of at most eight. In v4, windows with a silent sound do not count; with any
            such window, museval keeps the given order.
        length: Samples of the filters.
    """

    mode: Literal["v3", "v4"] = "v4"
    window: float = math.inf
    hop: float | None = None
    images: bool = True
    permute: bool = False
    length: int = 512

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        if self.mode not in ("v3", "v4"):
            raise MeasureError(f"mode is {self.mode!r}; expected 'v3' or 'v4'")
        for name in ("window", "hop", "length"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise MeasureError(f"{name} is {value}; expected at least 1 sample")
        if self.hop == math.inf and self.window < math.inf:
            raise MeasureError("hop is inf; expected a number of samples")


WHOLE = Options()
"""Images, in one window."""


class Ratios(NamedTuple):
    """Ratios in dB, each float64 [sources, windows].

    Attributes:
        sdr: Source to distortion.
        isr: Image to spatial distortion; NaN without images.
        sir: Source to interference.
        sar: Sources to artifacts.
        order: Index of the estimate of each source, int [sources, windows], or
            [sources, 1] where it holds for all windows (v4).
    """

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    order: np.ndarray


def evaluate(
    references: Sounds,
    estimates: Sounds,
    options: Options = WHOLE,
) -> Ratios:
    """Compute SDR, ISR, SIR and SAR of estimates.

    Args:
        references: Float [sources, channels, samples], or a sequence of [channels,
            samples] that are read in chunks.
        estimates: As many of the same shape.
        options: How to measure.

    Raises:
        MeasureError: They do not fit together, or hold NaN or infinite samples.

    >>> rng = np.random.default_rng(0)
    >>> sources, noise = rng.standard_normal((2, 2, 1, 4000))
    >>> evaluate(sources, sources + 0.1 * noise, Options(length=32)).sdr.round(1)
    array([[20.1],
           [20.1]])
    """
    _check(references, estimates, permute=options.permute)
    samples = references[0].shape[1]
    windows = list(_windows(samples, options))
    pairs = _pairs(len(references), options.permute)
    scores = np.full([len(WINDOWED), len(pairs), len(windows)], np.nan)
    for numbers in _fits([*references, *estimates], windows, options):
        measured = [windows[number] for number in numbers]
        fitted = measured[0] if options.mode == "v3" else slice(0, samples)
        filters = _fit(references, estimates, pairs, fitted, options.length)
        parts = measure(references, estimates, filters, measured)
        scores[:, :, numbers] = _ratios(parts, options.images)
    return _ordered(scores, pairs, options)


def whole(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Measure by BSS Eval 3 with one filter for the whole sound, in the given order.

    Vincent, Gribonval, Févotte: Performance measurement in blind audio source
    separation, 2006; the numbers are those of mir_eval's ``bss_eval_sources``.

    Args:
        references: Float [sources, samples].
        estimates: Float of the same shape.

    Returns:
        Each of :data:`GLOBAL` in dB, float64 [sources], NaN where one of them is
        silent.

    >>> sources = np.random.default_rng(0).standard_normal((2, 4000))
    >>> whole(sources, sources + 0.1 * sources[::-1])["SIR"].round(-1)
    array([20., 20.])
    """
    options = Options(images=False)
    scores = evaluate(references[:, np.newaxis], estimates[:, np.newaxis], options)
    return {name: getattr(scores, name.lower())[:, 0] for name in GLOBAL}


def seconds(
    references: np.ndarray, estimates: np.ndarray, sample_rate: int
) -> dict[str, np.ndarray]:
    """Measure by BSS Eval 4 in windows of a second, the default of museval.

    Args:
        references: Float [sources, samples].
        estimates: Float of the same shape.
        sample_rate: In Hz.

    Returns:
        Each of :data:`WINDOWED` in dB, float64 [sources, seconds], NaN where a second
        of one of them is silent.

    >>> sources = np.random.default_rng(0).standard_normal((2, 4000))
    >>> seconds(sources, sources + 0.1 * sources[::-1], 2000)["SDR"].round()
    array([[20., 20.],
           [20., 20.]])
    """
    options = Options(window=sample_rate, hop=sample_rate)
    scores = evaluate(references[:, np.newaxis], estimates[:, np.newaxis], options)
    return {name: getattr(scores, name.lower()) for name in WINDOWED}


def _check(references: Sounds, estimates: Sounds, *, permute: bool) -> None:
    """Refuse sounds of different shapes, without samples, or with too many orders."""
    shapes = [[sound.shape for sound in sounds] for sounds in (references, estimates)]
    if shapes[0] != shapes[1] or len({*shapes[0]}) != 1 or 0 in shapes[0][0]:
        raise MeasureError(
            f"the references are {_described(shapes[0])} and the estimates "
            f"{_described(shapes[1])}; expected the same number and shape, [channels, "
            "samples], with at least one sample"
        )
    if permute and len(references) > MOST_PERMUTED:
        raise MeasureError(
            f"the orders of {len(references)} estimates are too many to try; put them "
            f"in order, or measure at most {MOST_PERMUTED}"
        )


def _described(shapes: Sequence[tuple[int, ...]]) -> str:
    sizes = " and ".join(str(list(shape)) for shape in dict.fromkeys(shapes))
    return f"{len(shapes)} of {sizes or 'no shape'}"


def _windows(samples: int, options: Options) -> Iterator[slice]:
    """Divide a sound into windows, whose bounds are rounded down."""
    window, hop = options.window, options.hop or options.window
    if window >= samples:
        yield slice(0, samples)
        return
    for number in range(math.floor((samples - window + hop) / hop)):
        yield slice(math.floor(number * hop), math.floor(number * hop + window))


def _fits(
    sounds: Sounds, windows: Sequence[slice], options: Options
) -> Iterator[list[int]]:
    """Group the numbers of windows in which no sound is silent by common filters."""
    sounding = [
        number
        for number, window in enumerate(windows)
        if not any(_is_silent(sound, window) for sound in sounds)
    ]
    if options.mode == "v3":
        yield from ([number] for number in sounding)
    elif sounding:
        yield sounding


def _pairs(sources: int, permute: bool) -> list[tuple[int, int]]:
    """List the pairs of reference and estimate to compare."""
    pairs = itertools.product(range(sources), repeat=2)
    return [(one, other) for one, other in pairs if permute or one == other]


def _is_silent(sound: np.ndarray, window: slice) -> bool:
    """Return whether the sum of the channels is zero throughout, as museval tests."""
    starts = range(window.start, window.stop, CHUNK_SAMPLES)
    stops = (min(start + CHUNK_SAMPLES, window.stop) for start in starts)
    chunks = (sound[:, slice(*b)] for b in zip(starts, stops, strict=True))
    return not any(np.sum(chunk, axis=0, dtype=np.float64).any() for chunk in chunks)


def _fit(
    references: Sounds,
    estimates: Sounds,
    pairs: Sequence[tuple[int, int]],
    window: slice,
    length: int,
) -> Pairs:
    """Fit the filters of each pair, and those of each estimate."""
    products = correlations(references, estimates, window, length)
    if not np.isfinite(products).all():
        raise MeasureError(
            "a reference or an estimate holds NaN or infinite samples; separate it "
            "again, or leave it out"
        )
    channels, inner = references[0].shape[0], len(products)
    own = []
    for one, other in pairs:
        first, second = one * channels, inner + other * channels
        columns = [*range(first, first + channels), *range(second, second + channels)]
        own.append(distortion_filters(products[first : first + channels, columns]))
    every = distortion_filters(products).reshape(-1, channels, inner, length)
    ones, others = zip(*pairs, strict=True)
    return Pairs(ones, others, np.stack(own), every)


def _ratios(parts: Parts, images: bool) -> list[np.ndarray]:
    """Return SDR, ISR, SIR and SAR in dB, the ratios of energies."""
    sir = _decibels(parts.own, parts.interference)
    sar = _decibels(parts.every, parts.artifacts)
    if images:
        spatial = _decibels(parts.true, parts.spatial)
        return [_decibels(parts.true, parts.error), spatial, sir, sar]
    return [_decibels(parts.own, parts.own_error), np.full_like(sir, np.nan), sir, sar]


def _decibels(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, np.inf, 10 * np.log10(signal / error))


def _ordered(
    scores: np.ndarray, pairs: Sequence[tuple[int, int]], options: Options
) -> Ratios:
    """Choose the order of the estimates, for all windows (v4) or for each (v3)."""
    sources = 1 + max(one for one, _ in pairs)
    square = np.full([len(scores), sources, sources, scores.shape[-1]], np.nan)
    square[(slice(None), *zip(*pairs, strict=True))] = scores
    identity = np.arange(sources)
    orders = np.array([identity])
    if options.permute:
        orders = np.array(list(itertools.permutations(identity)))
    sir = square[WINDOWED.index("SIR"), identity, orders].mean(axis=1)
    if options.mode == "v4":
        # One silent window makes museval keep the given order; here it does not count.
        sounding = ~np.isnan(sir).any(axis=0)
        sir = sir[:, sounding if sounding.any() else slice(None)]
        sir = sir.mean(axis=1, keepdims=True)
    # Among equal orders the first is taken; a window without a ratio keeps the order.
    order = orders[np.argmax(sir, axis=0)].T
    rows, columns = identity[:, np.newaxis], np.arange(scores.shape[-1])
    sdr, isr, sir, sar = square[:, rows, order, columns]
    return Ratios(sdr, isr, sir, sar, order)
