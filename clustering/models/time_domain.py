"""Networks on waveforms: masks of learned filters, TasNet [1] and Conv-TasNet [2].

[1] Luo, Mesgarani: TasNet: time-domain audio separation network for real-time,
    single-channel speech separation, ICASSP 2018.
[2] Luo, Mesgarani: Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for
    Speech Separation, IEEE/ACM Transactions on Audio, Speech, and Language Processing,
    2019.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.models import shapes
from clustering.models.conv_block import Block
from clustering.models.layers import (
    Linear,
    Normalisation,
    ParametricRelu,
    recurrent_stack,
)
from clustering.models.shapes import Filterbank, MaskActivation


class Tasnet(keras.Model):
    """TasNet [1], in the form that asteroid trains.

    With the representation h = relu(A x) sigmoid(G x) of the filters A and G, the
    estimates are S (mask(h) h). Unlike [1], frames may overlap and are not scaled to
    unit norm, and no path leads around the recurrent layers.

    Args:
        config: Its shape.

    >>> model = Tasnet(shapes.Tasnet(recurrent=shapes.Recurrent(hidden=4, layers=2)))
    >>> model(tf.zeros([3, 400])).shape
    TensorShape([3, 2, 400])
    """

    def __init__(self, config: shapes.Tasnet) -> None:
        super().__init__(name="tasnet", dtype="float32")
        self.config, filters = config, config.filterbank.filters
        self.analysis = Analysis(config.filterbank, name="analysis")
        self.gate = Analysis(config.filterbank, name="gate")
        self.norm = None
        if config.norm is not None:
            self.norm = Normalisation(config.norm, filters, "norm")
        self.recurrent = recurrent_stack(filters, config.recurrent)
        width = self.recurrent.units * self.recurrent.directions
        self.mask = Linear(width, config.sources * filters, name="mask")
        self.synthesis = Synthesis(config.filterbank, name="synthesis")
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples].
            training: Whether to drop outputs of the recurrent layers.

        Returns:
            Estimates [batch, sources, samples]. Samples after the last
            whole frame, less than a stride, are zero.
        """
        encoded = tf.nn.relu(self.analysis(mixture)) * tf.sigmoid(self.gate(mixture))
        rows = encoded if self.norm is None else self.norm(encoded)
        rows = self.mask(self.recurrent(rows, training))
        mask = masks(rows, self.config.sources, self.config.mask_activation)
        return self.synthesis(mask * encoded[:, tf.newaxis], tf.shape(mixture)[-1])


class ConvTasnet(keras.Model):
    """Conv-TasNet [2]: the recurrent layers replaced by dilated convolutions.

    Args:
        config: Its shape.

    >>> config = shapes.ConvTasnet(bottleneck=4, hidden=6, skip=4, blocks=2, repeats=1)
    >>> ConvTasnet(config)(tf.zeros([3, 400])).shape
    TensorShape([3, 2, 400])
    """

    def __init__(self, config: shapes.ConvTasnet) -> None:
        super().__init__(name="conv_tasnet", dtype="float32")
        self.config, filters = config, config.filterbank.filters
        self.analysis = Analysis(config.filterbank, name="analysis")
        self.input_norm = Normalisation(config.norm, filters, "input_norm")
        self.bottleneck = Linear(filters, config.bottleneck, name="bottleneck")
        self.blocks = [
            Block(config, 2**block, f"repeat{repeat}/block{block}")
            for repeat in range(config.repeats)
            for block in range(config.blocks)
        ]
        self.activation = ParametricRelu("activation")
        width = config.skip or config.bottleneck
        self.mask = Linear(width, config.sources * filters, name="mask")
        self.synthesis = Synthesis(config.filterbank, name="synthesis")
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples].
            training: Whether the blocks are compiled for training.

        Returns:
            Estimates [batch, sources, samples]. Samples after the last
            whole frame, less than a stride, are zero.
        """
        padding, samples = self.config.padding, tf.shape(mixture)[-1]
        if padding:
            mixture = tf.pad(mixture, [[0, 0], [padding, padding]])
        encoded = self.analysis(mixture)
        if self.config.encoder_relu:
            encoded = tf.nn.relu(encoded)
        signal = self.bottleneck(self.input_norm(encoded))
        skips = []
        for block in self.blocks:
            signal, skip = block(signal, training)
            skips.append(skip)
        signal = tf.add_n(skips) if self.config.skip else signal
        rows = self.mask(self.activation(signal))
        mask = masks(rows, self.config.sources, self.config.mask_activation)
        masked = mask * encoded[:, tf.newaxis]
        return self.synthesis(masked, samples + padding)[..., padding:]


class Analysis(keras.layers.Layer):
    """Inner products of overlapping frames with learned filters.

    h[t, k] = sum_n filters[n, k] x[t stride + n], for 1 + (samples - size) // stride
    frames, without padding; a shorter signal is padded to one frame.

    Args:
        config: Number, length and stride of the filters.
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
        padded = tf.pad(waveform, [[0, 0], [0, missing]])
        if waveform.shape[-1] is not None:
            samples = max(waveform.shape[-1], self.config.size)
            padded = tf.ensure_shape(padded, [waveform.shape[0], samples])
        frames = tf.signal.frame(padded, self.config.size, self.config.stride)
        return tf.tensordot(frames, self.filters, 1)


class Synthesis(keras.layers.Layer):
    """Overlap-add of learned filters, from the output of :class:`Analysis` to sound.

    x[n] = sum_t sum_k filters[n - t stride, k] h[t, k]. Samples that no frame covers
    are zero.

    Args:
        config: Number, length and stride of the filters.
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


def masks(rows: tf.Tensor, sources: int, activation: MaskActivation) -> tf.Tensor:
    """Split the output of the network into one mask for each source.

    Args:
        rows: Output [batch, frames, sources * filters], source after source.
        sources: Number of sources.
        activation: ``"softmax"`` is over the sources.

    Returns:
        Masks [batch, sources, frames, filters].

    >>> masks(tf.zeros([1, 5, 6]), 2, "sigmoid").shape
    TensorShape([1, 2, 5, 3])
    """
    batch, frames, width = tf.unstack(tf.shape(rows))
    split = tf.reshape(rows, [batch, frames, sources, width // sources])
    split = tf.transpose(split, [0, 2, 1, 3])
    if activation == "softmax":
        return tf.nn.softmax(split, axis=1)
    if activation == "sigmoid":
        return tf.sigmoid(split)
    return tf.nn.relu(split) if activation == "relu" else split


def _filters(layer: keras.layers.Layer, config: Filterbank) -> tf.Variable:
    """Add filters [size, filters], normal by Glorot and Bengio as for a convolution."""
    # A convolution's fans count its taps on both sides: size and filters * size.
    deviation = (2.0 / (config.size * (1 + config.filters))) ** 0.5
    normal = keras.initializers.RandomNormal(stddev=deviation)
    shape = (config.size, config.filters)
    return layer.add_weight(f"{layer.name}/filters", shape, initializer=normal)
