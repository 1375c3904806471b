"""One pass of a sound through the separator, from waveform to waveforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from adversarial.config import ModelConfig
from adversarial.geometry import Geometry, covering, pad_bins
from adversarial.model import Separator
from common.separation.separator import Network, SeparationError, graph
from common.signal.masking import ratio_mask
from common.signal.stft import Stft, istft, stft

SOURCES = "vocals", "accompaniment"
"""As users see them; the separator has them the other way round."""

LEAST = 1e-10
"""Magnitude below which a mixture has no phase that an estimate could take."""


@dataclass(frozen=True)
class Passing:
    """How a sound goes through the separator.

    Attributes:
        tile_frames: Frames that the separator estimates at once, 0: all. A multiple of
            its period changes nothing but memory and time.
        griffin_lim: Rounds by which the phase of the estimates is improved.
        masks: Take the estimates' shares of the mixture instead of themselves, made of
            the mean of all channels and applied to each.

    Raises:
        SeparationError: A number is below 0.
    """

    tile_frames: int = 0
    griffin_lim: int = 0
    masks: bool = False

    def __post_init__(self) -> None:
        for name in ("tile_frames", "griffin_lim"):
            if getattr(self, name) < 0:
                raise SeparationError(
                    f"{name} is {getattr(self, name)}; expected at least 0"
                )


def network(separator: Separator, passing: Passing) -> Network:
    """Make the function that separates waveforms.

    Args:
        separator: Built network.
        passing: How a sound goes through it.

    Returns:
        Function from float32 [batch, channels, samples] to
        [batch, sources, channels, samples], sources as in :data:`SOURCES`.
    """
    config, geometry = separator.config, separator.geometry
    image = tf.TensorSpec([None, geometry.input_bins, None, 1], tf.float32)
    compiled = graph(separator, input_signature=[image])

    def separate(mixture: np.ndarray) -> np.ndarray:
        spectrum = transform(tf.constant(mixture), config)[:, :, tf.newaxis]
        seen = tf.reduce_mean(spectrum, 1, keepdims=True) if passing.masks else spectrum
        found = magnitudes(
            compiled, tf.abs(seen[:, :, 0]), geometry, passing.tile_frames
        )
        gains = ratio_mask(found) if passing.masks else _gains(found, tf.abs(seen))
        estimates = tf.cast(gains, tf.complex64) * spectrum
        samples = mixture.shape[-1]
        for _ in range(passing.griffin_lim):
            estimates = improved(estimates, config, samples)
        return istft(estimates, _params(config), samples).numpy().swapaxes(1, 2)

    return separate


def reach(separator: Separator, passing: Passing) -> int:
    """Count the samples to either side that an estimated sample may depend on."""
    config = separator.config
    window = -(-config.num_fft // config.num_hop)
    frames = separator.geometry.context_frames + window * (1 + passing.griffin_lim)
    return frames * config.num_hop


def transform(waveform: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Transform whole sounds, extended by half a frame of silence as in the original.

    Args:
        waveform: Float32 [..., samples].
        config: Gives the transform.

    Returns:
        complex64 [..., frames, bins].

    >>> transform(tf.zeros([2, 1]), ModelConfig()).shape
    TensorShape([2, 2, 257])
    """
    silence = [[0, 0]] * (waveform.shape.rank - 1) + [[0, config.num_fft // 2]]
    return stft(tf.pad(waveform, silence), _params(config))


def magnitudes(
    estimate: Callable[[tf.Tensor], tf.Tensor],
    magnitude: tf.Tensor,
    geometry: Geometry,
    tile_frames: int = 0,
) -> tf.Tensor:
    """Estimate the magnitudes of the sources of whole sounds.

    Args:
        estimate: The separator.
        magnitude: That of the mixtures, float32 [batch, channels, frames, bins].
        geometry: That of the separator.
        tile_frames: Frames that are estimated at once; 0: all.

    Returns:
        Float32 [batch, channels, sources, frames, bins], sources as in
        :data:`SOURCES`.
    """
    batch, channels, frames, bins = (int(n or 0) for n in magnitude.shape)
    flat = tf.reshape(tf.math.log1p(magnitude), [-1, frames, bins])
    images = pad_bins(
        tf.linalg.matrix_transpose(flat)[..., tf.newaxis], geometry.input_bins
    )
    whole = _tiled(estimate, images, geometry, min(tile_frames or frames, frames))
    found = tf.linalg.matrix_transpose(tf.math.expm1(whole[:, ::-1, :bins, :, 0]))
    return tf.reshape(found, [batch, channels, len(SOURCES), frames, bins])


def improved(spectrum: tf.Tensor, config: ModelConfig, samples: int) -> tf.Tensor:
    """Give spectra the phase of the sound that they make, a round of Griffin and Lim.

    Args:
        spectrum: complex64 [..., frames, bins].
        config: Gives the transform.
        samples: Length of the sound.
    """
    again = transform(istft(spectrum, _params(config), samples), config)
    length = tf.maximum(tf.abs(again), LEAST)
    return again * tf.cast(tf.abs(spectrum) / length, tf.complex64)


def _tiled(
    estimate: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    geometry: Geometry,
    hop: int,
) -> tf.Tensor:
    """Run the separator tile by tile: its outputs [batch, 2, bins, frames, 1]."""
    frames, context = int(images.shape[2] or 0), geometry.context_frames
    wanted = covering(hop, geometry)
    starts = range(0, frames, hop)
    behind = context + starts[-1] + wanted - frames
    padded = tf.pad(images, [[0, 0], [0, 0], [context, behind], [0, 0]])
    tiles = [padded[:, :, s : s + wanted + 2 * context] for s in starts]
    outputs = [estimate(tile)[..., :hop, :] for tile in tiles]
    return tf.concat(outputs, axis=-2)[..., :frames, :]


def _gains(found: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    """Divide estimates by the mixture; where that is silent there is no phase."""
    gains = found / tf.maximum(magnitude, LEAST)
    return tf.where(magnitude > LEAST, gains, tf.zeros_like(gains))


def _params(config: ModelConfig) -> Stft:
    return Stft(config.num_fft, config.num_hop, padding=config.center_pad)
