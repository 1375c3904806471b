"""From waveforms to the images that the networks see, and their parts."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from adversarial.config import ModelConfig
from adversarial.geometry import Geometry, crop, pad_bins
from common.signal.stft import Stft, stft


class Images(NamedTuple):
    """Magnitudes of mixtures, once as the separator sees them, once as they add up.

    Attributes:
        log: ln(1 + magnitude) with its context [batch, bins, frames, 1], of the
            separator's input.
        linear: Magnitude of the centre [batch, bins, frames, 1], of its output.
    """

    log: tf.Tensor
    linear: tf.Tensor


def magnitude(waveform: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Magnitudes of the frames that lie whole within windows of a song.

    Args:
        waveform: Float32 [batch, samples], one frame and some hops more.
        config: Gives the length of the frames and their distance.

    Returns:
        Float32 [batch, bins, frames, 1], not normalised.

    >>> magnitude(tf.zeros([2, 512 + 3 * 256]), ModelConfig()).shape
    TensorShape([2, 257, 4, 1])
    """
    spectrum = stft(waveform, Stft(config.num_fft, config.num_hop))
    return tf.linalg.matrix_transpose(tf.abs(spectrum))[..., tf.newaxis]


def mixtures(waveform: tf.Tensor, config: ModelConfig, geometry: Geometry) -> Images:
    """Make the images of mixtures.

    Args:
        waveform: Float32 [batch, samples] of ``geometry.input_frames`` frames.
        config: Gives the transform.
        geometry: Gives the sizes.
    """
    image = magnitude(waveform, config)
    bins = config.num_fft // 2 + 1
    centre = pad_output(crop(image, bins, geometry.output_frames), geometry)
    return Images(tf.math.log1p(pad_bins(image, geometry.input_bins)), centre)


def sources(waveforms: tf.Tensor, config: ModelConfig, geometry: Geometry) -> tf.Tensor:
    """Make the images that estimates are compared with.

    Args:
        waveforms: Float32 [batch, 2, samples] of ``geometry.output_frames`` frames:
            accompaniment, vocals.
        config: Gives the transform.
        geometry: Gives the sizes.

    Returns:
        ln(1 + magnitude) [batch, 2, bins, frames, 1].
    """
    each = [magnitude(waveforms[:, number], config) for number in range(2)]
    images = [pad_output(image, geometry) for image in each]
    return tf.math.log1p(tf.stack(images, axis=1))


def pad_output(images: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Add the silent rows on top that the separator's output has."""
    missing = geometry.output_bins - int(images.shape[1] or 0)
    return tf.pad(images, [[0, 0], [0, missing], [0, 0], [0, 0]])


def for_critics(images: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Take what critics see of images [..., bins, frames, 1] of the output's size."""
    return crop(images, geometry.critic_bins, geometry.critic_frames)
