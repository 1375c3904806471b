"""The bases in which masks are applied: a learned one and the STFT.

A basis turns mixtures [batch, mics, samples] into coefficients [batch, frames, mics,
coefficients] and masked coefficients back into waveforms.
"""

from __future__ import annotations

from typing import Any, final

import tensorflow as tf
import tf_keras as keras

from common.signal.stft import Stft, istft, stft
from mixit.config import Network
from mixit.layers import MagnitudeNorm, Projection, length


@final
class LearnedBasis(keras.layers.Layer):
    """Learned encoder (a matrix and ReLU) and decoder (a matrix and overlap-add).

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: Network, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.window, self.hop = config.window_samples, config.hop_samples
        self.coefficients = config.num_coeffs
        self.encoder = Projection(self.window, self.coefficients, name="encoder")
        self.decoder = Projection(self.coefficients, self.window, name="decoder")
        self.encoder.exact = self.decoder.exact = True
        self.built = True

    def analyse(self, mixture: tf.Tensor) -> tf.Tensor:
        """Coefficients [batch, frames, mics, coefficients], not negative."""
        samples = length(mixture, -1)
        hops = -((self.window - samples) // self.hop)
        count = 1 + (max(0, hops) if isinstance(hops, int) else tf.maximum(0, hops))
        missing = self.window + (count - 1) * self.hop - samples
        padded = tf.pad(mixture, [[0, 0], [0, 0], [0, missing]])
        frames = tf.signal.frame(padded, self.window, self.hop)
        return tf.nn.relu(self.encoder(tf.transpose(frames, [0, 2, 1, 3])))

    def features(self, coefficients: tf.Tensor) -> tf.Tensor:
        """Input of the mask network [batch, frames, mics * coefficients]."""
        return _joined(coefficients)

    def masked(self, masks: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
        """Coefficients times masks [batch, frames, mics, sources, coefficients]."""
        return masks * coefficients[:, :, :, tf.newaxis]

    def synthesise(self, masked: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        """Waveforms [batch, mics, sources, samples] of masked coefficients.

        Args:
            masked: Coefficients [batch, frames, mics, sources, coefficients].
            samples: Length of the result.
        """
        frames = tf.transpose(self.decoder(masked), [0, 2, 3, 1, 4])
        return tf.signal.overlap_and_add(frames, self.hop)[..., :samples]


@final
class StftBasis(keras.layers.Layer):
    """The STFT with a square-root Hann window; magnitudes are normalised as a whole.

    As in Google's program, the window is that of TensorFlow, and there is a frame for
    every hop, the last ones padded with zeros. The first samples are covered by one
    frame only, unless there is padding in front.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: Network, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        window, hop = config.window_samples, config.hop_samples
        self.params = Stft(
            *(window, hop, transform_samples(window)),
            window="sqrt_hann_tf",
            padding="end",
        )
        self.coefficients = self.params.bins
        self.front = window - hop if config.front_padding else 0
        self.norm = MagnitudeNorm(name="magnitude_norm")
        self.built = True

    def analyse(self, mixture: tf.Tensor) -> tf.Tensor:
        """Spectrogram [batch, frames, mics, bins], complex."""
        window, hop = self.params.window_samples, self.params.hop_samples
        samples = length(mixture, -1) + self.front
        missing = (-(-samples // hop) - 1) * hop + window - samples
        pads: Any = [[0, 0], [0, 0], [self.front, missing]]
        return tf.transpose(stft(tf.pad(mixture, pads), self.params), [0, 2, 1, 3])

    def features(self, spectrogram: tf.Tensor) -> tf.Tensor:
        """Normalised magnitudes [batch, frames, mics * bins]."""
        return self.norm(_joined(tf.abs(spectrogram)))

    def masked(self, masks: tf.Tensor, spectrogram: tf.Tensor) -> tf.Tensor:
        """Spectrogram times masks [batch, frames, mics, sources, bins]."""
        parts = tf.math.real(spectrogram), tf.math.imag(spectrogram)
        return tf.complex(*(masks * part[:, :, :, tf.newaxis] for part in parts))

    def synthesise(self, masked: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        """Waveforms [batch, mics, sources, samples] of masked spectrograms.

        Args:
            masked: Spectrograms [batch, frames, mics, sources, bins].
            samples: Length of the result.
        """
        spectrograms = tf.transpose(masked, [0, 2, 3, 1, 4])
        waveforms = istft(spectrograms, self.params, samples + self.front)
        return waveforms[..., self.front :]


def transform_samples(window_samples: int) -> int:
    """Length of the transform of a window, the next power of two.

    >>> transform_samples(400)
    512
    """
    return 1 << (window_samples - 1).bit_length()


def _joined(coefficients: tf.Tensor) -> tf.Tensor:
    """Concatenate the microphones of [batch, frames, mics, coefficients]."""
    batch, frames = length(coefficients, 0), length(coefficients, 1)
    mics, width = coefficients.shape[2] or 0, coefficients.shape[3] or 0
    return tf.reshape(coefficients, [batch, frames, mics * width])
