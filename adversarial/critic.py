"""The critics: each scores how real the examples of one source look.

[1] Radford, Metz, Chintala: Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks, ICLR 2016. The critics follow its
    discriminator, without normalisation.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from adversarial.config import ModelConfig
from adversarial.model import solve
from common.config import ConfigError

SMALL = 4
"""Length at which an axis is not halved any more."""

HIDDEN = 32
"""Units of the hidden dense layer."""


class Layer(NamedTuple):
    """One convolution of a critic.

    Attributes:
        filters: Number of filters.
        kernel: Size of the filters in bins and frames.
        strides: Strides in bins and frames.
        bins: Rows of the output.
        frames: Frames of the output.
    """

    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    bins: int
    frames: int


def layers(bins: int, frames: int, filters: int) -> list[Layer]:
    """Lay out the convolutions of a critic.

    Both axes are halved and the filters doubled until one axis is small; then the
    frequency axis alone is halved until it is small too.

    Args:
        bins: Rows of the critic's images.
        frames: Frames of the critic's images.
        filters: Filters of the first layer.

    Returns:
        At least one layer.

    >>> [(layer.filters, layer.bins, layer.frames) for layer in layers(256, 64, 32)][2:]
    [(128, 32, 8), (256, 16, 4), (256, 8, 4), (256, 4, 4)]
    """
    last = _halved(bins, frames, filters)
    plan = [last]
    while min(last.bins, last.frames) > SMALL:
        last = _halved(last.bins, last.frames, 2 * last.filters)
        plan.append(last)
    while last.bins > SMALL:
        last = Layer(last.filters, (4, 2), (2, 1), -(-last.bins // 2), last.frames)
        plan.append(last)
    return plan


class Critic(keras.Model):
    """Critic of one source [1].

    Args:
        config: Its shape.
        name: Name of the model.

    Raises:
        ConfigError: A key of the shape is out of range.

    >>> small = ModelConfig(num_frames=16, disc_filters=4)
    >>> Critic(small)(tf.ones([3, 256, 16, 1])).shape
    TensorShape([3])
    """

    def __init__(self, config: ModelConfig, name: str = "critic") -> None:
        super().__init__(name=name, dtype="float32")
        if config.disc_filters < 1:
            raise ConfigError(
                f"disc_filters={config.disc_filters}; expected at least 1"
            )
        geometry = solve(config)
        self.slope = config.leaky_slope
        plan = layers(geometry.critic_bins, geometry.critic_frames, config.disc_filters)
        inputs = [1, *(layer.filters for layer in plan)]
        self.convolutions = [
            _convolution(channels, layer, f"{name}/convolution_{number}")
            for number, (channels, layer) in enumerate(zip(inputs, plan, strict=False))
        ]
        features = plan[-1].bins * plan[-1].frames * plan[-1].filters
        self.hidden = _dense(features, HIDDEN, True, f"{name}/hidden")
        self.score = _dense(HIDDEN, 1, False, f"{name}/score")
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Score examples of a source.

        Args:
            images: ln(1 + magnitude) [batch, bins, frames, 1], real or estimated.
            training: Without effect; Keras passes it.

        Returns:
            Scores [batch], larger for examples that look real.
        """
        for convolution in self.convolutions:
            images = tf.nn.leaky_relu(convolution(images), self.slope)
        flat = tf.reshape(images, [-1, self.hidden.kernel.shape[0]])
        return self.score(tf.nn.leaky_relu(self.hidden(flat), self.slope))[:, 0]


def _halved(bins: int, frames: int, filters: int) -> Layer:
    return Layer(filters, (4, 4), (2, 2), -(-bins // 2), -(-frames // 2))


def _convolution(inputs: int, layer: Layer, name: str) -> keras.layers.Conv2D:
    convolution = keras.layers.Conv2D(
        layer.filters, layer.kernel, layer.strides, "same", dtype="float32", name=name
    )
    _build(convolution, [None, None, None, inputs])
    return convolution


def _dense(inputs: int, outputs: int, bias: bool, name: str) -> keras.layers.Dense:
    layer = keras.layers.Dense(outputs, use_bias=bias, dtype="float32", name=name)
    _build(layer, [None, inputs])
    return layer


def _build(layer: keras.layers.Layer, shape: list[int | None]) -> None:
    """Make the variables of a layer now, under its name."""
    with tf.name_scope(layer.name):
        layer.build(tf.TensorShape(shape))
