"""Batch normalisation with the moments of PyTorch, against numpy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from common.layers.batch_norm import BatchNormalisation

ROWS = np.random.default_rng(0).normal(3.0, 2.0, (6, 4, 3)).astype(np.float32)


def make(shape):
    """Make a layer whose gain and offset are not those of the start."""
    norm = BatchNormalisation(shape, "norm")
    norm.gamma.assign(tf.reshape([0.5, 2.0, -1.0][: max(1, np.prod(shape))], shape))
    norm.beta.assign(tf.fill(shape, 0.25))
    return norm


@pytest.mark.parametrize(("shape", "axes"), [((3,), (0, 1)), ((), (0, 1, 2))])
def test_the_biased_variance_normalises_and_the_unbiased_one_is_averaged(shape, axes):
    norm, wide = make(shape), ROWS.astype(np.float64)
    gamma, beta = norm.gamma.numpy(), norm.beta.numpy()
    mean, variance = wide.mean(axes), wide.var(axes)
    expected = gamma * (wide - mean) / np.sqrt(variance + 1e-5) + beta
    np.testing.assert_allclose(norm(ROWS, training=True), expected, atol=2e-6)
    mean, variance = 0.1 * mean, 0.9 + 0.1 * wide.var(axes, ddof=1)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-6)
    expected = gamma * (wide - mean) / np.sqrt(variance + 1e-5) + beta
    np.testing.assert_allclose(norm(ROWS), expected, atol=2e-6)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-6)


def test_the_variance_of_one_row_is_zero():
    norm = BatchNormalisation((3,), "norm")
    assert not norm(ROWS[0, :1], training=True).numpy().any()
    np.testing.assert_allclose(norm.moving_variance, np.full(3, 0.9), rtol=1e-6)


def test_replicas_have_the_moments_of_all_rows():
    alone = make((3,))
    expected = alone(ROWS, training=True)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        shared = make((3,))

    @tf.function(autograph=False)
    def normalise():
        def replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            return shared(tf.constant(ROWS)[3 * number :][:3], training=True)

        return strategy.experimental_local_results(strategy.run(replica))

    np.testing.assert_allclose(tf.concat(normalise(), 0), expected, atol=2e-6)
    np.testing.assert_allclose(shared.moving_mean, alone.moving_mean, rtol=1e-6)
    np.testing.assert_allclose(shared.moving_variance, alone.moving_variance, rtol=1e-6)
