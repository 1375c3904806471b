"""The assignment of sources against that of scipy."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from common.separation import source_order
from common.separation.source_order import match_beginnings, match_channels


@pytest.mark.parametrize("sources", [1, 2, 5, 9])
@pytest.mark.parametrize("seed", range(5))
def test_order_is_the_best_one(sources, seed):
    random = np.random.default_rng(seed)
    before, after = random.normal(size=[2, sources, 1, 12]).astype(np.float32)
    gains = before[:, 0] @ after[:, 0].T
    best = after[linear_sum_assignment(gains, maximize=True)[1]]
    np.testing.assert_array_equal(match_beginnings(before, after), best)


def test_order_stays_in_silence():
    after = np.arange(4.0)[:, np.newaxis, np.newaxis]
    silence = np.zeros([4, 1, 1])
    np.testing.assert_array_equal(match_beginnings(silence, after), after)


def test_channels_are_ordered_by_the_spectra_of_the_whole_sound():
    # Alike in their first second, and different only after it.
    noise = np.random.default_rng(0).standard_normal([2, 120_000])
    left = np.cumsum(noise, -1)
    left[:, :80_000] = noise[0, :80_000]
    left[1, 80_000:] = noise[1, 80_000:]
    right = -0.1 * left[::-1]
    matched = match_channels(np.stack([left, right], 1))
    np.testing.assert_array_equal(matched[:, 0], left)
    np.testing.assert_array_equal(matched[:, 1], right[::-1])


def test_sources_are_compared_by_what_lies_within_the_frames_not_at_their_edges():
    random, frame = np.random.default_rng(1), source_order.FRAME_SAMPLES
    left = random.standard_normal([4, frame])
    right = left[::-1].copy()
    left[:, [0, -1]] = right[:, [0, -1]] = 3 * random.standard_normal([4, 2])
    matched = match_channels(np.stack([left, right], 1))
    np.testing.assert_array_equal(matched[:, 1], right[::-1])


def test_frames_fade_out_as_they_fade_in():
    sounds = np.random.default_rng(2).standard_normal([3, source_order.FRAME_SAMPLES])
    cosines = source_order._cosines(sounds, sounds[:, ::-1])
    np.testing.assert_allclose(cosines.diagonal(), 1.0, rtol=1e-9)
