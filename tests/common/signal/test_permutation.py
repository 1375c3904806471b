"""The least assignment, by trial and by the Hungarian method."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.signal.permutation import best_permutation, permute

GOLDEN = Path(__file__).parents[2] / "golden"


def brute_force(costs):
    """The first least assignment in the order of itertools, one matrix at a time."""
    references, estimates = costs.shape
    orders = itertools.permutations(range(estimates), references)
    return min(
        orders,
        key=lambda order: sum(costs[r, e] for r, e in enumerate(order)),
    )


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (2, 4), (6, 6), (2, 20)])
def test_equals_brute_force(shape):
    costs = np.random.default_rng(0).normal(size=(2, 5, *shape)).astype(np.float32)
    cost, permutation = best_permutation(costs)
    assert permutation.dtype == tf.int32
    for index in np.ndindex(2, 5):
        order = brute_force(costs[index])
        assert tuple(permutation[index].numpy()) == order
        expected = costs[index][range(shape[0]), order].sum()
        assert cost[index].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(7, 7), (5, 7), (2, 30)])
def test_the_hungarian_method_finds_the_same(shape):
    costs = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    _, permutation = best_permutation(costs)
    for item, order in zip(costs, permutation.numpy(), strict=True):
        assert tuple(order) == brute_force(item)


def test_the_first_of_equals_wins():
    assert best_permutation(tf.zeros([3, 3]))[1].numpy().tolist() == [0, 1, 2]
    tied = tf.constant([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert best_permutation(tied)[1].numpy().tolist() == [1, 2, 0]


def test_equal_references_take_estimates_in_ascending_order():
    costs = np.random.default_rng(2).normal(size=(8, 8)).astype(np.float32)
    costs[[1, 4, 6]] = costs[1]
    order = best_permutation(costs)[1].numpy()
    assert order[1] < order[4] < order[6]


def test_eight_sources_equal_sound_separation():
    golden = np.load(GOLDEN / "permutation_groupwise.npz")
    references, estimates = golden["ref"][:, :, None], golden["est"][:, None]
    error = ((references - estimates) ** 2).sum(-1)
    floor = 1e-3 * (references**2).sum(-1) + 1e-8
    losses = (10 * np.log10(error + floor)).astype(np.float32)
    cost, permutation = best_permutation(losses)
    aligned = permute(tf.constant(golden["est"]), permutation).numpy()
    for ours, theirs, reference in zip(
        aligned, golden["permuted"], golden["ref"], strict=True
    ):
        active = reference.any(-1)
        np.testing.assert_array_equal(ours[active], theirs[active])
        # Silent references tie: which of them takes which estimate is rounding there.
        assert set(ours[~active, 0]) == set(theirs[~active, 0])
    np.testing.assert_allclose(cost, golden["loss"].sum(-1), rtol=1e-5)


@pytest.mark.parametrize("size", [3, 8])
def test_gradients_flow_into_the_chosen_costs_only(size):
    costs = tf.Variable(tf.random.stateless_normal([2, size, size], seed=(1, 2)))
    with tf.GradientTape() as tape:
        cost, permutation = best_permutation(costs)
    gradient = tape.gradient(cost, costs)
    np.testing.assert_array_equal(gradient, tf.one_hot(permutation, size))


@pytest.mark.parametrize("size", [3, 8])
def test_shapes_are_static_in_a_graph(size):
    @tf.function(input_signature=[tf.TensorSpec([None, 4, 2, size])])
    def traced(costs):
        cost, permutation = best_permutation(costs)
        assert cost.shape.as_list() == [None, 4]
        assert permutation.shape.as_list() == [None, 4, 2]
        return permutation

    costs = tf.random.stateless_normal([3, 4, 2, size], seed=(3, 4))
    np.testing.assert_array_equal(traced(costs), best_permutation(costs)[1])


@pytest.mark.parametrize("size", [3, 8])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_costs_that_are_not_finite_are_avoided_or_shown(size, bad):
    costs = np.ones((size, size), np.float32)
    costs[0, 0] = bad
    cost, permutation = best_permutation(costs)
    assert permutation[0] != 0
    assert cost == size
    assert not np.isfinite(best_permutation(np.full_like(costs, bad))[0])


def test_permute_keeps_all_later_axes():
    estimates = tf.reshape(tf.range(2 * 3 * 4 * 5), [2, 3, 4, 5])
    picked = permute(estimates, tf.constant([[2, 0], [1, 2]]))
    assert picked.shape == [2, 2, 4, 5]
    np.testing.assert_array_equal(picked[0, 0], estimates[0, 2])
    np.testing.assert_array_equal(picked[1, 0], estimates[1, 1])


def test_more_references_than_estimates_is_an_error():
    with pytest.raises(ValueError, match=r"3 references .* 2 estimates"):
        best_permutation(tf.zeros([3, 2]))


def test_unknown_counts_are_an_error():
    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def traced(costs):
        return best_permutation(costs)

    with pytest.raises(ValueError, match="must be known"):
        traced(tf.zeros([2, 2]))
