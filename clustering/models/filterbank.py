"""Filters that a network learns in place of a Fourier transform."""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.shapes import Filterbank


class Analysis(keras.layers.Layer):
    """Inner products of overlapping frames with learned filters.

    h[t, k] = sum_n filters[n, k] x[t stride + n], for 1 + (samples - size) // stride
    frames, without padding; a shorter signal is filled to one frame.

    Args:
        config: Number, length and distance of the filters.
        name: Name of the layer, which the name of its weight begins with.

    >>> Analysis(Filterbank(5, 16, 8), name="analysis")(tf.zeros([2, 100])).shape
    TensorShape([2, 11, 5])
    """

    def __init__(self, config: Filterbank, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.config = config
        self.filters = _filters(self, config)
        self.built = True

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        """Filter waveforms [batch, samples] to [batch, frames, filters]."""
        missing = tf.maximum(self.config.size - tf.shape(waveform)[-1], 0)
        filled = tf.pad(waveform, [[0, 0], [0, missing]])
        if waveform.shape[-1] is not None:
            samples = max(waveform.shape[-1], self.config.size)
            filled = tf.ensure_shape(filled, [waveform.shape[0], samples])
        frames = tf.signal.frame(filled, self.config.size, self.config.stride)
        return tf.tensordot(frames, self.filters, 1)


class Synthesis(keras.layers.Layer):
    """Sum of overlapping learned filters, the shape of :class:`Analysis` undone.

    x[n] = sum_t sum_k filters[n - t stride, k] h[t, k]. Samples that no frame reaches
    are zeros.

    Args:
        config: Number, length and distance of the filters.
        name: Name of the layer, which the name of its weight begins with.
    """

    def __init__(self, config: Filterbank, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.config = config
        self.filters = _filters(self, config)
        self.built = True

    def call(self, frames: tf.Tensor, samples: int | tf.Tensor) -> tf.Tensor:
        """Turn [batch, sources, frames, filters] into [batch, sources, samples]."""
        frames = tf.tensordot(frames, tf.transpose(self.filters), 1)
        waveform = tf.signal.overlap_and_add(frames, self.config.stride)
        missing = tf.maximum(samples - tf.shape(waveform)[-1], 0)
        return tf.pad(waveform, [[0, 0], [0, 0], [0, missing]])[..., :samples]


def _filters(layer: keras.layers.Layer, config: Filterbank) -> tf.Variable:
    """Add filters [size, filters], normal by Glorot and Bengio as for a convolution."""
    # A convolution's fans count its taps on both sides: size and filters * size.
    deviation = (2.0 / (config.size * (1 + config.filters))) ** 0.5
    normal = keras.initializers.RandomNormal(stddev=deviation)
    shape = (config.size, config.filters)
    return layer.add_weight(f"{layer.name}/filters", shape, initializer=normal)
