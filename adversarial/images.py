"""Magnitude images of waveforms as inputs of the networks, padded and cropped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adversarial.config import ModelConfig
from adversarial.model import Geometry
from common.signal.stft import Stft, stft


class MixtureImages(NamedTuple):
    """Magnitudes of mixtures: the separator's input, and the sum of its targets.

    Attributes:
        log: ln(1 + magnitude) with context [batch, bins, frames, 1], of the size of the
            separator's input.
        linear: Magnitude without context [batch, bins, frames, 1], of the size of its
            output.
    """

    log: tf.Tensor
    linear: tf.Tensor


def magnitude(waveform: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Compute the magnitudes of the frames that lie entirely within excerpts.

    Args:
        waveform: Float32 [batch, samples], the length of one frame and some hops.
        config: Gives frame length and hop.

    Returns:
        Float32 [batch, bins, frames, 1], not normalised.

    >>> magnitude(tf.zeros([2, 512 + 3 * 256]), ModelConfig()).shape
    TensorShape([2, 257, 4, 1])
    """
    spectrum = stft(waveform, Stft(config.num_fft, config.num_hop))
    return tf.linalg.matrix_transpose(tf.abs(spectrum))[..., tf.newaxis]


def mixture_images(
    waveform: tf.Tensor, config: ModelConfig, geometry: Geometry
) -> MixtureImages:
    """Compute the images of mixtures.

    Args:
        waveform: Float32 [batch, samples] of ``geometry.input_frames`` frames.
        config: Gives frame length and hop.
        geometry: Sizes of the images.
    """
    image = magnitude(waveform, config)
    bins = config.num_fft // 2 + 1
    centre = pad_bins(crop(image, bins, geometry.output_frames), geometry.output_bins)
    return MixtureImages(tf.math.log1p(pad_bins(image, geometry.input_bins)), centre)


def source_images(
    waveforms: tf.Tensor, config: ModelConfig, geometry: Geometry
) -> tf.Tensor:
    """Compute the images of sources, the targets of the estimates.

    Args:
        waveforms: Float32 [batch, 2, samples] of ``geometry.output_frames`` frames:
            accompaniment, vocals.
        config: Gives frame length and hop.
        geometry: Sizes of the images.

    Returns:
        ln(1 + magnitude) [batch, 2, bins, frames, 1].
    """
    magnitudes = [magnitude(waveforms[:, source], config) for source in range(2)]
    padded = [pad_bins(image, geometry.output_bins) for image in magnitudes]
    return tf.math.log1p(tf.stack(padded, axis=1))


def critic_images(images: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Crop images [..., bins, frames, 1] of the output's size to the critics' input."""
    return crop(images, geometry.critic_bins, geometry.critic_frames)


def pad_bins(images: tf.Tensor, bins: int) -> tf.Tensor:
    """Pad images with rows of zeros; of an odd number the last one goes on top.

    Args:
        images: Magnitudes, linear or logarithmic, [batch, bins, frames, 1].
        bins: Number of rows after padding, at least as many as before.

    >>> images = pad_bins(tf.ones([1, 257, 1, 1]), 350)
    >>> tf.where(images[0, :, 0, 0] > 0).numpy()[[0, -1], 0].tolist()
    [46, 302]
    """
    missing = bins - int(images.shape[1] or 0)
    below = missing // 2
    return tf.pad(images, [[0, 0], [below, missing - below], [0, 0], [0, 0]])


def crop(images: tf.Tensor, bins: int, frames: int) -> tf.Tensor:
    """Crop images to their centre.

    Args:
        images: [..., bins, frames, channels], of known size.
        bins: Rows of the centre; an even number of rows is removed.
        frames: Frames of the centre; an even number of frames is removed.

    Raises:
        ValueError: The images are too small, or have no centre of this size.

    >>> crop(tf.ones([2, 258, 66, 1]), 256, 64).shape
    TensorShape([2, 256, 64, 1])
    """
    size = np.array(images.shape[-3:-1].as_list())
    removed = size - [bins, frames]
    if min(removed) < 0 or any(removed % 2):
        raise ValueError(
            f"images of {size[0]} x {size[1]} have no centre of {bins} x {frames}; "
            "expected equal margins on both sides"
        )
    low, left = removed // 2
    return images[..., low : low + bins, left : left + frames, :]
