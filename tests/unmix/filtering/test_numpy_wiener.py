"""The Wiener filter in numpy against that of TensorFlow."""

import numpy as np
import pytest

from unmix.filtering import numpy_wiener
from unmix.filtering.numpy_wiener import Options
from unmix.filtering.wiener import wiener

OPTIONS = [
    Options(),
    Options(niter=0),
    Options(niter=2, residual=True),
    Options(niter=1, softmask=True, alpha=2.0),
    Options(niter=0, softmask=True, logit=0.5, residual=True),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("channels", [1, 2])
def test_estimates_equal_those_of_tensorflow(options, channels):
    random = np.random.default_rng(0)
    parts = random.normal(0.0, 20.0, [2, channels, 9, 140])
    mixture = (parts[0] + 1j * parts[1]).astype(np.complex64)
    mixture[:, 2, :5] = 0.0
    magnitudes = random.gamma(0.5, 20.0, [3, channels, 9, 140]).astype(np.float32)
    actual = numpy_wiener.wiener(magnitudes, mixture, options)
    expected = wiener(magnitudes, mixture, options).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-6 * abs(expected).max())
