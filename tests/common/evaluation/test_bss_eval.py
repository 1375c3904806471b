"""The ratios are museval's where it has some, and never an exception where not."""

import numpy as np
import pytest

from common.evaluation import bss_eval

RATE = 1000
NOISE = np.random.default_rng(0).standard_normal([2, 3 * RATE])
OTHER = NOISE + 0.3 * np.random.default_rng(1).standard_normal(NOISE.shape)


def of_museval(references, estimates, window, sources_version):
    """What museval gives by itself, without the help of this module."""
    from museval.metrics import bss_eval as measure

    return measure(
        references[..., np.newaxis],
        estimates[..., np.newaxis],
        window=window,
        hop=window,
        bsseval_sources_version=sources_version,
    )


def test_ratios_are_those_of_museval():
    sdr, _, sir, sar, _ = of_museval(NOISE, OTHER, np.inf, True)
    found = bss_eval.whole(NOISE, OTHER)
    for name, expected in zip(bss_eval.GLOBAL, (sdr, sir, sar), strict=True):
        np.testing.assert_allclose(found[name], expected[:, 0], rtol=1e-9)
    every = of_museval(NOISE, OTHER, RATE, False)
    found = bss_eval.seconds(NOISE, OTHER, RATE)
    for name, expected in zip(bss_eval.WINDOWED, every, strict=False):
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)


def test_identical_sources_have_ratios():
    """They are so loud that what museval adds to the diagonal is rounded away."""
    same = 1e4 * np.round(8 * np.stack([NOISE[0], NOISE[0]]))
    found = bss_eval.whole(same, same + 1e4 * NOISE)
    assert all(np.isfinite(values).all() for values in found.values())
    # An error that is no filtered reference at all is what limits both ratios.
    np.testing.assert_allclose(found["SDR"], found["SAR"], atol=0.1)
    assert all(
        np.isfinite(v).all() for v in bss_eval.seconds(same, NOISE, RATE).values()
    )


@pytest.mark.slow
def test_a_singular_matrix_is_solved_by_least_squares(monkeypatch):
    usual = bss_eval.whole(NOISE, OTHER)

    def singular(matrix, vectors):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "solve", singular)
    again = bss_eval.whole(NOISE, OTHER)
    for name, values in usual.items():
        np.testing.assert_allclose(again[name], values, atol=1e-3)


@pytest.mark.parametrize("part", ["references", "estimates"])
def test_a_silent_second_has_no_ratio_in_any_source(part):
    sounds = {"references": NOISE.copy(), "estimates": OTHER.copy()}
    sounds[part][1, RATE : 2 * RATE] = 0
    every = of_museval(*sounds.values(), RATE, False)
    found = bss_eval.seconds(*sounds.values(), RATE)
    for name, expected in zip(bss_eval.WINDOWED, every, strict=False):
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)
        assert np.isnan(found[name][:, 1]).all()
        assert np.isfinite(found[name][:, [0, 2]]).all()


@pytest.mark.parametrize("part", ["references", "estimates"])
def test_silence_throughout_has_no_ratio(part):
    sounds = {"references": NOISE, "estimates": OTHER, part: NOISE * [[1], [0]]}
    ordered = sounds["references"], sounds["estimates"]
    assert all(np.isnan(v).all() for v in bss_eval.whole(*ordered).values())
    for values in bss_eval.seconds(*ordered, RATE).values():
        assert values.shape == (2, 3)
        assert np.isnan(values).all()
    assert bss_eval.seconds(*(each[:, :10] for each in ordered), RATE)["SDR"].shape == (
        2,
        1,
    )


def test_an_error_of_exactly_zero_is_an_infinite_ratio(monkeypatch):
    np.testing.assert_array_equal(
        bss_eval.seconds(NOISE, NOISE, RATE)["SDR"][0], np.inf
    )
    from museval import metrics

    # Rounding leaves next to nothing of the errors: this is the case without it.
    def exact(references, estimate, index, *filters):
        true = references[index]
        return true, 0 * true, 0 * true, 0 * true

    monkeypatch.setattr(metrics, "_bss_decomp_mtifilt", exact)
    for values in bss_eval.whole(NOISE, NOISE).values():
        np.testing.assert_array_equal(values, np.inf)


def test_what_is_lent_to_museval_is_taken_back():
    from museval import metrics

    before, decibels = set(vars(np.linalg)), metrics._safe_db
    with bss_eval.repaired(bss_eval.load()):
        assert issubclass(np.linalg.linalg.LinAlgError, np.linalg.LinAlgError)
        assert metrics._safe_db(1.0, 0.0).shape == ()
    assert set(vars(np.linalg)) == before
    assert metrics._safe_db is decibels


@pytest.mark.parametrize("error", [ImportError("no pandas"), RuntimeError("no ffmpeg")])
def test_museval_that_does_not_load_is_one_sentence(error, monkeypatch):
    import builtins

    real = builtins.__import__

    def fails(name, *rest):
        if name == "museval":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(bss_eval.MeasureError, match=f"museval .*{error}.*ffmpeg"):
        bss_eval.load()
