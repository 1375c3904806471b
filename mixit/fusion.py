"""What lies between the matrix products of a block, as one XLA program.

XLA of TensorFlow 2.21 passes over the frames a few times where the operations of the
graph pass a dozen times: a fifth less time for separation. It pays for inference at few
lengths, because every number of frames is compiled anew, for half a second; a training
step gains nothing, because XLA's sums over frames are slow in the gradient.
"""

from __future__ import annotations

import tensorflow as tf

from mixit.layers import NORM_EPSILON, Activation, Depthwise

Weights = tuple[tf.Tensor, ...]


def pays() -> bool:
    """Whether it is faster here: measured on CPUs, with no gain on TensorFlow 2.16."""
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    return version >= (2, 21) and not tf.config.list_physical_devices("GPU")


def between(
    wide: tf.Tensor, norm1: Activation, convolve: Depthwise, norm2: Activation
) -> tf.Tensor:
    """Do what the three layers do one after another.

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
    return _between(wide, first, taps, dilation, second, norm1.axes)


@tf.function(jit_compile=True, autograph=False)
def _between(
    wide: tf.Tensor,
    first: Weights,
    taps: Weights,
    dilation: tf.Tensor,
    second: Weights,
    axes: tuple[int, ...],
) -> tf.Tensor:
    convolved = _convolve(_activate(wide, first, axes), taps, dilation)
    return _activate(convolved, second, axes)


def _activate(signal: tf.Tensor, weights: Weights, axes: tuple[int, ...]) -> tf.Tensor:
    slope, gamma, beta = weights
    active = tf.where(signal > 0.0, signal, slope * signal)
    mean, variance = tf.nn.moments(active, axes, keepdims=True)
    gain = gamma * tf.math.rsqrt(variance + NORM_EPSILON)
    return active * gain + (beta - mean * gain)


def _convolve(signal: tf.Tensor, taps: Weights, dilation: tf.Tensor) -> tf.Tensor:
    """Turn the frames round and silence those that come from beyond the ends."""
    kernel, outputs = taps
    size, frames = kernel.shape[0] or 0, tf.shape(signal)[1]
    places = tf.range(frames)[tf.newaxis, :, tf.newaxis]
    for tap in range(size):
        shift = (tap - size // 2) * dilation
        inside = (places + shift >= 0) & (places + shift < frames)
        seen = tf.where(inside, tf.roll(signal, -shift, axis=1), 0.0)
        outputs += kernel[tap] * seen
    return outputs
