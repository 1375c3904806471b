"""Mask inference on waveforms, with the Fourier transform inside the network."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.models.mask_inference import MaskInference
from clustering.models.windowed_filterbank import analyse, synthesise
from clustering.shapes import EndToEnd as Config

TINY = 1e-8
"""What real and imaginary parts smaller than it are set to, as in nussl."""


class EndToEnd(keras.Model):
    """Masks on the magnitude, with the phase of the mixture, in the form of nussl.

    The transform is a product with a matrix that training may change; it starts as that
    of Fourier with the square root of a periodic Hann window, over the window's sum.

    Args:
        config: Its shape.
        name: Name of the model.

    Raises:
        ValueError: The mask network has other bins than the transform.

    >>> EndToEnd(Config())(tf.zeros([1, 1024])).shape
    TensorShape([1, 2, 1024])
    """

    def __init__(self, config: Config, name: str = "end_to_end") -> None:
        super().__init__(name=name, dtype="float32")
        self.config, size = config, config.window_samples
        _check(config)
        phase = 2.0 * np.pi * np.arange(size) / size
        self.window = np.sqrt(0.5 - 0.5 * np.cos(phase))
        spectra = np.fft.rfft(np.eye(size))
        basis = np.concatenate([spectra.real, spectra.imag], axis=1)
        self.analysis_filters = self._filters("analysis_filters", basis)
        inverse = np.linalg.pinv(basis)
        self.synthesis_filters = self._filters("synthesis_filters", inverse)
        self.network = MaskInference(config.network)
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples].
            training: See :class:`MaskInference`.

        Returns:
            Estimates [batch, sources, samples].
        """
        hop = self.config.hop_samples
        spectra = analyse(mixture, self.analysis_filters, self.window, hop)
        spectra /= self.window.sum()
        real, imaginary = tf.split(
            tf.where(tf.abs(spectra) <= TINY, TINY, spectra), 2, axis=-1
        )
        magnitude = tf.sqrt(real**2 + imaginary**2)
        phase = tf.atan2(imaginary, real)[:, tf.newaxis]
        mask = self.network(magnitude, training=training)
        # As in nussl, masks and phases train the filters, the magnitude does not.
        estimates = mask * tf.stop_gradient(magnitude)[:, tf.newaxis]
        parts = [estimates * tf.cos(phase), estimates * tf.sin(phase)]
        return synthesise(
            tf.concat(parts, axis=-1),
            self.synthesis_filters,
            self.window,
            hop,
            tf.shape(mixture)[-1],
        )

    def _filters(self, name: str, start: np.ndarray) -> tf.Variable:
        constant = keras.initializers.Constant(start)
        learned = self.config.learned
        return self.add_weight(name, start.shape, None, constant, trainable=learned)


def _check(config: Config) -> None:
    bins, wanted = config.network.features.bins, config.window_samples // 2 + 1
    if bins != wanted:
        raise ValueError(
            f"model.network.features.bins={bins}: expected {wanted}, as a window of "
            f"{config.window_samples} samples gives"
        )
