"""The critics: each tells real examples of one source from estimates of it.

[1] Radford, Metz, Chintala: Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks, ICLR 2016, whose discriminator they
    follow, without its normalisation.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from adversarial.config import ModelConfig
from adversarial.geometry import solve
from common.config import ConfigError

SMALL = 4
"""An axis of so many elements or less is halved no more."""

HIDDEN = 32


class Layer(NamedTuple):
    """One convolution of a critic.

    Attributes:
        filters: Their number.
        kernel: Their size in bins and frames.
        strides: Distance of places, likewise.
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

    Both axes are halved, with twice the filters each time, until one of them is small;
    then the frequencies alone until they are.

    Args:
        bins: Rows of its images.
        frames: Frames of its images.
        filters: Filters of the first layer.

    Returns:
        At least one layer.

    >>> [(each.filters, each.bins, each.frames) for each in layers(256, 64, 32)][2:]
    [(128, 32, 8), (256, 16, 4), (256, 8, 4), (256, 4, 4)]
    """
    found = [_halved(bins, frames, filters)]
    while min(found[-1].bins, found[-1].frames) > SMALL:
        last = found[-1]
        found.append(_halved(last.bins, last.frames, 2 * last.filters))
    while found[-1].bins > SMALL:
        last = found[-1]
        low = Layer(last.filters, (4, 2), (2, 1), -(-last.bins // 2), last.frames)
        found.append(low)
    return found


class Critic(keras.Model):
    """One critic, after [1].

    Args:
        config: Its shape.
        name: Name of the model.

    Raises:
        ConfigError: The shape is that of no critic.

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
        inputs = [1, *(each.filters for each in plan)]
        self.convolutions = [
            _convolution(width, each, f"{name}/convolution_{number}")
            for number, (width, each) in enumerate(zip(inputs, plan, strict=False))
        ]
        width = plan[-1].bins * plan[-1].frames * plan[-1].filters
        self.hidden = _dense(width, HIDDEN, True, f"{name}/hidden")
        self.score = _dense(HIDDEN, 1, False, f"{name}/score")
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Score examples of a source.

        Args:
            images: ln(1 + magnitude) [batch, bins, frames, 1], real or estimated.
            training: Changes nothing; Keras asks for it.

        Returns:
            Scores [batch], larger for what seems real.
        """
        for convolve in self.convolutions:
            images = tf.nn.leaky_relu(convolve(images), self.slope)
        flat = tf.reshape(images, [-1, self.hidden.kernel.shape[0]])
        return self.score(tf.nn.leaky_relu(self.hidden(flat), self.slope))[:, 0]


def _halved(bins: int, frames: int, filters: int) -> Layer:
    return Layer(filters, (4, 4), (2, 2), -(-bins // 2), -(-frames // 2))


def _convolution(inputs: int, layer: Layer, name: str) -> keras.layers.Conv2D:
    made = keras.layers.Conv2D(
        layer.filters, layer.kernel, layer.strides, "same", dtype="float32", name=name
    )
    _build(made, [None, None, None, inputs])
    return made


def _dense(inputs: int, outputs: int, bias: bool, name: str) -> keras.layers.Dense:
    layer = keras.layers.Dense(outputs, use_bias=bias, dtype="float32", name=name)
    _build(layer, [None, inputs])
    return layer


def _build(layer: keras.layers.Layer, shape: list[int | None]) -> None:
    """Make the variables of a layer now, under its name."""
    with tf.name_scope(layer.name):
        layer.build(tf.TensorShape(shape))
