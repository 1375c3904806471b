"""The supervised loss against Google's numbers and a plain search in numpy."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import ACTIVE_RMS, supervised

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "supervised.npz"


def searched(references, estimates, mixture, zero_weight):
    """Loss of one example by trying every order, in float64."""
    count = len(estimates)
    silence = np.zeros((count - len(references), references.shape[1]))
    references = np.concatenate([references, silence]).astype(np.float64)

    def cost(order):
        error = np.square(references - estimates[list(order)]).sum(-1)
        return (10 * np.log10(error + 1e-8)).sum()

    order = min(itertools.permutations(range(count)), key=cost)
    error = np.square(references - estimates[list(order)]).sum(-1)
    power = np.square(references).sum(-1)
    sounding = 10 * np.log10(error + 1e-3 * power + 1e-8)
    silent = 10 * np.log10(error + 1e-2 * np.square(mixture).sum() + 1e-8)
    return np.where(power > 0, sounding, zero_weight * silent).mean()


@pytest.mark.parametrize(
    ("case", "zero_weight"),
    [("one", 1.0), ("weighted", 0.3)],
)
def test_google_numbers(case, zero_weight):
    golden = np.load(GOLDEN)
    estimates = tf.constant(golden["estimates"])
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        losses = supervised(
            golden["references"], estimates, golden["mixture"], zero_weight
        )
        loss = tf.reduce_mean(losses)
    assert float(loss) == pytest.approx(float(golden[f"{case}_loss"]), rel=2e-6)
    expected = golden[f"{case}_gradient"]
    gradient = tape.gradient(loss, estimates)
    np.testing.assert_allclose(gradient, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("zero_weight", [1.0, 0.3, 0.0])
def test_equals_the_search(zero_weight):
    rng = np.random.default_rng(0)
    references = rng.standard_normal((5, 3, 400)).astype(np.float32)
    references[1, 2] = references[2, 1:] = 0.0
    shuffled = references[:, [2, 0, 1]]
    noise = 0.3 * rng.standard_normal((5, 4, 400))
    estimates = (np.pad(shuffled, [(0, 0), (1, 0), (0, 0)]) + noise).astype(np.float32)
    mixture = references.sum(1)
    losses = supervised(references, estimates, mixture, zero_weight)
    expected = [
        searched(*each, zero_weight)
        for each in zip(references, estimates, mixture, strict=True)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_saturates_at_30_db_and_has_finite_gradients():
    references = tf.random.stateless_normal([1, 2, 300], [1, 2])
    silent = tf.zeros([1, 2, 300])
    estimates = tf.concat([references, silent], 1)
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        mixture = tf.reduce_sum(references, 1)
        loss = supervised(references, estimates, mixture)
    power = np.square(references).sum(-1)[0]
    whole = np.square(mixture).sum()
    expected = [
        *(10 * np.log10(1e-3 * power + 1e-8)),
        *[10 * np.log10(1e-2 * whole)] * 2,
    ]
    assert float(loss[0]) == pytest.approx(np.mean(expected), rel=1e-5)
    assert np.isfinite(tape.gradient(loss, estimates)).all()


def test_a_silent_example_counts_whatever_its_neighbours_are():
    rng = np.random.default_rng(1)
    references = rng.standard_normal((2, 2, 100)).astype(np.float32)
    estimates = rng.standard_normal((2, 2, 100)).astype(np.float32)
    references[1] = 0.0
    together = supervised(references, estimates, references.sum(1))
    alone = supervised(references[1:], estimates[1:], references[1:].sum(1))
    expected = (10 * np.log10(np.square(estimates[1]).sum(-1) + 1e-8)).mean()
    np.testing.assert_allclose([together[1], alone[0]], expected, rtol=1e-5)


def test_more_than_six_outputs():
    rng = np.random.default_rng(2)
    references = rng.standard_normal((2, 8, 200)).astype(np.float32)
    references[0, 3:] = 0.0
    noise = 0.1 * rng.standard_normal((2, 8, 200)).astype(np.float32)
    permutation = rng.permutation(8)
    mixture = references.sum(1)
    mixed = tf.function(supervised)(
        references, (references + noise)[:, permutation], mixture
    )
    kept = supervised(references, references + noise, mixture)
    np.testing.assert_allclose(mixed[1], kept[1], rtol=1e-6)
    assert float(mixed[0]) <= float(kept[0]) + 0.5


def test_bad_counts():
    with pytest.raises(ValueError, match=r"3 references .* 2"):
        supervised(tf.zeros([1, 3, 9]), tf.zeros([1, 2, 9]), tf.zeros([1, 9]))


def test_silent_references_of_weight_zero_do_not_change_the_loss():
    voice = tf.constant([[[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]])
    mixture = tf.reduce_sum(voice, axis=1)
    endless = voice + [[[0.0], [1e30]]]  # whose energy is infinite in float32
    expected = supervised(voice, voice, mixture, zero_weight=0.0)
    np.testing.assert_array_equal(supervised(voice, endless, mixture, 0.0), expected)
    assert np.isinf(supervised(voice, endless, mixture, 1.0)).all()


def test_a_reference_at_the_bound_is_silent():
    references = tf.constant([[[ACTIVE_RMS], [0.5]]])
    estimates = tf.constant([[[0.1], [0.4]]])
    mixture = tf.reduce_sum(references, axis=1)
    loss = supervised(references, estimates, mixture, zero_weight=0.0)
    sounding = 10 * np.log10(0.1**2 + 1e-3 * 0.5**2 + 1e-8)
    assert float(loss[0]) == pytest.approx(sounding / 2, rel=1e-5)
