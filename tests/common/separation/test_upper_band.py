"""What lies above a model's band goes to the sources, and all adds up."""

import numpy as np
import pytest

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
