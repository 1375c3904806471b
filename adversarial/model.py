"""The separator: a U-Net of valid convolutions, and the sizes of its images.

Convolutions without padding shrink an image, so that the output is the centre of the
input. The input has the context that the output's border needs.

[1] Stoller, Ewert, Dixon: Adversarial semi-supervised audio source separation applied
    to singing voice extraction, ICASSP 2018.
[2] Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import tensorflow as tf
import tf_keras as keras

from adversarial.config import Head, ModelConfig
from common.config import ConfigError
from common.training.schedule import Precision

ACTIVATIONS = {"relu": tf.nn.relu, "softplus": tf.nn.softplus}
"""Activation of the outputs of the heads that estimate magnitudes."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of the images of one training example, in bins and frames.

    Attributes:
        input_bins: Rows of the mixture with its context.
        input_frames: Frames of the mixture with its context.
        output_bins: Rows of the estimates and sources.
        output_frames: Frames of the estimates and sources.
        critic_bins: Rows of the critics' input.
        critic_frames: Frames of the critics' input.
        period: Longer inputs have a multiple of this number of frames more. An input
            shifted by a multiple of it has the same output, shifted.
    """

    input_bins: int
    input_frames: int
    output_bins: int
    output_frames: int
    critic_bins: int
    critic_frames: int
    period: int

    @property
    def context_frames(self) -> int:
        """Frames of context on either side of the output."""
        return (self.input_frames - self.output_frames) // 2


def solve(config: ModelConfig) -> Geometry:
    """Compute the smallest images whose output has the bins and frames of the config.

    Args:
        config: Gives ``num_layers``, ``num_frames`` and ``num_fft``.

    Raises:
        ConfigError: One of them is out of range.

    >>> geometry = solve(ModelConfig())
    >>> geometry.input_bins, geometry.input_frames
    (350, 158)
    >>> geometry.output_bins, geometry.output_frames
    (258, 66)
    """
    _check_sizes(config)
    bins, frames = config.num_fft // 2, config.num_frames
    input_bins, output_bins = solve_axis(bins, config.num_layers)
    if output_bins < bins + 1:  # a spectrum has one bin more than half the window
        input_bins, output_bins = solve_axis(bins + 1, config.num_layers)
    input_frames, output_frames = solve_axis(frames, config.num_layers)
    return Geometry(
        input_bins,
        input_frames,
        output_bins,
        output_frames,
        bins,
        frames,
        2**config.num_layers,
    )


def solve_axis(least: int, num_layers: int) -> tuple[int, int]:
    """Compute the smallest input and output of one axis.

    The smallest feature map is rounded up to an even number, as in the original.

    Args:
        least: Least length of the output.
        num_layers: Number of halvings.

    Returns:
        Length of the input and of the output.

    >>> solve_axis(128, 4)
    (222, 130)
    """
    bottom = float(least)
    for _ in range(num_layers):
        bottom = (bottom + 2.0) / 2.0
    before = after = 2 * int(-(-bottom // 2))
    for _ in range(num_layers):
        before, after = 2 * (before + 2), 2 * after - 2
    return before + 2, after


def crop_margins(num_layers: int) -> list[int]:
    """Compute the margin by which each skip connection is cropped on every side.

    Args:
        num_layers: Number of halvings.

    Returns:
        The margins of the decoder's levels from the smallest feature map on, then that
        of the mixture.

    >>> crop_margins(4)
    [2, 8, 20, 44, 46]
    """
    margins = [2]
    for _ in range(num_layers - 1):
        margins.append(2 * margins[-1] + 4)
    return [*margins, margins[-1] + 2]


def covering(frames: int, geometry: Geometry) -> int:
    """Compute the shortest output that covers a whole sound.

    Args:
        frames: Frames of the sound, at least 1.
        geometry: Sizes of the separator's images.

    Returns:
        Frames of the output; the input has ``2 * context_frames`` more.

    >>> covering(7500, solve(ModelConfig()))
    7506
    """
    return frames + (geometry.output_frames - frames) % geometry.period


class UNet(keras.Model):
    """The separator [1, 2]: log magnitudes of a mixture to those of its two sources.

    Each level of the encoder halves the image and doubles the filters. Skip connections
    concatenate the cropped feature maps of the encoder, and the mixture itself before
    the heads.

    Args:
        config: Its shape.
        precision: Precision of all convolutions but those of the heads.
        name: Name of the model.

    Raises:
        ConfigError: A key of the shape is out of range.

    >>> small = ModelConfig(num_layers=1, num_frames=16)
    >>> UNet(small)(tf.ones([1, 266, 26, 1])).shape
    TensorShape([1, 2, 258, 18, 1])
    """

    def __init__(
        self,
        config: ModelConfig,
        precision: Precision = "float32",
        name: str = "separator",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        _check_heads(config)
        self.config, self.geometry = config, solve(config)
        self.margins = crop_margins(config.num_layers)
        filters = [config.initial_filters * 2**i for i in range(config.num_layers + 1)]
        policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
        self.encoder = [
            _convolution(inputs, outputs, 3, policy, f"encoder_{level}")
            for level, (inputs, outputs) in enumerate(pairwise([1, *filters]))
        ]
        self.upsampling = [
            _transposed_convolution(inputs, outputs, policy, f"upsampling_{level}")
            for level, (inputs, outputs) in enumerate(pairwise(filters[::-1]))
        ]
        self.decoder = [
            _convolution(2 * outputs, outputs, 3, policy, f"decoder_{level}")
            for level, outputs in enumerate(filters[-2::-1])
        ]
        self.heads = [
            _convolution(filters[0] + 1, 1, 1, "float32", name, activation=None)
            for name in ("accompaniment", "vocals")
        ]
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Estimate the accompaniment and the vocals.

        Args:
            mixture: ln(1 + magnitude) of the mixture with its context
                [batch, bins, frames, 1]: ``geometry.input_bins`` rows, and
                ``geometry.input_frames`` frames or some periods more or less.
            training: Without effect; Keras passes it.

        Returns:
            ln(1 + magnitude) [batch, 2, bins, frames, 1] without the context:
            accompaniment, vocals.

        Raises:
            ValueError: The images have another size.
        """
        _check_images(mixture, self.geometry)
        image, skips = mixture, []
        for level, convolution in enumerate(self.encoder):
            pooled = tf.nn.max_pool2d(image, 2, 2, "VALID") if level else image
            image = convolution(pooled)
            skips.append(image)
        levels = zip(
            self.upsampling, self.decoder, self.margins[:-1], skips[-2::-1], strict=True
        )
        for upsample, convolution, margin, skip in levels:
            joined = tf.concat([_cropped(skip, margin), upsample(image)], -1)
            image = convolution(joined)
        centre = _cropped(mixture, self.margins[-1])
        image = tf.concat([centre, tf.cast(image, tf.float32)], -1)
        # The gradient of tf.stack would be one operation with two outputs, for which
        # TensorFlow's oneDNN pass may pair a bias with the kernel of the other head.
        outputs = tf.concat([head(image)[:, tf.newaxis] for head in self.heads], axis=1)
        if self.config.head == "mask":
            masks = tf.nn.softmax(outputs, axis=1)
            return tf.math.log1p(masks * tf.math.expm1(centre)[:, tf.newaxis])
        return ACTIVATIONS[self.config.head](outputs)


def _convolution(
    inputs: int,
    outputs: int,
    size: int,
    policy: str,
    name: str,
    activation: str | None = "relu",
) -> keras.layers.Layer:
    layer = keras.layers.Conv2D(
        outputs, size, activation=activation, dtype=policy, name=name
    )
    return _built(layer, inputs)


def _transposed_convolution(
    inputs: int, outputs: int, policy: str, name: str
) -> keras.layers.Layer:
    layer = keras.layers.Conv2DTranspose(
        outputs, 2, 2, activation="relu", dtype=policy, name=name
    )
    return _built(layer, inputs)


def _built(layer: keras.layers.Layer, inputs: int) -> keras.layers.Layer:
    """Make the variables of a layer now, under its name."""
    with tf.name_scope(layer.name):
        layer.build(tf.TensorShape([None, None, None, inputs]))
    return layer


def _cropped(image: tf.Tensor, margin: int) -> tf.Tensor:
    return image[:, margin:-margin, margin:-margin]


def _check_sizes(config: ModelConfig) -> None:
    if config.num_layers < 1:
        raise ConfigError(f"num_layers={config.num_layers}; expected at least 1")
    if config.num_frames < 2 or config.num_frames % 2:
        raise ConfigError(
            f"num_frames={config.num_frames}; expected an even number from 2 on"
        )
    if config.num_fft < 16 or config.num_fft % 4:
        raise ConfigError(
            f"num_fft={config.num_fft}; expected a multiple of 4 from 16 on"
        )


def _check_heads(config: ModelConfig) -> None:
    if config.initial_filters < 1:
        raise ConfigError(
            f"initial_filters={config.initial_filters}; expected at least 1"
        )
    if config.head not in get_args(Head):
        raise ConfigError(
            f"head={config.head}; expected one of {', '.join(get_args(Head))}"
        )


def _check_images(images: tf.Tensor, geometry: Geometry) -> None:
    """Refuse sizes that pooling would truncate, which would shift the output."""
    least = geometry.input_frames
    if images.shape[1] != geometry.input_bins:
        raise ValueError(
            f"images have {images.shape[1]} rows; expected {geometry.input_bins}, "
            "which images.pad_bins gives"
        )
    frames = images.shape[2]
    if frames is not None and (frames - least) % geometry.period:
        raise ValueError(
            f"images have {frames} frames; expected {least} and any number of periods "
            f"of {geometry.period} more or less, which model.covering gives"
        )
