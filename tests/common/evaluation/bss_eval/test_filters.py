"""Correlations are those of their definition, and singular systems have a rule."""

import numpy as np
import pytest
from scipy.linalg import lapack

from common.evaluation.bss_eval import filters

RNG = np.random.default_rng(0)


def delayed(sounds, length, samples):
    """All sounds at all delays, [samples, channels * length]."""
    columns = [
        np.pad(channel, [delay, length - delay])[: samples + length - 1]
        for sound in sounds
        for channel in sound
        for delay in range(length)
    ]
    return np.stack(columns, axis=1)


def test_correlations_in_blocks_are_those_of_the_definition(monkeypatch):
    monkeypatch.setattr(filters, "FRAME_FILTERS", 4)
    references, others = RNG.standard_normal([2, 2, 1, 300])
    actual = filters.correlations(references, others, slice(50, 290), 7)
    x, y = (each[:, 0, 50:290] for each in (references, others))
    for i, k in np.ndindex(2, 4):
        other = np.concatenate([x, y])[k]
        expected = [x[i, : 240 - lag] @ other[lag:] for lag in range(7)]
        np.testing.assert_allclose(actual[i, k], expected, atol=1e-10)


@pytest.mark.parametrize("copy", ["none", "equal", "filtered"])
def test_filters_are_those_of_least_squares(copy):
    references = RNG.standard_normal([2, 1, 200])
    if copy == "equal":
        references[1] = references[0]
    if copy == "filtered":
        references[1, 0] = np.convolve(references[0, 0], [1, 0.5])[:200]
        references[1, 0, -1] = references[0, 0, -1] = 0
        references[1, 0] = np.convolve(references[0, 0], [1, 0.5])[:200]
    estimate = RNG.standard_normal([1, 1, 200])
    products = filters.correlations(references, estimate, slice(0, 200), 8)
    actual = filters.distortion_filters(products)[0].ravel()
    matrix = delayed(references, 8, 200)
    target = np.pad(estimate[0, 0], [0, 7])
    expected = np.linalg.lstsq(matrix, target, rcond=1e-7)[0]
    np.testing.assert_allclose(matrix @ actual, matrix @ expected, atol=1e-9)
    if copy != "equal":
        np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_silent_channels_have_no_filter():
    references = RNG.standard_normal([1, 2, 100]) * [[1], [0]]
    products = filters.correlations(references, references, slice(0, 100), 4)
    actual = filters.distortion_filters(products)
    expected = np.zeros([2, 2, 4])
    expected[0, 0, 0] = 1
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert not filters.distortion_filters(0 * products).any()


def test_levels_do_not_make_a_matrix_singular():
    """A source 120 dB below another has the filters that it has at its own level."""
    references, estimates = RNG.standard_normal([2, 2, 1, 400])
    gains = np.array([1.0, 1e-6])[:, np.newaxis, np.newaxis]
    even, uneven = (
        filters.distortion_filters(
            filters.correlations(sounds, estimates, slice(0, 400), 8)
        )
        for sounds in (references, gains * references)
    )
    np.testing.assert_allclose(uneven * gains[:, 0], even, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_condition_is_estimated_from_below(channels):
    noise = np.random.default_rng(channels).standard_normal([1, channels, 4001])
    references = noise[..., 1:] + noise[..., :-1]
    products = filters.correlations(references, references, slice(0, 4000), 8)
    products = products[:, :channels]
    upper = filters._gram(products, np.zeros(channels))
    matrix = np.triu(upper) + np.triu(upper, 1).T
    factor, failed = lapack.dpotrf(matrix, lower=1)
    assert not failed
    exact = 1 / np.linalg.cond(matrix, 1)
    assert exact / 3 < filters._condition(products, factor) <= exact * (1 + 1e-6)
