"""Penalties rank outputs by how many of them share the sound."""

import numpy as np
import pytest
import tensorflow as tf

from mixit.sparsity import sparsity

SOUND = np.random.default_rng(0).standard_normal(400).astype(np.float32)
OTHER = np.random.default_rng(1).standard_normal(400).astype(np.float32)
KINDS = pytest.mark.parametrize("kind", ["l1_l2", "covariance"])


def outputs(*rows, level=1.0):
    stacked = np.stack([*rows, *[0 * SOUND] * (4 - len(rows))])[np.newaxis]
    return tf.constant(level * stacked), tf.constant(level * stacked.sum(1))


def gradient(estimates, mixture, kind):
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        value = sparsity(estimates, mixture, kind)
    return value.numpy(), tape.gradient(value, estimates).numpy()


@KINDS
def test_one_output_is_better_than_sharing(kind):
    values = [
        float(sparsity(*outputs(*rows), kind)[0])
        for rows in ([SOUND], [0.7 * SOUND, 0.3 * SOUND], [SOUND / 4] * 4)
    ]
    assert values == sorted(values)
    assert values[2] > values[0] + 0.2


@pytest.mark.parametrize("level", [1e-3, 1.0, 10.0])
def test_values(level):
    one = float(sparsity(*outputs(SOUND, level=level), "l1_l2")[0])
    assert one == pytest.approx(0.25, abs=1e-3)
    quarter = outputs(*[SOUND / 4] * 4, level=level)
    assert float(sparsity(*quarter, "l1_l2")[0]) == pytest.approx(0.5, rel=1e-5)
    assert float(sparsity(*quarter, "covariance")[0]) == pytest.approx(0.75, rel=1e-4)
    different = outputs(SOUND, OTHER, level=level)
    product = 2 * abs(SOUND @ OTHER) / np.square(SOUND + OTHER).sum()
    covariance = float(sparsity(*different, "covariance")[0])
    assert covariance == pytest.approx(product, rel=1e-4)


@KINDS
def test_gradients_are_those_of_differences(kind):
    estimates, mixture = outputs(SOUND, OTHER, 0.3 * SOUND)
    direction = np.random.default_rng(2).standard_normal(estimates.shape)
    direction[:, 3] = 0.0
    _, slope = gradient(estimates, mixture, kind)
    step = np.float32(1e-3 * direction)
    after = sparsity(estimates + step, mixture, kind)
    before = sparsity(estimates - step, mixture, kind)
    wanted = float((after - before)[0]) / 2e-3
    assert float((slope * direction).sum()) == pytest.approx(wanted, rel=2e-2)


@KINDS
@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_gradients_of_silence_are_finite(kind, level):
    some, mixture = outputs(SOUND, level=level)
    for estimates, whole in [(some, mixture), (some, 0 * mixture), (0 * some, mixture)]:
        value, slope = gradient(estimates, whole, kind)
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()
        assert (slope[:, 1:] == 0).all() or kind == "covariance"


def test_unknown_kind():
    with pytest.raises(ValueError, match="'l2'; expected 'l1_l2' or 'covariance'"):
        sparsity(tf.zeros([1, 2, 3]), tf.zeros([1, 3]), "l2")
