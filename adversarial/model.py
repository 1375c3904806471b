"""The separator: a U-Net whose convolutions see no padding.

[1] Stoller, Ewert, Dixon: Adversarial semi-supervised audio source separation applied
    to singing voice extraction, ICASSP 2018.
[2] Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import tensorflow as tf
import tf_keras as keras

from adversarial.config import Head, ModelConfig
from adversarial.geometry import Geometry, margins, solve
from common.config import ConfigError
from common.training.schedule import Precision

POSITIVE = {"relu": tf.nn.relu, "softplus": tf.nn.softplus}
"""What makes magnitudes of the outputs of the heads, where they are no masks."""


class Separator(keras.Model):
    """The network [1, 2] from a mixture to its accompaniment and vocals.

    The deeper a level, the smaller its images and the more its filters. What was seen
    on the way down is put before what comes back up, and the mixture before the heads.

    Args:
        config: Its shape.
        precision: Of all convolutions but those of the heads.
        name: Name of the model.

    Raises:
        ConfigError: The shape is that of no network.

    >>> small = ModelConfig(num_layers=1, num_frames=16)
    >>> Separator(small)(tf.ones([1, 266, 26, 1])).shape
    TensorShape([1, 2, 258, 18, 1])
    """

    def __init__(
        self,
        config: ModelConfig,
        precision: Precision = "float32",
        name: str = "separator",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        _check(config)
        self.config, self.geometry = config, solve(config)
        self.margins = margins(config.num_layers)
        widths = [config.initial_filters * 2**i for i in range(config.num_layers + 1)]
        policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
        self.encoder = [
            _convolution(inputs, outputs, 3, policy, f"encoder_{level}")
            for level, (inputs, outputs) in enumerate(pairwise([1, *widths]))
        ]
        rising = widths[::-1]
        self.upsampling = [
            _upsampling(inputs, outputs, policy, f"upsampling_{level}")
            for level, (inputs, outputs) in enumerate(pairwise(rising))
        ]
        self.decoder = [
            _convolution(2 * outputs, outputs, 3, policy, f"decoder_{level}")
            for level, outputs in enumerate(rising[1:])
        ]
        self.heads = [
            _convolution(widths[0] + 1, 1, 1, "float32", name, activation=None)
            for name in ("accompaniment", "vocals")
        ]
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Estimate the accompaniment and the vocals.

        Args:
            mixture: ln(1 + magnitude) of the mixture with its context
                [batch, bins, frames, 1], of ``geometry.input_bins`` rows and
                ``geometry.input_frames`` frames or some periods more or less.
            training: Changes nothing; Keras asks for it.

        Returns:
            ln(1 + magnitude) [batch, 2, bins, frames, 1] of the centre, first of the
            accompaniment.

        Raises:
            ValueError: The images have another size.
        """
        _check_images(mixture, self.geometry)
        image, seen = mixture, []
        for level, convolve in enumerate(self.encoder):
            halved = tf.nn.max_pool2d(image, 2, 2, "VALID") if level else image
            image = convolve(halved)
            seen.append(image)
        way_up = zip(
            self.upsampling, self.decoder, self.margins[:-1], seen[-2::-1], strict=True
        )
        for enlarge, convolve, margin, skip in way_up:
            image = convolve(tf.concat([_within(skip, margin), enlarge(image)], -1))
        centre = _within(mixture, self.margins[-1])
        image = tf.concat([centre, tf.cast(image, tf.float32)], -1)
        outputs = tf.stack([head(image) for head in self.heads], axis=1)
        if self.config.head == "mask":
            masks = tf.nn.softmax(outputs, axis=1)
            return tf.math.log1p(masks * tf.math.expm1(centre)[:, tf.newaxis])
        return POSITIVE[self.config.head](outputs)


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


def _upsampling(
    inputs: int, outputs: int, policy: str, name: str
) -> keras.layers.Layer:
    layer = keras.layers.Conv2DTranspose(
        outputs, 2, 2, activation="relu", dtype=policy, name=name
    )
    return _built(layer, inputs)


def _built(layer: Any, inputs: int) -> Any:
    """Make the variables of a layer now, under its name."""
    with tf.name_scope(layer.name):
        layer.build(tf.TensorShape([None, None, None, inputs]))
    return layer


def _within(image: tf.Tensor, margin: int) -> tf.Tensor:
    return image[:, margin:-margin, margin:-margin]


def _check(config: ModelConfig) -> None:
    if config.initial_filters < 1:
        raise ConfigError(
            f"initial_filters={config.initial_filters}; expected at least 1"
        )
    if config.head not in get_args(Head):
        raise ConfigError(
            f"head={config.head}; expected one of {', '.join(get_args(Head))}"
        )


def _check_images(images: tf.Tensor, geometry: Geometry) -> None:
    """Refuse what the halving would cut: it would shift the result, silently."""
    least = geometry.input_frames
    if images.shape[1] != geometry.input_bins:
        raise ValueError(
            f"images have {images.shape[1]} rows; expected {geometry.input_bins}, "
            "which geometry.pad_bins gives"
        )
    frames = images.shape[2]
    if frames is not None and (frames - least) % geometry.period:
        raise ValueError(
            f"images have {frames} frames; expected {least} and any number of periods "
            f"of {geometry.period} more or less, which geometry.covering gives"
        )
