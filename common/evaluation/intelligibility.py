"""Short-time objective intelligibility (STOI) of speech, by pystoi.

[1] Taal, Hendriks, Heusdens and Jensen, An Algorithm for Intelligibility Prediction of
Time-Frequency Weighted Noisy Speech, IEEE Trans. ASLP 19(7), 2011.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

LEAST_RATE = 8000
"""Lowest sample rate in Hz, because the bands of the measure end at 4.3 kHz."""

LEAST_SECONDS = 0.1
"""Shorter sounds are not measured: pystoi fails below 26 ms, and needs 0.4 s."""


class IntelligibilityError(ValueError):
    """Sounds that cannot be measured, or a missing package."""


def load(sample_rate: int) -> Any:
    """Import pystoi, for sounds of a sample rate in Hz.

    Raises:
        IntelligibilityError: It is not installed, or the rate is too low.
    """
    if sample_rate < LEAST_RATE:
        raise IntelligibilityError(
            f"STOI of sounds of {sample_rate} Hz: expected at least {LEAST_RATE} Hz, "
            "because its bands end at 4.3 kHz; leave out --stoi"
        )
    try:
        import pystoi
    except ImportError as error:
        raise IntelligibilityError(
            f"STOI needs pystoi, which cannot be loaded ({error}); pip install pystoi, "
            "or leave out --stoi"
        ) from error
    return pystoi


def stoi(references: np.ndarray, estimates: np.ndarray, sample_rate: int) -> np.ndarray:
    """Compute the STOI [1] of estimates of clean speech.

    Args:
        references: Clean speech, float [sources, samples].
        estimates: Float of the same shape.
        sample_rate: In Hz; pystoi resamples to 10 kHz.

    Returns:
        Float64 [sources], 1 for clean speech; NaN where a reference is silent or has
        less than 0.4 s of speech.

    Raises:
        IntelligibilityError: As :func:`load`.
    """
    pystoi = load(sample_rate)
    pairs = zip(references, estimates, strict=True)
    return np.array([_one(pystoi, *pair, sample_rate) for pair in pairs])


def _one(
    pystoi: Any, reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> float:
    if not reference.any() or len(reference) < LEAST_SECONDS * sample_rate:
        return np.nan
    with warnings.catch_warnings():
        # For too few frames of speech it warns and returns 1e-5.
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, estimate, sample_rate))
        except RuntimeWarning:
            return np.nan
