"""Alignment by type against Google's groupwise permutation."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.alignment import log_mse, order

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "alignment.npz"


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


@pytest.fixture(scope="module")
def costs(golden):
    return log_mse(golden["references"], golden["estimates"]).numpy()


def chosen(costs, places):
    return np.take_along_axis(costs, places[..., np.newaxis], axis=2)[..., 0]


@pytest.mark.parametrize("limit", [30, 10])
def test_costs(golden, limit):
    pairs = log_mse(golden["pairs_references"], golden["pairs_estimates"], limit)
    wanted = golden[f"pairs_{limit}_db"]
    np.testing.assert_allclose(tf.linalg.diag_part(pairs), wanted, rtol=2e-6, atol=2e-6)


def test_a_near_copy_is_told_from_a_copy():
    reference = np.random.default_rng(0).standard_normal((1, 1, 100_000))
    estimates = np.concatenate([reference * (1 - 1e-5), reference], axis=1)
    reference, estimates = reference.astype("float32"), estimates.astype("float32")
    error = np.square(np.float64(estimates) - reference).sum(-1)
    found = log_mse(reference, estimates, np.inf)[0]
    np.testing.assert_allclose(found, 10 * np.log10(error + 1e-8), rtol=1e-4)


def test_one_type(golden, costs):
    places = order(costs).numpy()
    # Silent references have equal costs: ours take estimates in ascending order.
    sounding = np.square(golden["references"]).sum(-1) > 0
    np.testing.assert_array_equal(places[sounding], golden["order"][sounding])
    np.testing.assert_array_equal(places[0, ~sounding[0]], [0, 2, 3])
    total = chosen(costs, places).sum(1)
    np.testing.assert_allclose(total, golden["loss"].sum(1), rtol=2e-6)


def test_types_are_kept_apart(golden, costs):
    types = golden["types"].tolist()
    places = order(costs, types, ordered=["noise", "other"]).numpy()
    np.testing.assert_array_equal(places[:, :6], golden["typed_order"])
    np.testing.assert_array_equal(places[:, 6:], [[6, 7]] * 2)
    wanted = golden["typed_loss"]
    np.testing.assert_allclose(chosen(costs, places)[:, :6], wanted, rtol=2e-6)
    free = order(costs, types).numpy()
    assert [sorted(row) for row in free.tolist()] == [list(range(8))] * 2
    kinds = np.array(types)
    assert (kinds[free] == kinds).all()
    assert (chosen(costs, free).sum(1) <= chosen(costs, places).sum(1)).all()
    assert (free != places).any()


def test_repeated(golden, costs):
    few = costs[:, :4, :4]
    places = order(few, repeated=True).numpy()
    np.testing.assert_array_equal(places, golden["repeated_order"])
    np.testing.assert_allclose(chosen(few, places), golden["repeated_loss"], rtol=2e-6)


def test_equal_types_are_one_type(costs):
    np.testing.assert_array_equal(order(costs, ["source"] * 8), order(costs))


def test_in_a_graph_of_unknown_batch(costs):
    types = ["a", "b", "a", "b", "c", "c", "d", "d"]
    spec = tf.TensorSpec([None, 8, 8])
    traced = tf.function(lambda each: order(each, types), input_signature=[spec])
    np.testing.assert_array_equal(traced(costs), order(costs, types))


def test_bad_types():
    costs = tf.zeros([1, 3, 3])
    with pytest.raises(ValueError, match="2 types, 3 references and 3 estimates"):
        order(costs, ["speech", "noise"])
    with pytest.raises(ValueError, match="0 types, 3 references"):
        order(costs, ordered=["noise"])
    with pytest.raises(ValueError, match="ordered type 'music'; the types are speech"):
        order(costs, ["speech"] * 3, ordered=["music"])
    with pytest.raises(ValueError, match="1 types, 2 references and 3 estimates"):
        order(costs[:, :2], ["speech"])
