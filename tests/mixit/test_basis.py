"""The basis of the STFT against the transforms of TensorFlow, as Google's program."""

import numpy as np
import pytest
import tensorflow as tf

from mixit.basis import StftBasis
from mixit.config import Network


@pytest.mark.parametrize(("window", "hop"), [(40, 16), (33, 8), (9, 3)])
def test_transform_and_inverse_equal_those_of_tensorflow(window, hop):
    basis = StftBasis(Network(basis="stft", window_samples=window, hop_samples=hop))
    mixture = np.random.default_rng(0).uniform(-1, 1, (2, 1, 200)).astype(np.float32)

    def shape(length, dtype):
        return tf.sqrt(tf.signal.hann_window(length, periodic=True, dtype=dtype))

    sizes = window, hop, basis.params.transform_samples
    expected = tf.signal.stft(mixture, *sizes, window_fn=shape, pad_end=True)
    spectrogram = basis.analyse(mixture)
    np.testing.assert_allclose(spectrogram[:, :, 0], expected[:, 0], atol=5e-6)
    dual = tf.signal.inverse_stft_window_fn(hop, shape)
    back = tf.signal.inverse_stft(expected, *sizes, window_fn=dual)[..., :200]
    estimates = basis.synthesise(spectrogram[:, :, :, tf.newaxis], 200)
    np.testing.assert_allclose(estimates[:, :, 0], back, atol=2e-6)
