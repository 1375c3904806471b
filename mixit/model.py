"""TDCN++: masks over a learned basis from dilated convolutions.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training, 2020.
[2] Kavalerov et al., Universal Sound Separation, WASPAA 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common.masking import mixture_consistency
from mixit.config import Network

NORM_EPSILON = 1e-3


class Tdcn(keras.Model):
    """The separation network of [1].

    Args:
        config: Its shape.
    """

    def __init__(self, config: Network) -> None:
        super().__init__(name="tdcn")
        self.config = config
        window, coeffs, width = (
            config.window_samples,
            config.num_coeffs,
            config.bottleneck,
        )
        outputs = config.num_sources * coeffs
        self.encoder = Projection(window, coeffs, name="encoder")
        self.initial = Projection(coeffs, width, bias=True, scale=1.0, name="initial")
        self.blocks = [
            Block(config, index, name=f"block_{index}")
            for index in range(config.num_repeats * config.num_dilations)
        ]
        self.mask = Projection(width, outputs, name="mask")
        self.decoder = Projection(coeffs, window, name="decoder")
        self.weighting = Projection(width, config.num_sources, name="weighting")
        self.built = True

    def call(self, mixture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples], full scale +-1.
            training: Unused; the network behaves the same.

        Returns:
            Sources [batch, sources, samples]; their sum is the mixture.
        """
        basis = tf.nn.relu(self.encoder(self._frames(mixture)))  # [b, frames, coeffs]
        core = self.initial(basis)  # [b, frames, bottleneck]
        for block in self.blocks:
            core = block(core)
        masks = self._masks(core)  # [b, sources, frames, coeffs]
        frames = self.decoder(masks * basis[:, tf.newaxis])
        sources = self._overlap_add(frames, tf.shape(mixture)[1])
        weights = tf.nn.softmax(self.weighting(tf.reduce_mean(core, axis=1)))
        return mixture_consistency(mixture, sources, weights)

    def _frames(self, mixture: tf.Tensor) -> tf.Tensor:
        """Cut into frames, the last one filled with zeros; [batch, frames, window]."""
        window, hop = self.config.window_samples, self.config.hop_samples
        samples = tf.shape(mixture)[1]
        count = 1 + tf.maximum(0, -((window - samples) // hop))
        missing = window + (count - 1) * hop - samples
        padded = tf.pad(mixture, [[0, 0], [0, missing]])
        return tf.signal.frame(padded, window, hop)

    def _masks(self, core: tf.Tensor) -> tf.Tensor:
        sources, coeffs = self.config.num_sources, self.config.num_coeffs
        packed = self.mask(core)  # [batch, frames, sources * coeffs]
        shape = tf.concat([tf.shape(packed)[:2], [sources, coeffs]], axis=0)
        return tf.sigmoid(tf.transpose(tf.reshape(packed, shape), [0, 2, 1, 3]))

    def _overlap_add(self, frames: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        waveform = tf.signal.overlap_and_add(frames, self.config.hop_samples)
        return waveform[..., :samples]


class Block(keras.layers.Layer):
    """One residual block: widen, normalise, convolve along time, normalise, narrow.

    Args:
        config: Shape of the network.
        index: Number of the block, which gives its dilation and its first scale.
    """

    def __init__(self, config: Network, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, channels = config.bottleneck, config.conv_channels
        dilation = 2 ** (index % config.num_dilations)
        self.widen = Projection(width, channels, scale=1.0, name=f"{self.name}/widen")
        self.norm1 = Activation(name=f"{self.name}/norm1")
        self.convolve = Depthwise(
            channels, config.kernel_size, dilation, name=f"{self.name}/conv"
        )
        self.norm2 = Activation(name=f"{self.name}/norm2")
        # The residual path weighs more the later the block, as in Google's program.
        self.narrow = Projection(
            channels, width, scale=0.9**index, name=f"{self.name}/narrow"
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Add the block's output to its input [batch, frames, bottleneck]."""
        wide = self.norm1(self.widen(inputs))
        return inputs + self.narrow(self.norm2(self.convolve(wide)))


class Projection(keras.layers.Layer):
    """Product with a matrix, scaled by a learned scalar, with or without bias.

    The scalar multiplies the matrix instead of the product, which is the same and
    costs less; the bias is scaled too.

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
        super().__init__(**kwargs)
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
        kernel = self.kernel if self.scale is None else self.kernel * self.scale
        outputs = tf.matmul(inputs, kernel)
        if self.bias is None:
            return outputs
        return outputs + (self.bias if self.scale is None else self.bias * self.scale)


class Activation(keras.layers.Layer):
    """Parametric ReLU, then normalisation of every channel over the frames.

    Slope, gain and offset are one scalar each for the layer, as in Google's program.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        tenth = keras.initializers.Constant(0.1)
        self.slope = _weight(self, "slope", (), initializer=tenth)
        self.gamma = _weight(self, "gamma", (1,), initializer="ones")
        self.beta = _weight(self, "beta", (1,), initializer="zeros")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Activate and normalise [batch, frames, channels]."""
        scalars = (self.slope, self.gamma[0], self.beta[0])
        return _activate(inputs, *map(tf.convert_to_tensor, scalars))


class Depthwise(keras.layers.Layer):
    """Dilated convolution of every channel along the frames, as shifted products.

    Three products and sums of whole tensors are faster on a CPU than the general
    dilated convolution, which first rearranges its input.

    Args:
        channels: Number of channels.
        size: Frames that the kernel covers, odd.
        dilation: Distance between these frames.
    """

    def __init__(self, channels: int, size: int, dilation: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
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


@tf.custom_gradient
def _activate(
    inputs: tf.Tensor, slope: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """Parametric ReLU and instance normalisation with their gradient in few passes.

    With the normalised y and the upstream gradient g, the gradient before the norm is
    gamma / deviation * (g - mean(g) - y mean(g y)), means over the frames.
    """
    active = tf.where(inputs > 0.0, inputs, slope * inputs)
    mean, variance = tf.nn.moments(active, axes=[1], keepdims=True)
    inverse = tf.math.rsqrt(variance + NORM_EPSILON)
    gain = gamma * inverse

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        level = tf.reduce_mean(upstream, 1, keepdims=True)
        product = tf.reduce_mean(upstream * (active - mean), 1, keepdims=True) * inverse
        tilt = inverse * product
        before = gain * (upstream - active * tilt - (level - mean * tilt))
        frames = tf.cast(tf.shape(inputs)[1], tf.float32)
        negative = tf.minimum(inputs, 0.0)
        return (
            tf.where(inputs > 0.0, before, slope * before),
            tf.reduce_sum(before * negative),
            tf.reduce_sum(product) * frames,
            tf.reduce_sum(level) * frames,
        )

    return active * gain + (beta - mean * gain), gradient


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Sum of shifted products, with the gradient written as such a sum too.

    Derived automatically, the gradient of every slice would be padded to full length.
    """

    @tf.custom_gradient
    def convolve(
        inputs: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        taps = tf.unstack(kernel)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            mirrored = _shifted(upstream, len(taps), dilation)[::-1]
            products = [tf.reduce_sum(inputs * each, [0, 1]) for each in mirrored]
            return _weighted(mirrored, taps), tf.stack(products)

        return _weighted(_shifted(inputs, len(taps), dilation), taps), gradient

    return convolve(inputs, kernel)


def _shifted(signal: tf.Tensor, size: int, dilation: int) -> list[tf.Tensor]:
    """Copies of [batch, frames, channels] moved by the taps of a kernel."""
    frames, reach = tf.shape(signal)[1], (size // 2) * dilation
    padded = tf.pad(signal, [[0, 0], [reach, reach], [0, 0]])
    return [padded[:, tap * dilation : tap * dilation + frames] for tap in range(size)]


def _weighted(signals: list[tf.Tensor], weights: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([w * each for w, each in zip(weights, signals, strict=True)])


def _weight(layer: keras.layers.Layer, name: str, *args: Any, **kwargs: Any) -> Any:
    """Add a weight named after its layer, because names are part of checkpoints."""
    return layer.add_weight(f"{layer.name}/{name}", *args, **kwargs)
