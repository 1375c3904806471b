"""Layers of the TDCN++, with custom gradients where the derived ones are slow.

Slopes, gains and offsets are one scalar each for a whole layer, as in Google's program.

The layers between the two products of a block exist twice: as layers, and as one XLA
program for inference (:func:`fused_layers`). XLA of TensorFlow 2.21 passes over the
frames a few times instead of a dozen times, which saves a fifth of the time of a
separation. It compiles for half a second for each number of frames, so it is faster
only if there are few lengths. Training gains nothing, because XLA's sums over frames
are slow in the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common.layers.precision import Product

NORM_EPSILON = 1e-3

Weights = tuple[tf.Tensor, ...]

NORM_AXES = {"instance_norm": (1,), "layer_norm": (2,), "global_layer_norm": (1, 2)}
"""Axes of [batch, frames, channels] for the moments of a normalisation."""


class Projection(Product):
    """Product with a matrix, scaled by a learned scalar, with or without bias.

    Without a bias the scalar multiplies the matrix instead of the product, which is the
    same and costs less.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        bias: Whether to add a bias.
        scale: Start value of the learned scalar; None: no scalar.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = False,
        scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.kernel = _weight(
            self, "kernel", (inputs, outputs), initializer="glorot_uniform"
        )
        self.bias = (
            _weight(self, "bias", (outputs,), initializer="zeros") if bias else None
        )
        start = keras.initializers.Constant(scale or 0.0)
        self.scale = (
            None if scale is None else _weight(self, "scale", (), initializer=start)
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Project the last axis."""
        if self.bias is not None:
            outputs = self.product(inputs, self.kernel) + self.bias
            return outputs if self.scale is None else outputs * self.scale
        kernel = self.kernel if self.scale is None else self.kernel * self.scale
        return self.product(inputs, kernel)


class PreluNorm(keras.layers.Layer):
    """Parametric ReLU, then a normalisation.

    Args:
        norm: One of the names in :data:`NORM_AXES`.
    """

    def __init__(self, norm: str = "instance_norm", **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.axes = NORM_AXES[norm]
        tenth = keras.initializers.Constant(0.1)
        self.slope = _weight(self, "slope", (), initializer=tenth)
        self.gamma = _weight(self, "gamma", (1,), initializer="ones")
        self.beta = _weight(self, "beta", (1,), initializer="zeros")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Activate and normalise [batch, frames, channels]."""
        slope, gamma, beta = map(
            tf.convert_to_tensor, (self.slope, self.gamma[0], self.beta[0])
        )
        return _activate(inputs, slope, gamma, beta, self.axes)


class MagnitudeNorm(keras.layers.Layer):
    """Normalisation of a whole magnitude spectrogram, the input of an STFT network."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.gamma = _weight(self, "gamma", (1,), initializer="ones")
        self.beta = _weight(self, "beta", (1,), initializer="zeros")
        self.built = True

    def call(self, magnitude: tf.Tensor) -> tf.Tensor:
        """Normalise [batch, frames, bins] over frames and bins."""
        mean, variance = tf.nn.moments(magnitude, axes=[1, 2], keepdims=True)
        gain = self.gamma * tf.math.rsqrt(variance + NORM_EPSILON)
        return magnitude * gain + (self.beta - mean * gain)


class Depthwise(keras.layers.Layer):
    """Dilated convolution of every channel along the frames.

    With frames reshaped to [batch, frames / dilation, dilation, channels] it is a dense
    convolution with a kernel of one column, without copies. On a CPU that takes half
    the time of the general dilated convolution and of shifted products.

    Args:
        channels: Number of channels.
        size: Frames that the kernel covers, odd.
        dilation: Distance between these frames.
    """

    def __init__(self, channels: int, size: int, dilation: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.dilation = dilation
        # Google's program initialises for fan-in size * channels and fan-out size.
        limit = (6.0 / (size * channels + size)) ** 0.5
        uniform = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = _weight(self, "kernel", (size, channels), initializer=uniform)
        self.bias = _weight(self, "bias", (channels,), initializer="zeros")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolve [batch, frames, channels] with zeros beyond both ends."""
        kernel = tf.convert_to_tensor(self.kernel)
        return _convolve(inputs, kernel, self.dilation) + self.bias


def is_fusion_faster() -> bool:
    """Whether :func:`fused_layers` is faster: on CPUs, from TensorFlow 2.21 on."""
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    return version >= (2, 21) and not tf.config.list_physical_devices("GPU")


def fused_layers(
    wide: tf.Tensor, norm1: PreluNorm, convolve: Depthwise, norm2: PreluNorm
) -> tf.Tensor:
    """Apply three layers one after another in one XLA program.

    Args:
        wide: Output of the first product [batch, frames, channels].
        norm1: First activation.
        convolve: The convolution.
        norm2: Second activation, of the same axes.

    Returns:
        Input of the second product [batch, frames, channels].
    """
    first, taps, second = (
        tuple(tf.convert_to_tensor(weight) for weight in layer.weights)
        for layer in (norm1, convolve, norm2)
    )
    # As a tensor, so that one program serves the blocks of all dilations.
    dilation = tf.constant(convolve.dilation)
    return _fused(wide, first, taps, dilation, second, norm1.axes)


def _activate(
    inputs: tf.Tensor,
    slope: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    axes: tuple[int, ...],
) -> tf.Tensor:
    """Parametric ReLU and normalisation with their gradient in few passes.

    With the normalised y and the upstream gradient g, the gradient before the norm is
    gamma / deviation * (g - mean(g) - y mean(g y)), means over the axes.
    """

    @tf.custom_gradient
    def activate(
        inputs: tf.Tensor, slope: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        active = tf.where(inputs > 0.0, inputs, slope * inputs)
        mean = _mean(active, axes)
        variance = _mean(tf.math.squared_difference(active, mean), axes)
        inverse = tf.math.rsqrt(variance + NORM_EPSILON)
        gain = gamma * inverse

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # Recomputed, so that the activation is not kept for the gradient.
            negative = tf.minimum(inputs, 0.0)
            active = inputs + (slope - 1.0) * negative
            level = _mean(upstream, axes)
            product = inverse * (_mean(upstream * active, axes) - mean * level)
            tilt = inverse * product
            before = gain * (upstream - active * tilt - (level - mean * tilt))
            count = tf.cast(tf.size(inputs) // tf.size(mean), tf.float32)
            return (
                tf.where(inputs <= 0.0, slope * before, before),
                tf.reduce_sum(before * negative),
                tf.reduce_sum(product) * count,
                tf.reduce_sum(level) * count,
            )

        return active * gain + (beta - mean * gain), gradient

    return activate(inputs, slope, gamma, beta)


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Convolve each column of the grid, with the gradient on the grid too.

    The automatic gradient of trimming the line would copy it in every block, even if
    nothing is trimmed.
    """
    steps = [1, 1, 1, 1]

    @tf.custom_gradient
    def convolve(
        inputs: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        taps = kernel[:, tf.newaxis, :, tf.newaxis]

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            seen, grid = _grid(inputs, dilation), _grid(upstream, dilation)
            before = tf.nn.depthwise_conv2d_backprop_input(
                tf.shape(seen), taps, grid, steps, "SAME"
            )
            slope = tf.nn.depthwise_conv2d_backprop_filter(
                seen, tf.shape(taps), grid, steps, "SAME"
            )
            return _line(before, inputs), tf.reshape(slope, tf.shape(kernel))

        grid = _grid(inputs, dilation)
        convolved = tf.nn.depthwise_conv2d(grid, taps, steps, "SAME")
        return _line(convolved, inputs), gradient

    return convolve(inputs, kernel)


def _grid(signal: tf.Tensor, dilation: int) -> tf.Tensor:
    """Reshape [batch, frames, channels] to [batch, rows, dilation, channels]."""
    frames, channels = length(signal, 1), signal.shape[2] or 0
    missing = -frames % dilation
    if not isinstance(missing, int) or missing:
        signal = tf.pad(signal, [[0, 0], [0, missing], [0, 0]])
    rows = (frames + missing) // dilation
    return tf.reshape(signal, [length(signal, 0), rows, dilation, channels])


def _line(grid: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Undo :func:`_grid`, with as many frames as another signal has."""
    frames, filled = length(like, 1), length(grid, 1) * length(grid, 2)
    line = tf.reshape(grid, [length(like, 0), filled, like.shape[2] or 0])
    same = isinstance(frames, int) and isinstance(filled, int) and frames == filled
    return line if same else line[:, :frames]


def length(tensor: tf.Tensor, axis: int) -> Any:
    """Length of an axis: a number if it is static, else a tensor."""
    static_size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if static_size is None else static_size


def _mean(signal: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Mean of [batch, frames, channels] over axes, which are kept with length 1.

    Over the frames it is a product with zeros and ones, which is faster than a
    reduction. It makes four sums, each of every fourth frame, because the rounding
    errors of a single sum of equal frames, such as those of silence, have one sign.
    """
    if axes != (1,):
        return tf.reduce_mean(signal, axes, keepdims=True)
    frames = tf.shape(signal)[1]
    residues = tf.math.floormod(tf.range(frames), 4)
    fourths = tf.one_hot(residues, 4, axis=0, dtype=signal.dtype)
    sums = tf.matmul(fourths[tf.newaxis], signal)
    return tf.reduce_sum(sums, axis=1, keepdims=True) / tf.cast(frames, signal.dtype)


def _weight(
    layer: keras.layers.Layer, name: str, *args: Any, **kwargs: Any
) -> tf.Variable:
    """Add a weight named after its layer, because names are part of checkpoints."""
    return layer.add_weight(f"{layer.name}/{name}", *args, **kwargs)


@tf.function(jit_compile=True, autograph=False)
def _fused(
    wide: tf.Tensor,
    first: Weights,
    taps: Weights,
    dilation: tf.Tensor,
    second: Weights,
    axes: tuple[int, ...],
) -> tf.Tensor:
    convolved = _convolve_shifted(_activate_plainly(wide, first, axes), taps, dilation)
    return _activate_plainly(convolved, second, axes)


def _activate_plainly(
    signal: tf.Tensor, weights: Weights, axes: tuple[int, ...]
) -> tf.Tensor:
    slope, gamma, beta = weights
    active = tf.where(signal > 0.0, signal, slope * signal)
    mean, variance = tf.nn.moments(active, axes, keepdims=True)
    gain = gamma * tf.math.rsqrt(variance + NORM_EPSILON)
    return active * gain + (beta - mean * gain)


def _convolve_shifted(
    signal: tf.Tensor, taps: Weights, dilation: tf.Tensor
) -> tf.Tensor:
    """Sum rolled frames, with zeros for those from beyond the ends."""
    kernel, outputs = taps
    size, frames = kernel.shape[0] or 0, tf.shape(signal)[1]
    positions = tf.range(frames)[tf.newaxis, :, tf.newaxis]
    for tap in range(size):
        shift = (tap - size // 2) * dilation
        inside = (positions + shift >= 0) & (positions + shift < frames)
        seen = tf.where(inside, tf.roll(signal, -shift, axis=1), 0.0)
        outputs += kernel[tap] * seen
    return outputs
