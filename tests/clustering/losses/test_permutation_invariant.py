"""Permutation-invariant losses against nussl, asteroid and numpy."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.losses.permutation_invariant import _in_order, _pairwise, pit

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"


def with_gradient(loss, embedding, *rest):
    embedding = tf.constant(embedding)
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        values = loss(embedding, *rest)
        mean = tf.reduce_mean(values)
    return values.numpy(), tape.gradient(mean, embedding).numpy()


def nussl_waveforms(case):
    golden = np.load(GOLDEN / "nussl_matching.npz")
    name = "pit_sisdr/sources" if case == "pit_sisdr" else "sources"
    return golden, golden["estimates"], golden[name]


@pytest.mark.parametrize(("case", "loss"), [("sisdr_none", "si_sdr"), ("snr", "snr")])
def test_ratios_in_order_are_those_of_nussl(case, loss):
    golden, estimates, sources = nussl_waveforms(case)
    losses, gradient = with_gradient(lambda e: _in_order(e, sources, loss), estimates)
    expected = golden[f"{case}/out"]  # [batch, sources] or the mean of all
    if expected.ndim:
        costs = _pairwise(estimates, sources, loss)
        np.testing.assert_allclose(tf.linalg.diag_part(costs), expected, rtol=2e-6)
    np.testing.assert_allclose(losses.mean(), expected.mean(), rtol=2e-6)
    slope = golden[f"{case}/grad"]
    scale = 6.0 if expected.ndim else 1.0  # without a reduction it is that of the sum
    np.testing.assert_allclose(scale * gradient[0], slope, atol=2e-6 * abs(slope).max())


def test_pit_of_ratios_is_that_of_nussl():
    golden, estimates, sources = nussl_waveforms("pit_sisdr")
    losses, gradient = with_gradient(lambda e: pit(e, sources, "si_sdr"), estimates)
    np.testing.assert_allclose(losses.mean(), golden["pit_sisdr/out"], rtol=2e-6)
    expected = golden["pit_sisdr/grad"]
    np.testing.assert_allclose(gradient[0], expected, atol=2e-6 * abs(expected).max())


@pytest.mark.parametrize("kind", ["si_sdr", "snr", "mse"])
def test_pit_is_that_of_asteroid(kind):
    golden = np.load(GOLDEN / "asteroid_matching.npz")
    case = f"pit_{kind.replace('_', '')}"
    losses, gradient = with_gradient(
        lambda e: pit(e, golden["sources"], kind), golden["estimates"]
    )
    np.testing.assert_allclose(losses.mean(), golden[f"{case}/out"], rtol=2e-6)
    if f"{case}/grad" in golden:
        expected = golden[f"{case}/grad"]
        np.testing.assert_allclose(
            gradient[0], expected, atol=2e-6 * abs(expected).max()
        )


@pytest.mark.parametrize("kind", ["si_sdr", "snr"])
def test_pairs_are_those_of_asteroid(kind):
    golden = np.load(GOLDEN / "asteroid_matching.npz")
    costs = _pairwise(golden["estimates"], golden["sources"], kind)
    expected = golden[f"pairwise_{kind.replace('_', '')}/out"].transpose(0, 2, 1)
    np.testing.assert_allclose(costs, expected, rtol=2e-6)


def test_pit_of_magnitudes_is_that_of_the_older_nussl():
    golden = np.load(GOLDEN / "nussl_matching.npz")
    sources = golden["old_mse/sources"]
    losses, gradient = with_gradient(
        lambda e: pit(e, sources, "mse"), golden["old_mse/estimates"]
    )
    np.testing.assert_allclose(losses.mean(), golden["old_mse/out"], rtol=2e-6)
    expected = golden["old_mse/grad"]
    np.testing.assert_allclose(gradient[0], expected, atol=4e-6 * abs(expected).max())


def pit_per_bin(estimates, sources):
    """The defect of nussl 1.1: every bin has an order of its own."""
    orders = itertools.permutations(range(estimates.shape[1]), sources.shape[1])
    costs = [abs(estimates[:, list(order)] - sources).mean(1) for order in orders]
    return np.min(costs, axis=0).mean()


@pytest.mark.parametrize("case", ["pit_l1_3src", "cit_l1_4from2"])
def test_one_order_counts_for_a_whole_example_unlike_in_nussl(case):
    golden = np.load(GOLDEN / "nussl_matching.npz")
    estimates, sources = golden[f"{case}/estimates"], golden[f"{case}/sources"]
    assert pit_per_bin(estimates, sources) == pytest.approx(
        golden[f"{case}/out"], rel=2e-6
    )
    orders = itertools.permutations(range(estimates.shape[1]), sources.shape[1])
    costs = [abs(estimates[:, list(o)] - sources).mean((1, 2, 3)) for o in orders]
    losses = pit(estimates, sources).numpy()
    np.testing.assert_allclose(losses, np.min(costs, axis=0), rtol=2e-6)
    assert losses.mean() > golden[f"{case}/out"]


@pytest.mark.parametrize("kind", ["l1", "mse", "si_sdr", "snr"])
def test_order_of_estimates_and_surplus_ones_do_not_matter(kind):
    random = np.random.default_rng(3)
    sources = random.standard_normal([2, 3, 200]).astype(np.float32)
    noise = random.standard_normal([2, 3, 200]).astype(np.float32)
    estimates = sources + 0.3 * noise
    expected = _in_order(tf.constant(estimates), sources, kind)
    shuffled = np.concatenate([noise[:, :1], estimates[:, [2, 0, 1]]], 1)
    losses, gradient = with_gradient(lambda e: pit(e, sources, kind), shuffled)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert not gradient[:, 0].any()
    assert gradient[:, 1:].any(-1).all()


@pytest.mark.parametrize("kind", ["si_sdr", "snr"])
@pytest.mark.parametrize("case", ["perfect", "silent", "all silent", "no estimate"])
def test_ratios_are_finite_at_their_ends(case, kind):
    sources = np.random.default_rng(4).standard_normal([2, 2, 400]).astype(np.float32)
    estimates = sources[:, ::-1].copy()
    if case == "silent":
        sources[:, 1] = 0.0
    elif case == "all silent":
        sources[:] = 0.0
    elif case == "no estimate":
        estimates[:] = 0.0
    losses, gradient = with_gradient(lambda e: pit(e, sources, kind), estimates)
    assert np.isfinite(losses).all()
    assert np.isfinite(gradient).all()
    if case in ("perfect", "silent"):
        assert (losses < -100.0).all()
    if case == "all silent":
        assert not losses.any()
        assert not gradient.any()


def test_a_silent_source_leaves_the_mean_to_the_others():
    random = np.random.default_rng(5)
    sources = random.standard_normal([2, 3, 300]).astype(np.float32)
    sources[:, 2] = 0.0
    estimates = random.standard_normal([2, 3, 300]).astype(np.float32)
    costs = _pairwise(estimates, sources, "snr").numpy()
    assert not costs[:, 2].any()
    free = _in_order(estimates, sources, "snr")
    np.testing.assert_allclose(free, (costs[:, 0, 0] + costs[:, 1, 1]) / 2, rtol=1e-6)


def test_pit_is_traced_with_unknown_batch_and_length():
    spec = tf.TensorSpec([None, 2, None, 9])
    random = np.random.default_rng(7)
    estimates, sources = random.random([2, 3, 2, 11, 9], np.float32)
    traced = tf.function(pit, input_signature=[spec, spec])
    np.testing.assert_allclose(
        traced(estimates, sources), pit(estimates, sources), rtol=1e-6
    )


def test_bad_input_of_ordered_losses_is_named():
    magnitudes = tf.zeros([1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"'sdr'; expected one of l1, mse, si_sdr"):
        pit(magnitudes, magnitudes, "sdr")
    with pytest.raises(ValueError, match=r"expected \[batch, sources, samples\]"):
        pit(magnitudes, magnitudes, "snr")
    with pytest.raises(ValueError, match=r"do not fit; expected .*frames, bins"):
        pit(magnitudes, magnitudes[..., :3])
