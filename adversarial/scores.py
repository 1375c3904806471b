"""The measures of one song: those of the original, and museval's beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.evaluation import bss_eval

ORIGINAL = "SDR", "SIR", "SAR", "NSDR", "NSIR", "SNR", "NSNR"
"""Of the whole song; N stands for what is better than the mixture itself."""
MUSEVAL = tuple(f"museval_{name}" for name in bss_eval.WINDOWED)
"""Medians over the seconds of the song."""
MEASURES = (*ORIGINAL, *MUSEVAL)
LEAST = 1e-10
"""Noise in the place of silence, for which there is no projection."""


def scores(
    references: np.ndarray,
    estimates: np.ndarray,
    mixture: np.ndarray,
    sample_rate: int,
) -> dict[str, np.ndarray]:
    """Measure the estimates of a song, in the order given.

    A silent source has no scores, and where there is one the whole song has no measures
    against the mixture, as in the original. A silent estimate is measured as the
    faintest noise.

    Args:
        references: Float [sources, samples].
        estimates: Float of the same shape.
        mixture: Float [samples].
        sample_rate: In Hz.

    Returns:
        Each of :data:`MEASURES` in dB, float64 [sources], NaN where there is none.
    """
    silent = ~references.any(axis=1)
    truth, heard = _audible(references, 1), _audible(estimates, 2)
    same = _audible(np.stack([mixture] * len(references)), 3)
    found = bss_eval.whole(truth, heard)
    before = bss_eval.whole(truth, same)
    found["SNR"], before["SNR"] = snr(truth, heard), snr(truth, same)
    for name in ("SDR", "SIR", "SNR"):
        found[f"N{name}"] = found[name] - before[name]
    if silent.any():
        for name in ("NSDR", "NSIR", "SNR", "NSNR"):
            found[name] = np.full(len(references), np.nan)
    for name, values in bss_eval.seconds(truth, heard, sample_rate).items():
        found[f"museval_{name}"] = np.array([_median(each) for each in values])
    return {name: np.where(silent, np.nan, found[name]) for name in MEASURES}


def snr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Signal to noise ratio of estimates at their best level.

    Args:
        references: Float [..., samples].
        estimates: Float of the same shape, none of them silent.

    Returns:
        Float64 [...] in dB.

    >>> float(snr(np.array([2.0, 0.0]), np.array([0.5, 0.5])).round(3))
    3.01
    """
    truth, heard = references.astype(np.float64), estimates.astype(np.float64)
    gain = (truth * heard).sum(-1, keepdims=True) / np.square(heard).sum(
        -1, keepdims=True
    )
    noise = np.square(truth - gain * heard).sum(-1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.square(truth).sum(-1) / noise)


def silent(sounds: Mapping[str, np.ndarray]) -> list[str]:
    """Name the sounds that are silent throughout.

    >>> silent({"vocals": np.zeros(3), "accompaniment": np.ones(3)})
    ['vocals']
    """
    return [name for name, sound in sounds.items() if not sound.any()]


def _audible(sounds: np.ndarray, seed: int) -> np.ndarray:
    """Put faint noise, always the same, in the place of silence."""
    noise = np.random.default_rng(seed).uniform(-LEAST, LEAST, sounds.shape)
    silence = ~sounds.any(axis=1, keepdims=True)
    return np.where(silence, noise, sounds.astype(np.float64))


def _median(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else np.nan
