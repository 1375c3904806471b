"""Penalties rank outputs by how many of them share the sound."""

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import sparsity

SOUND = np.random.default_rng(0).standard_normal(400).astype(np.float32)
OTHER = np.random.default_rng(1).standard_normal(400).astype(np.float32)


def outputs(*rows, level=1.0):
    stacked = np.stack([*rows, *[0 * SOUND] * (4 - len(rows))])[np.newaxis]
    return tf.constant(level * stacked), tf.constant(level * stacked.sum(1))


def gradient(estimates, mixture):
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        value = sparsity(estimates, mixture)
    return value.numpy(), tape.gradient(value, estimates).numpy()


def test_one_output_is_better_than_sharing():
    values = [
        float(sparsity(*outputs(*rows))[0])
        for rows in ([SOUND], [0.7 * SOUND, 0.3 * SOUND], [SOUND / 4] * 4)
    ]
    assert values == sorted(values)
    assert values[2] > values[0] + 0.2


@pytest.mark.parametrize("level", [1e-3, 1.0, 10.0])
def test_values(level):
    one = float(sparsity(*outputs(SOUND, level=level))[0])
    assert one == pytest.approx(0.25, abs=1e-3)
    quarter = outputs(*[SOUND / 4] * 4, level=level)
    assert float(sparsity(*quarter)[0]) == pytest.approx(0.5, rel=1e-5)


def test_gradients_are_those_of_differences():
    estimates, mixture = outputs(SOUND, OTHER, 0.3 * SOUND)
    direction = np.random.default_rng(2).standard_normal(estimates.shape)
    direction[:, 3] = 0.0
    _, slope = gradient(estimates, mixture)
    step = np.float32(1e-3 * direction)
    after = sparsity(estimates + step, mixture)
    before = sparsity(estimates - step, mixture)
    expected = float((after - before)[0]) / 2e-3
    assert float((slope * direction).sum()) == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_gradients_of_silence_are_finite(level):
    some, mixture = outputs(SOUND, level=level)
    for estimates, whole in [(some, mixture), (some, 0 * mixture), (0 * some, mixture)]:
        value, slope = gradient(estimates, whole)
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()
        assert (slope[:, 1:] == 0).all()


def test_the_penalty_does_not_depend_on_the_length():
    estimates, mixture = outputs(SOUND)
    long = sparsity(tf.tile(estimates, [1, 1, 50]), tf.tile(mixture, [1, 50]))
    np.testing.assert_allclose(sparsity(estimates, mixture), long, rtol=1e-6)
