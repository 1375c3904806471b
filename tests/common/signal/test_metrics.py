"""Both ratios against the original program, and at their edges."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.signal.metrics import sdr, si_sdr

GOLDEN = Path(__file__).parents[2] / "golden"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "key"), [(sdr, "snr_residual"), (si_sdr, "snr_gain_invariant")]
)
def test_equals_sound_separation(metric, key):
    golden = np.load(GOLDEN / "metrics_mixit.npz")
    target, silence = golden["target"], np.zeros_like(golden["target"])
    np.testing.assert_allclose(metric(target, golden["est"]), golden[key], atol=1e-4)
    zero = golden[f"{key}_zero_est"]
    np.testing.assert_allclose(metric(target, silence), zero, atol=1e-4)


def test_known_ratios():
    target, other = noise(2, 40_000), noise(2, 40_000, seed=1)
    other -= (
        target
        * (other * target).sum(-1, keepdims=True)
        / (target**2).sum(-1, keepdims=True)
    )
    other *= 0.1 * np.sqrt((target**2).sum(-1) / (other**2).sum(-1))[:, None]
    np.testing.assert_allclose(sdr(target, target + other), [20, 20], atol=1e-3)
    np.testing.assert_allclose(si_sdr(target, target + other), [20, 20], atol=1e-3)
    louder = si_sdr(target, -7 * (target + other))
    np.testing.assert_allclose(louder, [20, 20], atol=1e-3)


def test_the_mean_is_removed_on_request():
    target = noise(1000)
    target -= target.mean()
    assert si_sdr(target, target + 3) < 0
    assert si_sdr(target + 1, target + 3, zero_mean=True) > 60


@pytest.mark.parametrize("metric", [sdr, si_sdr])
def test_silent_and_perfect_signals_have_finite_values_and_gradients(metric):
    sound, silence = noise(100), np.zeros(100, np.float32)
    for target in (sound, silence):
        for estimate in (sound, silence):
            variable = tf.Variable(estimate)
            with tf.GradientTape() as tape:
                value = metric(target, variable)
            assert np.isfinite(value)
            assert np.isfinite(tape.gradient(value, variable)).all()


def test_a_perfect_estimate_scores_eighty():
    sound, silence = noise(100), np.zeros(100, np.float32)
    assert float(si_sdr(sound, 0.3 * sound)) == pytest.approx(80, abs=0.01)
    assert float(si_sdr(sound, silence)) == pytest.approx(-80)
    assert float(si_sdr(silence, silence)) == pytest.approx(-80)


def test_the_mean_of_each_signal_of_a_batch_is_removed():
    target, offsets = noise(3, 2, 500), noise(3, 2, 1, seed=2)
    estimate = target + 0.1 * noise(3, 2, 500, seed=1)
    actual = si_sdr(target + offsets, estimate - offsets, zero_mean=True)
    alone = [
        [si_sdr(a, b, zero_mean=True) for a, b in zip(*pair, strict=True)]
        for pair in zip(target, estimate, strict=True)
    ]
    np.testing.assert_allclose(actual, alone, atol=1e-3)
