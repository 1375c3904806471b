"""The Gram search against Google's numbers and against an exhaustive search."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import assignments, mixit

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"


def exhaustive(references, estimates, max_snr=30.0):
    """Try every assignment in float64, the first minimum wins."""
    references, estimates = np.float64(references), np.float64(estimates)
    count, sources = references.shape[1], estimates.shape[1]
    power = np.square(references).sum(-1)
    losses, chosen = [], []
    for choice in itertools.product(range(count), repeat=sources):
        matrix = np.eye(count)[list(choice)].T
        error = np.square(references - matrix @ estimates).sum(-1)
        floor = 10 ** (-max_snr / 10) * power + 1e-8
        losses.append((10 * np.log10(error + floor)).mean(-1))
        chosen.append(matrix)
    best = np.argmin(np.round(losses, 9), axis=0)
    return np.min(losses, axis=0), np.stack(chosen)[best]


@pytest.mark.parametrize("case", ["structured", "perfect_and_silent", "three_refs"])
def test_google_numbers(case):
    golden = np.load(GOLDEN / f"loss_{case}.npz")
    estimates = tf.constant(golden["est"])
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        loss, assignment = mixit(golden["refs"], estimates)
    gradient = tape.gradient(loss, estimates).numpy()
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(assignment, golden["mix_matrix"])
    scale = np.abs(golden["grad"]).max()
    # At a perfect estimate Google's float32 gradient is itself rounding noise.
    tolerance = 1e-3 if case == "perfect_and_silent" else 1e-5
    np.testing.assert_allclose(gradient, golden["grad"], atol=tolerance * scale)


@pytest.mark.parametrize(("mixtures", "sources"), [(2, 4), (2, 8), (3, 5), (1, 3)])
def test_equals_exhaustive_search(mixtures, sources):
    rng = np.random.default_rng(mixtures * 10 + sources)
    estimates = rng.standard_normal((4, sources, 300)).astype(np.float32)
    owner = rng.integers(mixtures, size=(4, sources))
    matrix = np.eye(mixtures)[owner].transpose(0, 2, 1)
    noise = rng.standard_normal((4, mixtures, 300)) * [[[1e-4]], [[0.1]], [[1]], [[5]]]
    references = (matrix @ estimates + noise).astype(np.float32)
    loss, assignment = mixit(references, estimates)
    wanted, chosen = exhaustive(references, estimates)
    np.testing.assert_allclose(loss, wanted, atol=2e-4)
    np.testing.assert_array_equal(assignment, chosen)


def test_ties_go_to_the_first_assignment():
    rng = np.random.default_rng(0)
    references = rng.standard_normal((1, 2, 500)).astype(np.float32)
    twin = references[:, :1] / 2
    silent = np.zeros_like(twin)
    estimates = np.concatenate([silent, twin, twin, references[:, 1:], silent], axis=1)
    _, assignment = mixit(references, estimates)
    assert assignment.numpy()[0].tolist() == [[1, 1, 1, 0, 1], [0, 0, 0, 1, 0]]
    _, all_silent = mixit(references, np.zeros_like(estimates))
    assert all_silent.numpy()[0].tolist() == [[1] * 5, [0] * 5]


def test_allow_and_deny_lists():
    rng = np.random.default_rng(1)
    references = rng.standard_normal((3, 2, 200)).astype(np.float32)
    estimates = rng.standard_normal((3, 4, 200)).astype(np.float32)
    allow = [(0, 0, 1, 1), (1, 0, 1, 0)]
    _, assignment = mixit(references, estimates, allow=allow)
    owners = {tuple(a.argmax(0)) for a in assignment.numpy()}
    assert owners <= set(allow)
    _, best = mixit(references, estimates)
    winner = tuple(best.numpy()[0].argmax(0))
    _, other = mixit(references, estimates, deny=[winner])
    assert tuple(other.numpy()[0].argmax(0)) != winner


def test_gradient_flows_through_the_winner_alone():
    rng = np.random.default_rng(2)
    references = tf.constant(rng.standard_normal((1, 2, 100)), tf.float32)
    estimates = tf.constant(rng.standard_normal((1, 3, 100)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(estimates)
        loss, assignment = mixit(references, estimates)
        power = tf.reduce_sum(references**2, -1)
        error = tf.reduce_sum((references - assignment @ estimates) ** 2, -1)
        direct = tf.reduce_mean(tf.math.log(error + 1e-3 * power + 1e-8), -1)
    wanted = 10 / np.log(10) * tape.gradient(direct, estimates)
    np.testing.assert_allclose(tape.gradient(loss, estimates), wanted, atol=1e-6)


def test_bad_counts_are_told():
    with pytest.raises(ValueError, match="3 mixtures cannot be made of 2 estimates"):
        mixit(tf.zeros([1, 3, 10]), tf.zeros([1, 2, 10]))
    with pytest.raises(ValueError, match="no assignment of 3 estimates"):
        assignments(2, 3, allow=[(0, 1)])
