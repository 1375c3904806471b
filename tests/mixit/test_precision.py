"""A run in half precision is trained, resumed, validated and separated alike."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import mixit
from common.training.logs import read_scalars
from mixit.model import Tdcn
from mixit.separate import separator
from mixit.train import build


def noise(*shape):
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, shape)
    return wave.astype(np.float32)


@pytest.mark.slow
def test_a_run_with_every_tool_resumes_to_the_bit_and_separates_as_trained(
    config, half, every_tool, trained_twice
):
    straight, resumed = trained_twice(every_tool(half(config)), build, 5)
    for one, other in zip(straight.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(line["loss"]) for line in read_scalars(config.output))
    estimates = mixit.load(config.output, checkpoint="latest")(noise(1, 4000))
    expected = separator(straight.network)(noise(1, 4000))
    single = Tdcn(config.model)
    single.set_weights(straight.network.get_weights())
    other = separator(single)(noise(1, 4000))
    for name, estimate in estimates.items():
        np.testing.assert_array_equal(estimate, expected[name])
        assert np.abs(estimate - other[name]).max() > 1e-6
        assert estimate.dtype == np.float32


@pytest.mark.parametrize("basis", ["learned", "stft"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_only_products_of_the_blocks_are_rounded_whatever_policy_keras_has(
    config, basis, policy
):
    shape = {**vars(config.model), "basis": basis}
    keras.mixed_precision.set_global_policy(policy)
    try:
        exact, half = (
            Tdcn(type(config.model)(**shape), precision=each)
            for each in ("float32", "bfloat16")
        )
        half.set_weights(exact.get_weights())
        with tf.GradientTape() as tape:
            estimates = half(noise(2, 2000))
            loss = tf.reduce_mean(tf.square(estimates[:, 0]))
        gradients = tape.gradient(loss, half.trainable_variables)
        expected = exact(noise(2, 2000))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert estimates.dtype == expected.dtype == tf.float32
    assert {variable.dtype for variable in half.variables} == {tf.float32}
    assert all(np.isfinite(each).all() for each in gradients if each is not None)
    # Estimates add up to the mixture in full precision.
    np.testing.assert_allclose(tf.reduce_sum(estimates, 1), noise(2, 2000), atol=1e-6)
    difference = np.abs(estimates - expected).max()
    assert 1e-7 < difference < 0.02 * np.abs(expected).max()
    if basis == "learned":
        assert half.basis.encoder.product_dtype == "float32"
    assert half.blocks[0].widen.product_dtype == "bfloat16"
