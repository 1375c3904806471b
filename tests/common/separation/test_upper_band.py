"""What lies above a model's band goes to the sources, and all adds up."""

import numpy as np
import pytest
import scipy.fft

from common.audio.resample import resample
from common.separation import upper_band

RATE, MODEL = 22050, 8000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def completed(mixture, estimates, chunk):
    pairs = (
        (mixture[..., start : start + chunk], estimates[..., start : start + chunk])
        for start in range(0, mixture.shape[-1], chunk)
    )
    done = list(upper_band.complete(pairs, RATE, MODEL))
    mixtures, parts = zip(*done, strict=True)
    np.testing.assert_array_equal(np.concatenate(mixtures, -1), mixture)
    return np.concatenate(parts, -1)


@pytest.mark.parametrize("samples", [1, 352, 353, 354, 705, 706, 40_000])
def test_estimates_add_up_whatever_the_chunks(samples):
    mixture, estimates = noise(2, samples), 0.3 * noise(3, 2, samples, seed=1)
    whole = completed(mixture, estimates, samples)
    np.testing.assert_allclose(whole.sum(0), mixture, atol=2e-7)
    for chunk in (100, 353, 5000):
        parts = completed(mixture, estimates, chunk)
        np.testing.assert_allclose(parts, whole, atol=1e-7)


def test_the_upper_band_goes_to_the_source_of_the_upper_bins():
    sounds = noise(2, 2 * RATE)
    sounds[0, RATE:], sounds[1, :RATE] = 0, 0
    low = np.concatenate(
        [
            resample(resample(row[np.newaxis], RATE, MODEL), MODEL, RATE)
            for row in sounds
        ]
    )[:, np.newaxis, : 2 * RATE]
    mixture = sounds.sum(0, keepdims=True)
    parts = completed(mixture, low, 5000)[:, 0]
    for part, sound, estimate in zip(parts, sounds, low[:, 0], strict=True):
        before = np.square(sound - estimate).sum() / np.square(sound).sum()
        after = np.square(sound - part).sum() / np.square(sound).sum()
        assert before > 0.5
        assert after < 0.02


def test_silent_estimates_share_alike():
    mixture = noise(1, 3000)
    parts = completed(mixture, np.zeros([2, 1, 3000], np.float32), 700)
    np.testing.assert_allclose(parts[0], mixture / 2, atol=1e-7)


def test_only_sound_within_the_bounds_of_the_band_counts():
    """A loud tone below a quarter of the band takes nothing of what lies above it."""
    seconds = np.arange(RATE) / RATE
    inside = 0.1 * np.sin(2 * np.pi * 1500 * seconds)
    below = 0.9 * np.sin(2 * np.pi * 800 * seconds)
    estimates = np.stack([inside, below])[:, np.newaxis].astype(np.float32)
    upper = 0.1 * noise(1, RATE)
    parts = completed(estimates.sum(0) + upper, estimates, 5000) - estimates
    inner = slice(1000, -1000)
    np.testing.assert_allclose(parts[0, :, inner], upper[:, inner], atol=1e-4)
    np.testing.assert_allclose(parts[1, :, inner], 0.0, atol=1e-4)


def test_transforms_have_the_next_length_without_a_prime_above_five():
    lengths = [1, 7, 29, 256, 706, 1412, 1533, 4095]
    expected = [scipy.fft.next_fast_len(samples, real=True) for samples in lengths]
    assert [upper_band._fft_length(samples) for samples in lengths] == expected
