"""TDCN++ against Google's outputs, its own shape, and its lengths."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit import convert
from mixit.config import Network
from mixit.layers import NORM_EPSILON, Activation, Depthwise
from mixit.model import Tdcn

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "small"


@pytest.fixture(scope="module")
def small():
    return convert.load(GOLDEN, num_dilations=3)


@pytest.mark.parametrize("samples", [8000, 59, 41, 40])
def test_outputs_of_google(small, samples):
    golden = np.load(GOLDEN / "outputs.npz")
    estimates = small(golden[f"in_{samples}"][:, 0])
    np.testing.assert_allclose(estimates, golden[f"out_{samples}"], atol=2e-6)


def test_default_size():
    network = Tdcn(Network())
    assert network.count_params() == 9_067_009
    assert len(network.trainable_variables) == 391


@pytest.mark.parametrize("samples", [1, 20, 39, 40, 41, 60, 61, 1000])
def test_any_length_sums_to_the_mixture(small, samples):
    mixture = np.random.default_rng(samples).standard_normal((2, samples)) / 10
    estimates = small(tf.constant(mixture, tf.float32))
    assert estimates.shape == (2, 4, samples)
    np.testing.assert_allclose(estimates.numpy().sum(1), mixture, atol=1e-6)


@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_depthwise_equals_the_general_convolution(dilation):
    layer = Depthwise(6, 3, dilation)
    layer.bias.assign(np.arange(6.0))
    inputs = tf.random.stateless_normal([2, 30, 6], [1, dilation])
    upstream = tf.random.stateless_normal([2, 30, 6], [2, dilation])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        ours = layer(inputs)
        wanted = tf.nn.depthwise_conv2d(
            inputs[:, :, tf.newaxis],
            layer.kernel[:, tf.newaxis, :, tf.newaxis],
            strides=[1, 1, 1, 1],
            padding="SAME",
            dilations=[dilation, 1],
        )[:, :, 0]
        wanted = wanted + layer.bias
    np.testing.assert_allclose(ours, wanted, atol=1e-5)
    for variable in (inputs, layer.kernel, layer.bias):
        one, other = (tape.gradient(y, variable, upstream) for y in (ours, wanted))
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_start_values():
    network = Tdcn(Network(num_coeffs=8, bottleneck=4, conv_channels=512))
    block = network.blocks[31]
    assert float(block.narrow.scale) == pytest.approx(0.9**31)
    assert float(block.norm1.slope) == pytest.approx(0.1)
    limit = np.abs(block.convolve.kernel.numpy()).max()
    assert 0.055 < limit <= 0.0625


def test_gradient_of_the_activation():
    layer = Activation()
    for variable, value in (
        (layer.slope, 0.3),
        (layer.gamma, [1.4]),
        (layer.beta, [0.2]),
    ):
        variable.assign(value)
    inputs = 3.0 * tf.random.stateless_normal([2, 40, 5], [1, 1]) + 1.0
    upstream = tf.random.stateless_normal([2, 40, 5], [1, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        ours = layer(inputs)
        active = tf.maximum(inputs, 0.0) + layer.slope * tf.minimum(inputs, 0.0)
        mean, variance = tf.nn.moments(active, [1], keepdims=True)
        normal = (active - mean) / tf.sqrt(variance + NORM_EPSILON)
        wanted = layer.gamma * normal + layer.beta
    np.testing.assert_allclose(ours, wanted, atol=1e-5)
    for variable in (inputs, layer.slope, layer.gamma, layer.beta):
        one, other = (tape.gradient(y, variable, upstream) for y in (ours, wanted))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
