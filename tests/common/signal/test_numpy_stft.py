"""The transforms in numpy against those of TensorFlow."""

import numpy as np
import pytest

from common.signal import numpy_stft, stft
from common.signal.framing import Stft

PARAMS = [
    Stft(64, 16),
    Stft(40, 20, 64, "sqrt_hann", "end"),
    Stft(33, 8, 64, "sqrt_hann_tf", "end"),
    Stft(64, 16, padding="constant"),
    Stft(64, 32, padding="reflect"),
    Stft(40, 16, 64, "sqrt_hann", "constant_whole", "window_sum"),
    Stft(64, 16, window="sqrt_hann", padding="constant_whole", scale="tight"),
]


@pytest.mark.parametrize("samples", [70, 333])
@pytest.mark.parametrize("params", PARAMS)
def test_transforms_equal_those_of_tensorflow(params, samples):
    random = np.random.default_rng(samples)
    sound = random.uniform(-1, 1, [2, samples]).astype(np.float32)
    spectrum = stft.stft(sound, params).numpy()
    np.testing.assert_allclose(numpy_stft.stft(sound, params), spectrum, atol=5e-6)
    masked = spectrum * random.uniform(0, 1, spectrum.shape).astype(np.float32)
    actual = numpy_stft.istft(masked, params, samples)
    expected = stft.istft(masked, params, samples).numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-6 * abs(expected).max())


@pytest.mark.parametrize("samples", [1, 31])
def test_short_sounds_are_mirrored_after_zeros(samples):
    params, sound = Stft(64, 16, padding="reflect"), np.ones([1, samples], np.float32)
    expected = stft.stft(sound, params).numpy()
    np.testing.assert_allclose(numpy_stft.stft(sound, params), expected, atol=5e-6)


@pytest.mark.parametrize("shape", [[70], [2, 3, 70]])
def test_a_sound_may_have_any_leading_axes(shape):
    sound = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    for params in PARAMS:
        expected = stft.stft(sound, params).numpy()
        actual = numpy_stft.stft(sound, params)
        np.testing.assert_allclose(actual, expected, atol=5e-6)
