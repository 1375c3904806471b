"""The network of Open-Unmix: a mask on magnitudes from a recurrent stack.

[1] Stöter, Uhlich, Liutkus, Mitsufuji: Open-Unmix - A Reference Implementation for
    Music Source Separation, Journal of Open Source Software, 2019.
[2] Sawata, Uhlich, Takahashi, Mitsufuji: All for One and One for All: Improving Music
    Separation by Bridging Networks, ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common.layers.batch_norm import EPSILON, BatchNormalisation
from common.layers.precision import Product, set_precision
from common.layers.recurrent import RecurrentStack
from common.training.schedule import Precision
from unmix.config import Network


def num_bins(config: Network) -> int:
    """Count the bins of a spectrum.

    >>> num_bins(Network())
    2049
    """
    return config.window_samples // 2 + 1


def num_input_bins(config: Network) -> int:
    """Count the bins up to the bandwidth, the input of the network.

    >>> num_input_bins(Network())
    1487
    """
    bins = num_bins(config)
    frequencies = np.linspace(0.0, config.sample_rate / 2, bins)
    return int(np.searchsorted(frequencies, config.bandwidth, side="right"))


class OpenUnmix(keras.Model):
    """The network of one target [1].

    Args:
        config: Its shape.
        precision: Precision of its three products.
        name: Name of the model.

    Raises:
        ValueError: The shape is invalid.
    """

    def __init__(
        self,
        config: Network,
        precision: Precision = "float32",
        name: str = "open_unmix",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        _check(config)
        self.config, self.precision = config, precision
        self.bins, self.input_bins = num_bins(config), num_input_bins(config)
        width, inputs = config.hidden_size, config.channels * self.input_bins
        outputs = config.channels * self.bins
        self.input_mean = _vector(self, "input_mean", self.input_bins, "zeros")
        self.input_scale = _vector(self, "input_scale", self.input_bins, "ones")
        self.fc1 = Dense(inputs, width, name="fc1")
        self.bn1 = BatchNormalisation((width,), "bn1")
        self.lstm = RecurrentStack(
            width,
            width // 2 if config.bidirectional else width,
            config.layers,
            config.bidirectional,
            config.dropout,
            name="lstm",
        )
        self.fc2 = Dense(2 * width, width, name="fc2")
        self.bn2 = BatchNormalisation((width,), "bn2")
        self.fc3 = Dense(width, outputs, name="fc3")
        self.bn3 = BatchNormalisation((outputs,), "bn3")
        self.output_scale = _vector(self, "output_scale", self.bins, "ones")
        # One, not zero, so that the untrained network returns the mixture.
        self.output_mean = _vector(self, "output_mean", self.bins, "ones")
        set_precision(self, precision)
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Estimate the target's magnitude.

        Args:
            magnitude: Magnitude of the mixture [batch, channels, frames, bins].
            training: Whether to drop outputs between recurrent layers, and to
                normalise by this batch and update the moving averages.

        Returns:
            Magnitude of the target, of the same shape.
        """
        rows = self.encode(magnitude, training)
        rows = tf.concat([rows, self.lstm(rows, training)], axis=-1)
        return self.mask(rows, training) * magnitude

    def encode(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Make the input of the recurrent stack [batch, frames, width]."""
        batch, _, frames, _ = tf.unstack(tf.shape(magnitude))
        rows = (magnitude[..., : self.input_bins] + self.input_mean) * self.input_scale
        rows = tf.transpose(rows, [0, 2, 1, 3])
        rows = tf.reshape(rows, [-1, self.config.channels * self.input_bins])
        rows = tf.tanh(self.bn1(self.fc1(rows), training))
        return tf.reshape(rows, [batch, frames, self.config.hidden_size])

    def mask(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Make the mask from input and output of the recurrent stack.

        Args:
            rows: Input and output [batch, frames, 2 * width].
            training: Whether to normalise by this batch.

        Returns:
            Mask [batch, channels, frames, bins].
        """
        batch, frames, _ = tf.unstack(tf.shape(rows))
        rows = tf.reshape(rows, [-1, 2 * self.config.hidden_size])
        rows = tf.nn.relu(self.bn2(self.fc2(rows), training))
        rows = self.bn3(self.fc3(rows), training)
        mask = tf.reshape(rows, [batch, frames, self.config.channels, self.bins])
        mask = tf.nn.relu(mask * self.output_scale + self.output_mean)
        return tf.transpose(mask, [0, 2, 1, 3])

    def set_statistics(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Standardise the inputs of the network.

        Args:
            mean: Mean magnitude of every bin over the training set [bins].
            deviation: Its standard deviation [bins].

        Raises:
            ValueError: They are of another length or not finite, or a deviation is
                not positive.
        """
        moments = np.asarray([mean, deviation], np.float64)
        fits = moments.shape == (2, self.bins) and np.isfinite(moments).all()
        if not fits or (moments[1] <= 0.0).any():
            raise ValueError(
                f"statistics of {moments.shape[1:]} bins, means from "
                f"{moments[0].min():g} and deviations from {moments[1].min():g}, do "
                f"not fit a network of {self.bins} bins; expected finite means and "
                "positive deviations, so check whether the training set is silent"
            )
        self.input_mean.assign(-moments[0, : self.input_bins])
        self.input_scale.assign(1.0 / moments[1, : self.input_bins])


def estimates(
    networks: Sequence[OpenUnmix], magnitude: tf.Tensor, training: bool = False
) -> list[tf.Tensor]:
    """Estimate the magnitudes of all targets.

    Bridged networks [2] share two means over the targets: that of the inputs of their
    recurrent stacks, which goes into each stack, and that of these inputs beside the
    outputs, which each mask is made of.

    Args:
        networks: Network of each target.
        magnitude: Magnitude of the mixture [batch, channels, frames, bins].
        training: As for one network.

    Returns:
        Magnitude of each target, of the same shape.
    """
    if not networks[0].config.bridged:
        return [network(magnitude, training=training) for network in networks]
    encoded = [network.encode(magnitude, training) for network in networks]
    bridge = tf.add_n(encoded) / len(encoded)
    rows = [
        tf.concat([own, network.lstm(bridge, training)], axis=-1)
        for own, network in zip(encoded, networks, strict=True)
    ]
    shared = tf.add_n(rows) / len(rows)
    return [network.mask(shared, training) * magnitude for network in networks]


class Dense(Product):
    """A dense layer without bias: the product with a matrix.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        name: Name of the layer.
    """

    def __init__(self, inputs: int, outputs: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        limit = inputs**-0.5
        uniform = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(
            f"{name}/kernel", (inputs, outputs), initializer=uniform
        )
        self.built = True

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Multiply rows [rows, inputs]."""
        return self.product(rows, self.kernel)


class Affine(NamedTuple):
    """A product with a matrix and a sum: kernel [inputs, outputs], bias [outputs]."""

    kernel: np.ndarray
    bias: np.ndarray


class Folded(NamedTuple):
    """The trained network without its recurrent stack, in three products.

    With ``x`` [frames, channels * input bins], channel after channel: ``s = tanh(x @
    encode)``, ``h = relu([s, lstm(s)] @ hidden)``, mask = ``relu(h @ decode)``
    [frames, channels * bins].
    """

    encode: Affine
    hidden: Affine
    decode: Affine


def folded(model: OpenUnmix) -> Folded:
    """Fold scales, means and normalisations into the products beside them.

    Args:
        model: The trained network.

    Returns:
        Kernels and biases, computed in float64, as float32.
    """
    channels = model.config.channels
    mean, scale, gain, offset = (
        np.tile(_float64(variable), channels)
        for variable in (
            model.input_mean,
            model.input_scale,
            model.output_scale,
            model.output_mean,
        )
    )
    kernel, bias = _normalised(model.fc1, model.bn1)
    kernel = scale[:, np.newaxis] * kernel
    encode = kernel, bias + mean @ kernel
    kernel, bias = _normalised(model.fc3, model.bn3)
    decode = kernel * gain, bias * gain + offset
    products = encode, _normalised(model.fc2, model.bn2), decode
    return Folded(*(Affine(*(p.astype(np.float32) for p in pair)) for pair in products))


def _normalised(
    dense: Dense, norm: BatchNormalisation
) -> tuple[np.ndarray, np.ndarray]:
    """Fold a normalisation into the product before it, in float64."""
    gain = _float64(norm.gamma) / np.sqrt(_float64(norm.moving_variance) + EPSILON)
    bias = _float64(norm.beta) - _float64(norm.moving_mean) * gain
    return _float64(dense.kernel) * gain, bias


def _float64(variable: tf.Variable) -> np.ndarray:
    return variable.numpy().astype(np.float64)


def _vector(layer: keras.Model, name: str, size: int, initializer: str) -> tf.Variable:
    return layer.add_weight(name, (size,), initializer=initializer)


def _check(config: Network) -> None:
    """Raise an error for an invalid shape."""
    width = config.hidden_size
    even = "expected an even number, at least 2"
    wrong = {
        f"channels={config.channels}: expected 1 or 2": config.channels not in (1, 2),
        f"window_samples={config.window_samples}: {even}": _odd(config.window_samples),
        f"hidden_size={width}: {even}, as each direction has half of it": (
            config.bidirectional and _odd(width)
        ),
        f"bandwidth={config.bandwidth}: expected a frequency in Hz": (
            config.bandwidth < 0
        ),
    }
    for problem, holds in wrong.items():
        if holds:
            raise ValueError(f"model.{problem}")


def _odd(number: int) -> bool:
    return number < 2 or number % 2 > 0
