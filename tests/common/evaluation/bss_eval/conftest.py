"""Museval, the oracle of BSS Eval."""

import warnings

import numpy as np
import pytest


@pytest.fixture
def museval(monkeypatch):
    """Call museval on [sources, channels, samples].

    It fails by itself where a matrix is singular on NumPy 2.4, which removed a name,
    and where an error is exactly zero.
    """
    from museval import metrics

    decibels, least_squares = metrics._safe_db, np.linalg.lstsq
    monkeypatch.setattr(np.linalg, "linalg", np.linalg, raising=False)
    monkeypatch.setattr(metrics, "_safe_db", lambda *e: np.float64(decibels(*e)))
    monkeypatch.setattr(
        np.linalg, "lstsq", lambda *system: least_squares(*system, rcond=None)
    )

    def museval(references, estimates, options):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return metrics.bss_eval(
                references.swapaxes(1, 2),
                estimates.swapaxes(1, 2),
                window=options.window,
                hop=options.window if options.hop is None else options.hop,
                compute_permutation=options.permute,
                filters_len=options.length,
                framewise_filters=options.mode == "v3",
                bsseval_sources_version=not options.images,
            )

    return museval


@pytest.fixture
def museval_by_least_squares(museval, monkeypatch):
    """Museval where its solver fails, so that it takes the filters of least norm."""

    def singular(*system):
        raise np.linalg.LinAlgError

    def museval_by_least_squares(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(np.linalg, "solve", singular)
            return museval(*arguments)

    return museval_by_least_squares
