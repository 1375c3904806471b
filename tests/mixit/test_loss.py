"""The Gram search against Google's numbers and against an exhaustive search."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import assignments, mixit

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"


def all_losses(references, estimates, keep=lambda choice: True, max_snr=30.0):
    """Loss of every assignment [assignments, batch] in float64."""
    return np.array([loss for _, loss in tried(references, estimates, keep, max_snr)])


def tried(references, estimates, keep, max_snr):
    references, estimates = np.float64(references), np.float64(estimates)
    count, sources = references.shape[1], estimates.shape[1]
    power = np.square(references).sum(-1)
    for choice in itertools.product(range(count), repeat=sources):
        if keep(choice):
            matrix = np.eye(count)[list(choice)].T
            error = np.square(references - matrix @ estimates).sum(-1)
            floor = 10 ** (-max_snr / 10) * power + 1e-8
            yield matrix, (10 * np.log10(error + floor)).mean(-1)


def exhaustive(references, estimates, keep=lambda choice: True, max_snr=30.0):
    """Try every assignment in float64, the first minimum wins."""
    matrices, losses = zip(*tried(references, estimates, keep, max_snr), strict=True)
    best = np.argmin(np.round(losses, 9), axis=0)
    return np.min(losses, axis=0), np.stack(matrices)[best]


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
    expected, chosen = exhaustive(references, estimates)
    np.testing.assert_allclose(loss, expected, atol=2e-4)
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
    # In an order of its own and with one twice, which changes nothing.
    allow = [(1, 0, 1, 0), (0, 0, 1, 1), (0, 1, 1, 1), (0, 0, 1, 1)]
    for deny in ([], [(0, 0, 1, 1)]):
        loss, assignment = mixit(references, estimates, allow=allow, deny=deny)
        expected, chosen = exhaustive(
            references, estimates, lambda each, d=deny: each in allow and each not in d
        )
        np.testing.assert_allclose(loss, expected, atol=2e-4)
        np.testing.assert_array_equal(assignment, chosen)


def test_best_assignments_that_are_excluded():
    rng = np.random.default_rng(5)
    references = rng.standard_normal((1, 3, 200)).astype(np.float32)
    estimates = rng.standard_normal((1, 4, 200)).astype(np.float32)
    denied = []
    for _ in range(3):
        loss, assignment = mixit(references, estimates, deny=denied)
        expected, chosen = exhaustive(
            references, estimates, lambda each: each not in denied
        )
        np.testing.assert_allclose(loss, expected, atol=2e-4)
        np.testing.assert_array_equal(assignment, chosen)
        denied.append(tuple(assignment.numpy()[0].argmax(0).tolist()))
    assert len(set(denied)) == 3


@pytest.mark.parametrize("name", ["allow", "deny"])
def test_google_numbers_of_lists(name):
    signals = np.load(GOLDEN / "loss_structured.npz")
    golden = np.load(GOLDEN / "loss_lists.npz")
    lists = {name: golden[name].tolist()}
    loss, assignment = mixit(signals["refs"], signals["est"], **lists)
    np.testing.assert_allclose(loss, golden[f"{name}_loss"], rtol=1e-6)
    np.testing.assert_array_equal(assignment, golden[f"{name}_matrix"])


def test_many_estimates_with_an_allow_list():
    rng = np.random.default_rng(6)
    estimates = rng.standard_normal((2, 24, 300)).astype(np.float32)
    allow = rng.integers(0, 3, (40, 24))
    owner = np.eye(3, dtype=np.float32)[allow[[7, 30]]].transpose(0, 2, 1)
    loss, assignment = mixit(owner @ estimates, estimates, allow=allow.tolist())
    np.testing.assert_array_equal(assignment, owner)
    assert np.isfinite(loss).all()


@pytest.mark.parametrize(("mixtures", "sources"), [(2, 12), (3, 8), (4, 6)])
def test_larger_searches(mixtures, sources):
    rng = np.random.default_rng(sources)
    estimates = rng.standard_normal((2, sources, 100)).astype(np.float32)
    owner = rng.integers(mixtures, size=(2, sources))
    matrix = np.eye(mixtures)[owner].transpose(0, 2, 1)
    noise = rng.standard_normal((2, mixtures, 100)) * 3
    references = (matrix @ estimates + noise).astype(np.float32)
    loss, assignment = mixit(references, estimates)
    expected, chosen = exhaustive(references, estimates)
    np.testing.assert_allclose(loss, expected, atol=2e-4)
    np.testing.assert_array_equal(assignment, chosen)


def test_near_ties_are_decided_at_the_floor():
    """Four assignments within 5e-5 dB, among which float32 products choose wrongly."""
    rng = np.random.default_rng(7)
    references = rng.standard_normal((1, 2, 20_000)).astype(np.float32)
    whisper = np.float32(1e-4) * references[:, 1:]
    estimates = np.concatenate([whisper, references, whisper], axis=1)
    losses = np.sort(all_losses(references, estimates)[:, 0])
    assert 3e-5 < losses[2] - losses[0] < losses[3] - losses[0] < 5e-5
    _, assignment = mixit(references, estimates)
    _, chosen = exhaustive(references, estimates)
    np.testing.assert_array_equal(assignment, chosen)


@pytest.mark.parametrize("level", [1e-4, 1.0, 100.0])
def test_a_silent_mixture_and_any_level(level):
    rng = np.random.default_rng(8)
    references = level * rng.standard_normal((2, 2, 500)).astype(np.float32)
    references[1, 1] = 0.0
    noise = 0.1 * level * rng.standard_normal((2, 5, 500))
    estimates = np.pad(references, [(0, 0), (0, 3), (0, 0)]) + np.float32(noise)
    loss, assignment = mixit(references, estimates)
    expected, chosen = exhaustive(references, estimates)
    np.testing.assert_allclose(loss, expected, atol=2e-4)
    np.testing.assert_array_equal(assignment, chosen)


@pytest.mark.parametrize("max_snr", [10.0, 30.0])
def test_gradient_of_the_search(max_snr):
    """The closed form of the gradient for the winner, in float64."""
    rng = np.random.default_rng(9)
    references = rng.standard_normal((3, 2, 300)).astype(np.float32)
    estimates = tf.constant(rng.standard_normal((3, 6, 300)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        loss, _ = mixit(references, estimates, max_snr)
    _, matrix = exhaustive(references, estimates, max_snr=max_snr)
    error = references - matrix @ np.float64(estimates)
    power = np.square(references).sum(-1, keepdims=True)
    below = np.square(error).sum(-1, keepdims=True) + 10 ** (-max_snr / 10) * power
    expected = -10 / np.log(10) * matrix.transpose(0, 2, 1) @ (error / (below + 1e-8))
    gradient = tape.gradient(loss, estimates)
    np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())


def test_in_a_graph_of_unknown_batch_and_length():
    rng = np.random.default_rng(10)
    references = rng.standard_normal((3, 2, 200)).astype(np.float32)
    estimates = rng.standard_normal((3, 4, 200)).astype(np.float32)
    spec = [tf.TensorSpec([None, n, None]) for n in (2, 4)]
    traced = tf.function(mixit, input_signature=spec, autograph=False)
    for actual, expected in zip(
        traced(references, estimates), mixit(references, estimates), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_gradient_flows_only_through_the_best_assignment():
    rng = np.random.default_rng(2)
    references = tf.constant(rng.standard_normal((1, 2, 100)), tf.float32)
    estimates = tf.constant(rng.standard_normal((1, 3, 100)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(estimates)
        loss, assignment = mixit(references, estimates)
        power = tf.reduce_sum(references**2, -1)
        error = tf.reduce_sum((references - assignment @ estimates) ** 2, -1)
        direct = tf.reduce_mean(tf.math.log(error + 1e-3 * power + 1e-8), -1)
    expected = 10 / np.log(10) * tape.gradient(direct, estimates)
    np.testing.assert_allclose(tape.gradient(loss, estimates), expected, atol=1e-6)


def test_as_many_estimates_as_mixtures_are_enough():
    references = np.random.default_rng(0).standard_normal((1, 2, 100))
    references = references.astype(np.float32)
    _, assignment = mixit(references, references[:, ::-1])
    assert assignment.numpy()[0].tolist() == [[0, 1], [1, 0]]


def test_bad_counts_are_reported():
    with pytest.raises(ValueError, match="3 mixtures cannot be made of 2 estimates"):
        mixit(tf.zeros([1, 3, 10]), tf.zeros([1, 2, 10]))
    with pytest.raises(ValueError, match="second axis of both must be known"):
        tf.function(mixit, input_signature=[tf.TensorSpec([1, None, 9])] * 2)(
            tf.zeros([1, 2, 9]), tf.zeros([1, 2, 9])
        )


def test_an_empty_list_allows_all():
    np.testing.assert_array_equal(assignments(2, 3, allow=[]), assignments(2, 3))
    denied = assignments(2, 2, allow=(), deny=[(0, 1)])
    assert denied.tolist() == [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"allow": [(0, 1, 1)], "deny": [(0, 1, 1)]},
            "no assignment of 3 estimates to 2 mixtures is left",
        ),
        ({"allow": [(0, 1)]}, r"allow list holds \(0, 1\); expected 3 numbers .* 1"),
        ({"deny": [(0, 1, 2)]}, r"deny list holds \(0, 1, 2\); expected 3 numbers"),
    ],
)
def test_bad_lists_are_reported(lists, message):
    with pytest.raises(ValueError, match=message):
        assignments(2, 3, **lists)


def test_too_many_assignments_are_an_error():
    assert assignments(2, 16).shape == (65536, 16)
    with pytest.raises(ValueError, match=r"17 .* 2 mixtures in 131072 ways.*least_sq"):
        mixit(tf.zeros([1, 2, 10]), tf.zeros([1, 17, 10]))
    with pytest.raises(ValueError, match=r"use assignment=least_squares"):
        mixit(tf.zeros([1, 3, 10]), tf.zeros([1, 32, 10]))
