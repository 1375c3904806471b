"""The ratios of BSS Eval, version 3, which papers before SI-SDR reported.

[1] Vincent, Gribonval and Févotte, Performance measurement in blind audio source
    separation, IEEE TASLP 2006.
"""

from __future__ import annotations

import numpy as np

from common.decoding import FFMPEG_CURE

MEASURES = ("bss_sdr", "bss_sir", "bss_sar", "bss_sdr_improvement")


class BssEvalError(ValueError):
    """museval that does not load."""


def bss_eval(
    mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure estimates that are in the order of the sources, by museval.

    One filter of 512 taps for the whole length is allowed, as in [1].

    Args:
        mixture: float32 [samples].
        references: float32 [sources, samples].
        estimates: float32 [sources, samples].

    Returns:
        Each of the measures in dB, [sources]; NaN for all where a source or an
        estimate is silent, which [1] has no ratio for.

    Raises:
        BssEvalError: museval does not load.
    """
    if not (references.any(-1).all() and estimates.any(-1).all()):
        return {name: np.full(len(references), np.nan) for name in MEASURES}
    try:
        from museval.metrics import bss_eval as measure
    except (ImportError, RuntimeError) as error:
        raise BssEvalError(
            f"museval cannot be loaded ({error}); {FFMPEG_CURE}"
        ) from error

    def ratios(heard: np.ndarray) -> tuple[np.ndarray, ...]:
        # Doubles: a perfect estimate has more digits than a float.
        pair = (
            wave[..., np.newaxis].astype(np.float64) for wave in (references, heard)
        )
        found = measure(*pair, window=np.inf, hop=np.inf, bsseval_sources_version=True)
        return tuple(each[:, 0] for each in found[:4])

    sdr, _, sir, sar = ratios(estimates)
    before = ratios(np.broadcast_to(mixture, references.shape))[0]
    return dict(zip(MEASURES, (sdr, sir, sar, sdr - before), strict=True))
