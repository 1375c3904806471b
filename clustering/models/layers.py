"""Layers on [batch, frames, channels]: dense, normalised, depthwise, recurrent.

Luo, Mesgarani: Conv-TasNet, IEEE/ACM Transactions on Audio, Speech, and Language
Processing, 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras as keras

from clustering.models.shapes import ChannelNorm, Recurrent
from common.layers.precision import Product
from common.layers.recurrent import RecurrentStack

EPSILON = 1e-8

NORM_AXES = {"gLN": [1, 2], "cLN": [2], "fgLN": [1]}
"""Axes of [batch, frames, channels] for the moments of a normalisation."""

Gradients = tuple[tf.Tensor, tf.Tensor]


class Linear(Product):
    """Product of the last axis with a matrix, and a bias.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        xavier: Initialise as normal with variance 2 / (inputs + outputs) and bias 0, as
            in nussl, and not uniform in +-1 / sqrt(inputs), as in PyTorch.
        name: Name of the layer, which the names of its weights begin with.

    >>> Linear(3, 5, name="linear")(tf.zeros([2, 7, 3])).shape
    TensorShape([2, 7, 5])
    """

    def __init__(
        self, inputs: int, outputs: int, xavier: bool = False, *, name: str
    ) -> None:
        super().__init__(name=name, dtype="float32")
        normal = keras.initializers.RandomNormal(stddev=(2 / (inputs + outputs)) ** 0.5)
        self.kernel = self.add_weight(
            f"{name}/kernel",
            (inputs, outputs),
            initializer=normal if xavier else uniform(inputs),
        )
        self.bias = self.add_weight(
            f"{name}/bias",
            (outputs,),
            initializer="zeros" if xavier else uniform(inputs),
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Multiply [..., inputs]."""
        return self.product(inputs, self.kernel) + self.bias


class Normalisation(keras.layers.Layer):
    """Normalisation with a gain and an offset for every channel.

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, with the biased variance.

    Args:
        norm: Moments over channels and frames (``"gLN"``), over channels (``"cLN"``),
            over channels and all frames up to the current one (``"cgLN"``), or over the
            frames of each channel (``"fgLN"``).
        channels: Number of channels.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(self, norm: ChannelNorm, channels: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.norm = norm
        self.gamma = self.add_weight(f"{name}/gamma", (channels,), initializer="ones")
        self.beta = self.add_weight(f"{name}/beta", (channels,), initializer="zeros")
        self.built = True

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """Normalise [batch, frames, channels]."""
        mean, variance = _moments(signal, self.norm)
        # Not (signal - mean) first: TensorFlow 2.16 replaces that by a kernel of oneDNN
        # that crashes on some CPUs.
        gain = tf.math.rsqrt(variance + EPSILON) * self.gamma
        return signal * gain + (self.beta - mean * gain)


class ParametricRelu(keras.layers.Layer):
    """max(x, 0) + slope min(x, 0) with one learned slope.

    Args:
        name: Name of the layer, which the name of its weight begins with.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        quarter = keras.initializers.Constant(0.25)
        self.slope = self.add_weight(f"{name}/slope", (), initializer=quarter)
        self.built = True

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """Activate."""
        return tf.where(signal > 0.0, signal, self.slope * signal)


class Depthwise(keras.layers.Layer):
    """Dilated convolution of every channel along the frames, zeros beyond both ends.

    Args:
        channels: Number of channels.
        size: Frames that the kernel covers, odd.
        dilation: Distance of these frames.
        causal: Whether the kernel ends with the current frame, else it is centred.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(
        self, channels: int, size: int, dilation: int, causal: bool, name: str
    ) -> None:
        super().__init__(name=name, dtype="float32")
        reach = (size - 1) * dilation
        front = reach if causal else reach // 2
        self.dilation = dilation
        self.shifts = tuple(tap * dilation - front for tap in range(size))
        self.kernel = self.add_weight(
            f"{name}/kernel", (size, channels), initializer=uniform(size)
        )
        self.bias = self.add_weight(
            f"{name}/bias", (channels,), initializer=uniform(size)
        )
        self.built = True

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """Convolve [batch, frames, channels]."""
        kernel = tf.convert_to_tensor(self.kernel)
        return _convolve(signal, kernel, self.shifts) + self.bias


def recurrent_stack(inputs: int, config: Recurrent) -> RecurrentStack:
    """Make the recurrent layers of a network.

    Args:
        inputs: Width of their input.
        config: Their shape.

    >>> recurrent_stack(3, Recurrent(hidden=5)).cells[3][1].name
    'recurrent/layer3/backward'
    """
    return RecurrentStack(
        inputs,
        config.hidden,
        config.layers,
        config.bidirectional,
        config.dropout,
        forget_bias=config.forget_bias,
        initial=config.initial,
        kind=config.kind,
        dropout_last=config.dropout_last,
        name="recurrent",
    )


def shifted(signal: tf.Tensor, shifts: Sequence[int]) -> list[tf.Tensor]:
    """Shift the frames of [batch, frames, channels], with zeros beyond both ends."""
    front, back = max(0, -min(shifts)), max(0, *shifts)
    frames = signal.shape[1] or tf.shape(signal)[1]
    padded = tf.pad(signal, [[0, 0], [front, back], [0, 0]])
    return [padded[:, front + shift : front + shift + frames] for shift in shifts]


def uniform(inputs: int) -> keras.initializers.Initializer:
    """Make PyTorch's initializer of layers, uniform in +-1 / sqrt(inputs)."""
    return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)


def _moments(signal: tf.Tensor, norm: ChannelNorm) -> Gradients:
    if norm != "cgLN":
        return tf.nn.moments(signal, NORM_AXES[norm], keepdims=True)
    frames, channels = tf.unstack(tf.shape(signal)[1:])
    count = tf.cast(channels * tf.range(1, frames + 1), tf.float32)[:, tf.newaxis]
    total = tf.cumsum(tf.reduce_sum(signal, 2, keepdims=True), 1)
    squares = tf.cumsum(tf.reduce_sum(signal**2, 2, keepdims=True), 1)
    mean = total / count
    # Rounding can make the difference negative if all values are equal.
    return mean, tf.maximum(squares / count - mean**2, 0.0)


def _convolve(
    signal: tf.Tensor, kernel: tf.Tensor, shifts: tuple[int, ...]
) -> tf.Tensor:
    """Sum the shifted signals, each times its tap.

    The custom gradient avoids that every shifted signal is kept.
    """
    mirrored = [-shift for shift in reversed(shifts)]

    @tf.custom_gradient
    def convolve(
        signal: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], Gradients]]:
        taps = tf.unstack(kernel)

        def gradient(upstream: tf.Tensor) -> Gradients:
            pairs = zip(reversed(taps), shifted(upstream, mirrored), strict=True)
            before = tf.add_n([tap * part for tap, part in pairs])
            slopes = [
                tf.reduce_sum(part * upstream, [0, 1])
                for part in shifted(signal, shifts)
            ]
            return before, tf.stack(slopes)

        pairs = zip(taps, shifted(signal, shifts), strict=True)
        return tf.add_n([tap * part for tap, part in pairs]), gradient

    return convolve(signal, kernel)
