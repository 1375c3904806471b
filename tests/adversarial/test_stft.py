"""The transform of the pillar is that of librosa, with either padding."""

import numpy as np
import pytest
import tensorflow as tf

from adversarial import spectra
from adversarial.config import ModelConfig
from common.signal.stft import Stft, istft, stft

SAMPLES = 20_000


def noise(samples=SAMPLES):
    return np.random.default_rng(4).uniform(-1, 1, samples).astype(np.float32)


@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize("samples", [SAMPLES, 78 * 256, 700])
def test_spectra_are_those_of_librosa(padding, samples):
    import librosa

    config = ModelConfig(center_pad=padding)
    params = Stft(config.num_fft, config.num_hop, padding=padding)
    ours = stft(noise(samples), params).numpy().T
    theirs = librosa.stft(noise(samples), n_fft=512, hop_length=256, pad_mode=padding)
    assert ours.shape == theirs.shape == (257, 1 + samples // 256)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("padding", ["constant", "reflect"])
def test_inverse_is_that_of_librosa(padding):
    import librosa

    params = Stft(512, 256, padding=padding)
    spectrum = stft(noise(), params)
    # A changed spectrum has no sound of its own, so the way back matters.
    changed = spectrum * tf.cast(tf.linspace(0.0, 1.0, 257), tf.complex64)
    ours = istft(changed, params, SAMPLES).numpy()
    theirs = librosa.istft(changed.numpy().T, n_fft=512, hop_length=256, length=SAMPLES)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(istft(spectrum, params, SAMPLES), noise(), atol=1e-5)


def test_magnitudes_of_training_are_inner_frames_of_a_whole_song():
    import librosa

    song = noise()
    whole = np.abs(librosa.stft(song, n_fft=512, hop_length=256))
    window = song[2 * 256 : 2 * 256 + 512 + 9 * 256]
    ours = spectra.magnitude(tf.constant(window[np.newaxis]), ModelConfig())
    np.testing.assert_allclose(ours[0, :, :, 0], whole[:, 3:13], atol=1e-5)


def test_magnitudes_of_sound_within_full_scale_stay_below_the_frame():
    loud = np.ones(4096, np.float32)
    assert float(tf.reduce_max(abs(stft(loud, Stft(512, 256))))) < 512
