"""Images are librosa's magnitudes, padded and cropped as in the original."""

import numpy as np
import pytest
import tensorflow as tf

from adversarial.config import ModelConfig
from adversarial.images import (
    crop,
    magnitude,
    mixture_images,
    pad_bins,
    source_images,
)
from adversarial.model import solve

SAMPLES = 20_000


def noise(samples=SAMPLES):
    return np.random.default_rng(4).uniform(-1, 1, samples).astype(np.float32)


def test_magnitudes_of_training_are_inner_frames_of_a_whole_song():
    import librosa

    song = noise()
    whole = np.abs(librosa.stft(song, n_fft=512, hop_length=256))
    window = song[2 * 256 : 2 * 256 + 512 + 9 * 256]
    ours = magnitude(tf.constant(window[np.newaxis]), ModelConfig())
    np.testing.assert_allclose(ours[0, :, :, 0], whole[:, 3:13], atol=1e-5)


def test_rows_are_padded_as_in_the_original():
    image = tf.reshape(tf.range(1.0, 258.0), [1, 257, 1, 1])
    padded = pad_bins(image, 350).numpy()[0, :, 0, 0]
    np.testing.assert_array_equal(padded[46:303], np.arange(1, 258))
    assert not padded[:46].any()
    assert not padded[303:].any()


def test_output_and_input_have_the_same_bins():
    """What is left of the input without its context is the padded output."""
    for layers in range(1, 6):
        geometry = solve(ModelConfig(num_layers=layers))
        image = tf.random.stateless_uniform([1, 257, 4, 1], [1, 2])
        centre = crop(pad_bins(image, geometry.input_bins), geometry.output_bins, 4)
        np.testing.assert_array_equal(centre, pad_bins(image, geometry.output_bins))


@pytest.mark.parametrize("num_fft", [512, 400, 1000])
def test_targets_and_mixture_have_their_bins_in_the_same_rows(num_fft):
    config = ModelConfig(num_fft=num_fft, num_hop=num_fft // 2, num_frames=16)
    geometry = solve(config)
    samples = num_fft + (geometry.input_frames - 1) * config.num_hop
    song = tf.constant(noise(samples)[np.newaxis])
    seen = mixture_images(song, config, geometry)
    rows, frames = geometry.output_bins, geometry.output_frames
    inner = crop(seen.log, rows, frames)
    np.testing.assert_allclose(tf.math.expm1(inner), seen.linear, atol=1e-4)
    begin = geometry.context_frames * config.num_hop
    part = song[:, begin : begin + num_fft + (frames - 1) * config.num_hop]
    targets = source_images(tf.stack([part, part], 1), config, geometry)
    np.testing.assert_allclose(targets[:, 0], inner, atol=1e-5)


def test_the_crop_is_the_centre():
    image = tf.reshape(tf.range(258.0 * 66), [1, 258, 66, 1])
    np.testing.assert_array_equal(crop(image, 256, 64), image[:, 1:257, 1:65])
    np.testing.assert_array_equal(crop(image, 258, 66), image)


@pytest.mark.parametrize(("bins", "frames"), [(255, 64), (256, 63), (260, 64)])
def test_images_without_a_centre_are_refused(bins, frames):
    with pytest.raises(ValueError, match=f"no centre of {bins} x {frames}; expected"):
        crop(tf.ones([1, 258, 66, 1]), bins, frames)
