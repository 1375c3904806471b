"""The measures of BSS Eval by museval: of a whole song, or second by second.

What museval needs of its surroundings is taken care of here; it is loaded only when a
measure is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

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
    except RuntimeError as error:
        # It loads packages that look for both programs at once.
        raise MeasureError(
            f"museval cannot be loaded ({error}); it needs ffmpeg and ffprobe on PATH"
        ) from error
    return museval


@contextmanager
def alias_of_numpy() -> Iterator[None]:
    """Lend NumPy 2.4 a name that museval 0.4.1 uses where a matrix is singular."""
    if hasattr(np.linalg, "linalg"):
        yield
        return
    np.linalg.linalg = np.linalg  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del np.linalg.linalg  # type: ignore[attr-defined]


def whole(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Measure by BSS Eval 3, with one filter for all of the sound, in the order given.

    Vincent, Gribonval, Fevotte: Performance measurement in blind audio source
    separation, 2006; the numbers are those of mir_eval's ``bss_eval_sources``.

    Args:
        references: Float [sources, samples], none of them silent.
        estimates: Float of the same shape, none of them silent.

    Returns:
        Each of :data:`GLOBAL` in dB, float64 [sources].
    """
    sdr, _, sir, sar = _measure(references, estimates, np.inf, True)
    return {"SDR": sdr[:, 0], "SIR": sir[:, 0], "SAR": sar[:, 0]}


def seconds(
    references: np.ndarray, estimates: np.ndarray, sample_rate: int
) -> dict[str, np.ndarray]:
    """Measure by BSS Eval 4 second by second, as museval does by itself.

    Args:
        references: Float [sources, samples], none of them silent.
        estimates: Float of the same shape, none of them silent.
        sample_rate: In Hz.

    Returns:
        Each of :data:`WINDOWED` in dB, float64 [sources, seconds], NaN where a second
        of a source is silent.
    """
    found = _measure(references, estimates, sample_rate, False)
    return dict(zip(WINDOWED, found, strict=True))


def _measure(
    references: np.ndarray, estimates: np.ndarray, window: float, sources_version: bool
) -> list[np.ndarray]:
    """SDR, ISR, SIR and SAR, each [sources, windows]."""
    with alias_of_numpy(), np.errstate(divide="ignore", invalid="ignore"):
        *found, _ = load().metrics.bss_eval(
            references.astype(np.float64)[..., np.newaxis],
            estimates.astype(np.float64)[..., np.newaxis],
            window=window,
            hop=window,
            compute_permutation=False,
            framewise_filters=False,
            bsseval_sources_version=sources_version,
        )
    return found
