"""Costs of the alignment, and the alignment, against Google's program."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.signal.permutation import best_permutation
from mixit.loss import log_mse

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "alignment.npz"


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


@pytest.fixture(scope="module")
def costs(golden):
    return log_mse(golden["references"], golden["estimates"]).numpy()


def chosen(costs, permutation):
    return np.take_along_axis(costs, permutation[..., np.newaxis], axis=2)[..., 0]


@pytest.mark.parametrize("limit", [30, 10])
def test_costs(golden, limit):
    pairs = log_mse(golden["pairs_references"], golden["pairs_estimates"], limit)
    expected = golden[f"pairs_{limit}_db"]
    np.testing.assert_allclose(
        tf.linalg.diag_part(pairs), expected, rtol=2e-6, atol=2e-6
    )


def test_a_near_copy_is_distinguished_from_a_copy():
    reference = np.random.default_rng(0).standard_normal((1, 1, 100_000))
    estimates = np.concatenate([reference * (1 - 1e-5), reference], axis=1)
    reference, estimates = reference.astype("float32"), estimates.astype("float32")
    error = np.square(np.float64(estimates) - reference).sum(-1)
    actual = log_mse(reference, estimates, np.inf)[0]
    np.testing.assert_allclose(actual, 10 * np.log10(error + 1e-8), rtol=1e-4)


def test_alignment(golden, costs):
    permutation = best_permutation(costs)[1].numpy()
    # Silent references have equal costs: ours take estimates in ascending order.
    sounding = np.square(golden["references"]).sum(-1) > 0
    np.testing.assert_array_equal(permutation[sounding], golden["order"][sounding])
    np.testing.assert_array_equal(permutation[0, ~sounding[0]], [0, 2, 3])
    total = chosen(costs, permutation).sum(1)
    np.testing.assert_allclose(total, golden["loss"].sum(1), rtol=2e-6)
