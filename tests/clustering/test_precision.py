"""A run in half precision is trained, resumed, validated and separated alike."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import clustering
from clustering.models.network import network
from clustering.separate import separator
from clustering.train import build
from clustering.weights import restore
from common.training.logs import read_scalars

KINDS = ("dpcl", "mask_inference", "chimera", "tasnet", "conv_tasnet")


def noise(*shape):
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, shape)
    return wave.astype(np.float32)


def outputs(net, config):
    """Outputs as arrays, of magnitudes or waveforms."""
    waves = config.kind in ("tasnet", "conv_tasnet")
    actual = net(noise(2, 400) if waves else np.abs(noise(2, 9, 33)))
    return actual if isinstance(actual, tuple) else (actual,)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chimera", "conv_tasnet"])
def test_a_run_with_every_tool_resumes_to_the_bit_and_separates_as_trained(
    config, kind, half, every_tool, trained_twice
):
    config = replace(every_tool(half(config)), kind=kind)
    straight, resumed = trained_twice(config, build, 3)
    for one, other in zip(straight.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(line["loss"]) for line in read_scalars(config.output))
    estimates = clustering.load(config.output, checkpoint="latest")(noise(1, 2000))
    expected = separator(straight.network, config)(noise(1, 2000))
    for name, estimate in estimates.items():
        np.testing.assert_array_equal(estimate, expected[name])
        assert estimate.dtype == np.float32
    net, restored = restore(config.output, checkpoint="latest")
    assert restored.train.precision == "bfloat16"
    for one, other in zip(
        outputs(net, config), outputs(straight.network, config), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_near_single_precision_whatever_policy_keras_has(
    config, half, kind
):
    config = replace(config, kind=kind)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        exact, rounded = network(config), network(half(config))
        rounded.set_weights(exact.get_weights())
        with tf.GradientTape() as tape:
            actual = outputs(rounded, config)
            loss = tf.add_n([tf.reduce_mean(each[:, 0] ** 2) for each in actual])
        gradients = tape.gradient(loss, rounded.trainable_variables)
        expected = outputs(exact, config)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {variable.dtype for variable in rounded.trainable_variables} == {tf.float32}
    assert all(each.dtype == tf.float32 for each in gradients if each is not None)
    assert all(np.isfinite(each).all() for each in gradients if each is not None)
    for near, single in zip(actual, expected, strict=True):
        assert near.dtype == single.dtype == tf.float32
        difference = np.abs(near - single).max()
        assert 0.0 < difference < 0.05 * np.abs(single).max()
