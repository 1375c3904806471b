"""TDCN++ against Google's outputs, its own shape, and its lengths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.config import Network
from mixit.google.restore import restore
from mixit.layers import NORM_AXES, NORM_EPSILON, Depthwise, PreluNorm
from mixit.model import Tdcn

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "small"


@pytest.fixture(scope="module")
def small():
    return restore(GOLDEN, num_dilations=3)[0]


@pytest.mark.parametrize("samples", [8000, 59, 41, 40])
def test_outputs_of_google(small, samples):
    golden = np.load(GOLDEN / "outputs.npz")
    mixture, expected = golden[f"in_{samples}"], golden[f"out_{samples}"]
    # With and without an axis of microphones.
    for waveform in (mixture, mixture[:, 0]):
        np.testing.assert_allclose(small(waveform), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (9_067_009, 391)),
        (
            {"num_sources": 4, "basis": "stft", "window_samples": 512},
            (8_784_643, 391),
        ),
        (
            {
                "window_samples": 22,
                "hop_samples": 11,
                "skip_connections": True,
                "mixture_consistency": "none",
            },
            (9_450_503, 408),
        ),
    ],
    ids=["default", "fuss", "bird"],
)
def test_published_sizes(options, size):
    network = Tdcn(Network(**options))
    assert (network.count_params(), len(network.trainable_variables)) == size


SMALL = Network(
    num_sources=3,
    num_coeffs=12,
    bottleneck=6,
    conv_channels=8,
    num_dilations=2,
    num_repeats=2,
)
OPTIONS = {
    "stft": {"basis": "stft", "window_samples": 48, "hop_samples": 12},
    "stft_front": {
        "basis": "stft",
        "window_samples": 64,
        "hop_samples": 16,
        "front_padding": True,
    },
    "layer_norm": {"norm": "layer_norm"},
    "global_layer_norm": {"norm": "global_layer_norm"},
    "skips": {"skip_connections": True},
    "unscaled": {"block_scale": "none"},
    "uniform": {"mixture_consistency": "uniform"},
    "magsq": {"mixture_consistency": "magsq"},
    "relu": {"mask": "relu"},
    "mics": {"num_mics": 3},
    "stft_mics": {"basis": "stft", "window_samples": 32, "num_mics": 2},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.one_lane
def test_options_serve_any_length_and_sum_to_the_mixture(name):
    config = replace(SMALL, num_dilations=1, **OPTIONS[name])
    network = Tdcn(config)
    separate = tf.function(
        network.images,
        input_signature=[tf.TensorSpec([None, config.num_mics, None], tf.float32)],
        autograph=False,
    )
    for samples in (1, 19, 41, 500):
        mixture = tf.random.stateless_normal([2, config.num_mics, samples], [1, 2])
        images = separate(mixture)
        assert images.shape == (2, 3, config.num_mics, samples)
        np.testing.assert_allclose(tf.reduce_sum(images, 1), mixture, atol=1e-5)
        np.testing.assert_allclose(network(mixture), images[:, :, 0], atol=1e-5)


def test_without_consistency_estimates_are_what_the_masks_left():
    config = replace(SMALL, mixture_consistency="none")
    mixture = tf.random.stateless_normal([1, 1, 400], [3, 4])
    plain = Tdcn(config).images(mixture)
    assert np.abs(tf.reduce_sum(plain, 1) - mixture).max() > 0.01


@pytest.mark.parametrize("front", [False, True])
def test_open_masks_give_the_mixture_back(front):
    config = replace(
        SMALL,
        basis="stft",
        window_samples=64,
        hop_samples=16,
        front_padding=front,
        mixture_consistency="none",
    )
    network = Tdcn(config)
    network.mask.kernel.assign(tf.zeros_like(network.mask.kernel))
    mixture = tf.random.stateless_normal([1, 500], [3, 4])
    estimates = 2.0 * network(mixture)[0, 0]
    # Without padding in front the first samples are covered by few frames.
    covered = slice(0 if front else 48, 500)
    np.testing.assert_allclose(estimates[covered], mixture[0, covered], atol=1e-5)


@pytest.mark.parametrize("names", [("skips",), ("stft", "global_layer_norm")])
def test_gradient_checkpointing_changes_nothing_but_memory(names):
    options = {key: value for name in names for key, value in OPTIONS[name].items()}
    config = replace(SMALL, num_dilations=1, **options)
    mixture = tf.random.stateless_normal([2, 700], [5, 6])
    plain = Tdcn(config)
    saving = Tdcn(config, gradient_checkpointing=True)
    saving.set_weights(plain.get_weights())
    expected, got = (_gradients(network, mixture) for network in (plain, saving))
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@tf.autograph.experimental.do_not_convert
def _gradients(network, mixture):
    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(mixture)[:, 0] ** 2)
        return tape.gradient(loss, network.trainable_variables)

    return gradients()


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
        expected = tf.nn.depthwise_conv2d(
            inputs[:, :, tf.newaxis],
            layer.kernel[:, tf.newaxis, :, tf.newaxis],
            strides=[1, 1, 1, 1],
            padding="SAME",
            dilations=[dilation, 1],
        )[:, :, 0]
        expected = expected + layer.bias
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    for variable in (inputs, layer.kernel, layer.bias):
        one, other = (tape.gradient(y, variable, upstream) for y in (ours, expected))
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_start_values():
    network = Tdcn(Network(num_coeffs=8, bottleneck=4, conv_channels=512))
    block = network.blocks[31]
    assert float(block.narrow.scale) == pytest.approx(0.9**31)
    assert float(block.norm1.slope) == pytest.approx(0.1)
    limit = np.abs(block.convolve.kernel.numpy()).max()
    assert 0.055 < limit <= 0.0625


@pytest.mark.parametrize("norm", NORM_AXES)
def test_gradient_of_the_activation(norm):
    layer = PreluNorm(norm)
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
        mean, variance = tf.nn.moments(active, NORM_AXES[norm], keepdims=True)
        normal = (active - mean) / tf.sqrt(variance + NORM_EPSILON)
        expected = layer.gamma * normal + layer.beta
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    for variable in (inputs, layer.slope, layer.gamma, layer.beta):
        one, other = (tape.gradient(y, variable, upstream) for y in (ours, expected))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
