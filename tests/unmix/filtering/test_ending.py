"""The last samples of a sound, where the window of the only frame is nearly zero."""

import numpy as np
import pytest

from unmix.filtering.ending import steady_ending

WINDOW = 64
HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@pytest.fixture
def mixture():
    return np.random.default_rng(0).standard_normal((2, 63))


@pytest.fixture
def estimates(mixture):
    """Two sources that add up to the mixture, and go wrong at the end."""
    first = mixture * np.array([[0.3], [0.8]])
    first[:, -2:] += [[90.0, -700.0]]
    return np.stack([first, mixture - first])


def test_errors_at_the_end_become_the_share_of_each_source(mixture, estimates):
    steady_ending(estimates, mixture, HANN, WINDOW // 2, 32 + 31)
    assert np.abs(estimates[..., -6:]).max() < 200
    np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-9)
    flat = np.stack([mixture * [[0.3], [0.8]], mixture * [[0.7], [0.2]]])
    np.testing.assert_allclose(estimates[..., :-4], flat[..., :-4], atol=1e-9)


@pytest.mark.parametrize(("hop", "samples"), [(16, 63), (32, 32 + 16), (32, 64)])
def test_estimates_that_a_window_covers_stay(mixture, estimates, hop, samples):
    before = estimates.copy()
    steady_ending(estimates, mixture, HANN, hop, samples)
    np.testing.assert_array_equal(estimates, before)


def test_silence_stays_silence():
    estimates = np.zeros((1, 2, 63), np.float32)
    steady_ending(estimates, np.zeros((2, 63), np.float32), HANN, 32, 63)
    assert not estimates.any()
