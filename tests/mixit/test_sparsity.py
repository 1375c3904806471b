"""Penalties rank outputs by how many of them share the sound."""

import numpy as np
import pytest
import tensorflow as tf

from mixit.sparsity import sparsity

SOUND = np.random.default_rng(0).standard_normal(400).astype(np.float32)
OTHER = np.random.default_rng(1).standard_normal(400).astype(np.float32)


def outputs(*rows):
    stacked = np.stack([*rows, *[0 * SOUND] * (4 - len(rows))])[np.newaxis]
    return tf.constant(stacked), tf.constant(stacked.sum(1))


@pytest.mark.parametrize("kind", ["l1_l2", "covariance"])
def test_one_output_is_better_than_sharing(kind):
    values = [
        float(sparsity(*outputs(*rows), kind)[0])
        for rows in ([SOUND], [0.7 * SOUND, 0.3 * SOUND], [SOUND / 4] * 4)
    ]
    assert values == sorted(values)
    assert values[2] > values[0] + 0.7


def test_values():
    assert float(sparsity(*outputs(SOUND), "l1_l2")[0]) == pytest.approx(1, abs=1e-3)
    quarter = outputs(*[SOUND / 4] * 4)
    assert float(sparsity(*quarter, "l1_l2")[0]) == pytest.approx(2, rel=1e-5)
    assert float(sparsity(*quarter, "covariance")[0]) == pytest.approx(0.75, rel=1e-5)
    different = float(sparsity(*outputs(SOUND, OTHER), "covariance")[0])
    assert different < 0.15


@pytest.mark.parametrize("kind", ["l1_l2", "covariance"])
def test_gradients_of_silence_are_finite(kind):
    estimates = tf.zeros([2, 4, 50])
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        value = sparsity(estimates, tf.zeros([2, 50]), kind)
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, estimates)).all()


def test_unknown_kind():
    with pytest.raises(ValueError, match="'l2'; expected 'l1_l2' or 'covariance'"):
        sparsity(tf.zeros([1, 2, 3]), tf.zeros([1, 3]), "l2")
