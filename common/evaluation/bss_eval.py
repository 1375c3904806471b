"""The measures of BSS Eval by museval: of a whole song, or second by second.

What museval 0.4.1 lacks is lent to it here: a name that NumPy 2.4 removed, and a type
without which it fails where an error is exactly zero. It is loaded only when a measure
is asked for.

By its rules an error of exactly zero gives an infinite ratio, and a source or an
estimate that is silent gives NaN for all sources, of the whole sound or of that second.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from common.audio.decoding import FFMPEG_CURE

GLOBAL = "SDR", "SIR", "SAR"
WINDOWED = "SDR", "ISR", "SIR", "SAR"


class MeasureError(ValueError):
    """Sounds that cannot be measured, or nothing to measure them with."""


def load() -> Any:
    """Import museval.

    Raises:
        MeasureError: It cannot be imported.
    """
    try:
        import museval
    except (ImportError, RuntimeError) as error:
        # It loads packages that look for ffmpeg and ffprobe at once.
        raise MeasureError(
            f"museval cannot be loaded ({error}); {FFMPEG_CURE}"
        ) from error
    return museval


@contextmanager
def repaired(museval: Any) -> Iterator[None]:
    """Let museval measure singular and errorless sounds inside a ``with`` block."""
    lacks, decibels = not hasattr(np.linalg, "linalg"), museval.metrics._safe_db
    # It asks a ratio for its shape, which the infinite one of Python does not have.
    museval.metrics._safe_db = lambda *energies: np.float64(decibels(*energies))
    if lacks:
        np.linalg.linalg = np.linalg  # type: ignore[attr-defined]
    try:
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            # NumPy 1 announces another default of the solver for singular matrices.
            warnings.filterwarnings("ignore", "`rcond`", FutureWarning)
            yield
    finally:
        museval.metrics._safe_db = decibels
        if lacks:
            del np.linalg.linalg  # type: ignore[attr-defined]


def whole(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Measure by BSS Eval 3, with one filter for all of the sound, in the order given.

    Vincent, Gribonval, Fevotte: Performance measurement in blind audio source
    separation, 2006; the numbers are those of mir_eval's ``bss_eval_sources``.

    Args:
        references: Float [sources, samples].
        estimates: Float of the same shape.

    Returns:
        Each of :data:`GLOBAL` in dB, float64 [sources], NaN where one of them is
        silent.
    """
    sdr, _, sir, sar = _measure(references, estimates, np.inf, True)
    return {"SDR": sdr[:, 0], "SIR": sir[:, 0], "SAR": sar[:, 0]}


def seconds(
    references: np.ndarray, estimates: np.ndarray, sample_rate: int
) -> dict[str, np.ndarray]:
    """Measure by BSS Eval 4 second by second, as museval does by itself.

    Args:
        references: Float [sources, samples].
        estimates: Float of the same shape.
        sample_rate: In Hz.

    Returns:
        Each of :data:`WINDOWED` in dB, float64 [sources, seconds], NaN where a second
        of one of them is silent.
    """
    found = _measure(references, estimates, sample_rate, False)
    return dict(zip(WINDOWED, found, strict=True))


def _measure(
    references: np.ndarray, estimates: np.ndarray, window: float, sources_version: bool
) -> list[np.ndarray]:
    """SDR, ISR, SIR and SAR, each [sources, windows]."""
    sounds = [each.astype(np.float64) for each in (references, estimates)]
    if not all(each.any(axis=1).all() for each in sounds):
        # It refuses these, while it gives NaN for a window.
        windows = max(1, int(references.shape[1] // window))
        return [np.full([len(references), windows], np.nan) for _ in WINDOWED]
    museval = load()
    with repaired(museval):
        *found, _ = museval.metrics.bss_eval(
            *(each[..., np.newaxis] for each in sounds),
            window=window,
            hop=window,
            compute_permutation=False,
            framewise_filters=False,
            bsseval_sources_version=sources_version,
        )
    return found
