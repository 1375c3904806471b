"""Layers of the TDCN++ against loops and float64, at every length."""

import numpy as np
import pytest
import tensorflow as tf

from mixit import layers, separate
from mixit.config import Network
from mixit.layers import NORM_AXES, NORM_EPSILON, Depthwise, PreluNorm
from mixit.model import Tdcn
from mixit.separate import separator

MICRO = Network(
    sample_rate=8000,
    num_sources=3,
    window_samples=64,
    hop_samples=32,
    num_coeffs=16,
    bottleneck=8,
    conv_channels=16,
    num_dilations=3,
    num_repeats=2,
)


def convolved(inputs, kernel, bias, dilation):
    """Convolve frame by frame, in float64."""
    frames, size = inputs.shape[1], len(kernel)
    outputs = np.tile(bias.astype(np.float64), (*inputs.shape[:2], 1))
    for frame in range(frames):
        for tap in range(size):
            seen = frame + (tap - size // 2) * dilation
            if 0 <= seen < frames:
                outputs[:, frame] += kernel[tap].astype(np.float64) * inputs[:, seen]
    return outputs


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("dilation", [1, 4, 16])
def test_depthwise_at_lengths_that_do_and_do_not_fill_its_rows(size, dilation):
    layer = Depthwise(6, size, dilation)
    layer.bias.assign(np.arange(6.0))
    signature = [tf.TensorSpec([None, None, 6])]
    graph = tf.function(layer, input_signature=signature, autograph=False)
    for frames in (1, 3, 15, 16, 17, 64):
        inputs = np.random.default_rng(frames).standard_normal((2, frames, 6))
        inputs = inputs.astype(np.float32)
        weights = layer.kernel.numpy(), layer.bias.numpy()
        expected = convolved(inputs, *weights, dilation)
        np.testing.assert_allclose(layer(inputs), expected, atol=1e-5)
        np.testing.assert_allclose(graph(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("slope", [-0.5, 0.1, 1.7])
def test_activation_takes_any_slope(slope):
    layer = PreluNorm()
    layer.slope.assign(slope)
    inputs = np.random.default_rng(0).standard_normal((3, 50, 4)).astype(np.float32)
    np.testing.assert_allclose(layer(inputs), normalised(inputs, slope), atol=2e-6)


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_moments_are_exact_over_many_frames(level):
    """Minutes of frames, and channels whose mean is large beside their deviation."""
    noise = np.random.default_rng(1).standard_normal((1, 60_001, 3))
    inputs = (level + noise * [0.1, 1.0, 3.0]).astype(np.float32)
    layer = PreluNorm()
    np.testing.assert_allclose(layer(inputs), normalised(inputs, 0.1), atol=5e-5)


def test_constant_channels_become_zero():
    inputs = np.full([1, 999, 2], [1e-3, 70.0], np.float32)
    np.testing.assert_allclose(PreluNorm()(inputs), np.zeros([1, 999, 2]), atol=1e-3)


def test_mean_of_equal_frames_is_not_biased():
    """One float32 sum of 321 equal frames, as silence has, is 4e-6 too large."""
    levels = np.random.default_rng(0).uniform(0.5, 3, [1, 1, 64]).astype(np.float32)
    inputs = np.tile(levels, [1, 321, 1])
    mean = layers._mean(tf.constant(inputs), (1,))
    np.testing.assert_allclose(mean, levels, rtol=2e-6)


def normalised(inputs, slope):
    """Activate and normalise over the frames, in float64."""
    inputs = inputs.astype(np.float64)
    active = np.where(inputs > 0, inputs, slope * inputs)
    centred = active - active.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + NORM_EPSILON)


@pytest.mark.parametrize("norm", NORM_AXES)
def test_one_program_does_what_the_layers_do(norm):
    norm1, norm2 = PreluNorm(norm), PreluNorm(norm)
    for number, variable in enumerate(norm1.weights + norm2.weights):
        variable.assign(tf.fill(variable.shape, 0.3 + 0.2 * number))
    for dilation, frames in ((1, 40), (4, 40), (16, 40), (16, 5)):
        convolve = Depthwise(6, 3, dilation)
        convolve.bias.assign(np.arange(6.0) - 3.0)
        wide = tf.random.stateless_normal([2, frames, 6], [dilation, frames])
        expected = norm2(convolve(norm1(wide)))
        got = layers.fused_layers(wide, norm1, convolve, norm2)
        np.testing.assert_allclose(got, expected, atol=3e-5)


def test_one_program_serves_all_blocks(monkeypatch):
    network = Tdcn(MICRO)
    fresh = tf.function(layers._fused.python_function, autograph=False)
    monkeypatch.setattr(layers, "_fused", fresh)
    run = tf.function(
        lambda mixture: network.images(mixture, fused=True), autograph=False
    )
    mixture = tf.random.stateless_normal([1, 1, 700], [1, 2])
    np.testing.assert_allclose(run(mixture), network.images(mixture), atol=1e-5)
    assert fresh.experimental_get_tracing_count() == 1


@pytest.mark.one_lane
def test_long_sound_is_fused_and_short_sound_is_not(monkeypatch):
    lengths = {True: [], False: []}
    network = Tdcn(MICRO)
    plain = network.images

    def images(mixture, fused=False):
        def see(samples):
            lengths[fused].append(int(samples))

        tf.py_function(see, [tf.shape(mixture)[-1]], [])
        return plain(mixture, fused)

    monkeypatch.setattr(network, "images", images)
    monkeypatch.setattr(separate, "is_fusion_faster", lambda: True)
    noise = np.random.default_rng(0).standard_normal(9_990).astype(np.float32)
    model = separator(network, segment_seconds=0.5)
    fused = model(noise)
    model(noise[:3999])
    assert lengths == {True: [4000, 4000, 4000, 4006], False: [3999]}
    monkeypatch.setattr(separate, "is_fusion_faster", lambda: False)
    expected = separator(network, segment_seconds=0.5)(noise)
    for name, estimate in expected.items():
        np.testing.assert_allclose(fused[name], estimate, atol=1e-5)
