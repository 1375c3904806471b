"""Half precision belongs to the products of one network and to nothing else."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.layers.precision import Product, matmul, set_precision


class Two(keras.Model):
    """An exact product and one that is not, in the containers that networks use."""

    def __init__(self):
        super().__init__(dtype="float32")
        self.pairs = [{"inner": Product(dtype="float32")}, Product(dtype="float32")]
        self.exact = Product(dtype="float32")
        self.exact.exact = True


def test_all_products_are_found_but_those_that_are_exact():
    network = Two()
    set_precision(network, "bfloat16")
    dtypes = [network.pairs[0]["inner"], network.pairs[1], network.exact]
    actual = [layer.product_dtype for layer in dtypes]
    assert actual == ["bfloat16", "bfloat16", "float32"]
    assert Two().exact.product_dtype == Two().pairs[1].product_dtype == "float32"
    assert keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3)])
def test_factors_are_rounded_and_the_sum_is_float32(shape):
    random = np.random.default_rng(0)
    rows = random.standard_normal(shape).astype(np.float32)
    kernel = random.standard_normal((3, 4)).astype(np.float32)
    layer = Product(dtype="float32")
    np.testing.assert_allclose(layer.product(rows, kernel), rows @ kernel, rtol=1e-5)
    layer.product_dtype = "bfloat16"
    product = layer.product(rows, kernel)
    assert product.dtype == tf.float32
    error = np.abs(product - rows @ kernel).max()
    assert 1e-4 < error < 0.01 * np.abs(rows @ kernel).max() * 3


def test_gradients_are_float32_and_near():
    random = np.random.default_rng(0)
    a, b = (tf.constant(random.standard_normal((4, 4)), tf.float32) for _ in "ab")
    actual = []
    for dtype in ("float32", "bfloat16"):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            loss = tf.reduce_sum(matmul(a, b, dtype, transpose_a=True) ** 2)
        actual.append(tape.gradient(loss, [a, b]))
    for exact, near in zip(*actual, strict=True):
        assert near.dtype == tf.float32
        np.testing.assert_allclose(near, exact, atol=0.05 * np.abs(exact).max())
