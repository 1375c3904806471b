"""Targets and weights against nussl and asteroid, and where a mixture is silent."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.losses.targets import (
    class_balance,
    ideal_binary,
    magnitude_ratio,
    msa,
    point_weights,
    psa,
    threshold,
    vad,
)
from common.signal.stft import Stft, stft

GOLDENS = Path(__file__).parents[2] / "golden"
NUSSL = Stft(256, 64, None, "sqrt_hann", "constant_whole", "window_sum")


def nussl_targets(case, golden):
    sources, mixture = golden["sources"], golden["mixture"]
    if case == "msa":
        return msa(sources)
    return psa(sources, mixture, truncated=case == "psa")


@pytest.mark.parametrize("case", ["msa", "psa", "psa_untruncated"])
def test_targets_and_their_assignment_are_those_of_nussl(case):
    golden = np.load(GOLDENS / "clustering" / "nussl_targets.npz")
    targets = nussl_targets(case, golden).numpy()
    expected = golden[case]
    np.testing.assert_allclose(targets, expected, atol=2e-6 * abs(expected).max())
    given = ideal_binary(golden[case][np.newaxis]).numpy()
    binary = golden[f"{case}/binary"].reshape(2, -1).T
    np.testing.assert_array_equal(given[0], binary)
    of_two = ideal_binary(np.abs(golden["sources"])[np.newaxis]).numpy()
    np.testing.assert_array_equal(of_two[0], binary)


def test_weights_of_a_whole_utterance_are_those_of_nussl():
    golden = np.load(GOLDENS / "clustering" / "nussl_targets.npz")
    signal = np.load(GOLDENS / "stft_nussl.npz")["signal"]
    mixture = tf.abs(stft(signal[np.newaxis], NUSSL))
    weights = tf.reshape(magnitude_ratio(mixture), [189, 129])
    np.testing.assert_allclose(tf.reduce_mean(weights), 1.0, rtol=1e-4)
    expected = golden["root_weights"]
    actual = tf.sqrt(weights[::40])
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6 * expected.max())


def test_activity_is_that_of_asteroid():
    golden = np.load(GOLDENS / "clustering" / "asteroid_vad.npz")
    actual = vad(golden["magnitude"]).numpy()
    np.testing.assert_array_equal(actual, golden["active"].reshape(3, -1))
    assert 0.1 < actual.mean() < 0.9


def test_phase_sensitive_is_the_cosine_of_angles():
    random = np.random.default_rng(0)
    parts = random.standard_normal([2, 2, 3, 5, 4])
    sources = (parts[0] + 1j * parts[1]).astype(np.complex64)
    mixture = sources.sum(1)
    angles = np.angle(sources) - np.angle(mixture)[:, np.newaxis]
    expected = abs(sources) * np.cos(angles)
    actual = psa(sources, mixture, truncated=False)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(actual, 1), abs(mixture), atol=1e-5)
    kept = psa(sources, mixture).numpy()
    assert (kept >= 0).all()
    assert (kept <= abs(mixture)[:, np.newaxis] + 1e-6).all()


def test_silence_and_very_quiet_sound_have_finite_targets():
    sources = np.zeros([1, 2, 3, 4], np.complex64)
    sources[:, :, 1] = 1e-30
    sources[:, 0, 2], sources[:, 1, 2] = 1.0, -1.0
    mixture = sources.sum(1)
    for truncated in (True, False):
        actual = psa(sources, mixture, truncated).numpy()
        np.testing.assert_array_equal(actual[:, :, [0, 2]], 0.0)
        np.testing.assert_allclose(actual[:, :, 1], 1e-30, rtol=1e-5)


def test_ties_have_no_source_and_points_are_frames_first():
    targets = np.zeros([1, 3, 2, 4], np.float32)
    targets[0, 2, 1, 3] = 1.0
    targets[0, :2, 0, 0] = 2.0
    assignment = ideal_binary(targets).numpy()
    assert assignment.shape == (1, 8, 3)
    assert assignment.sum() == 1.0
    assert assignment[0, 1 * 4 + 3, 2] == 1.0


def test_level_and_rarity():
    mixture = tf.constant([[[1.0, 0.02], [0.005, 0.0]]])
    np.testing.assert_array_equal(threshold(mixture, -40.0), [[1, 1, 0, 0]])
    assignment = tf.constant([[[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]])
    expected = np.sqrt([[1.5, 1.5, 3.0, 0.0]])
    np.testing.assert_allclose(class_balance(assignment), expected, rtol=1e-6)


def test_weights_multiply():
    random = np.random.default_rng(1)
    mixture = random.random([2, 5, 6], np.float32) ** 4
    assignment = np.eye(2, dtype=np.float32)[random.integers(0, 2, [2, 30])]
    kinds = ["magnitude", "threshold", "vad", "class"]
    actual = point_weights(mixture, assignment, kinds, -20.0)
    each = (
        magnitude_ratio(mixture),
        threshold(mixture, -20.0),
        vad(mixture),
        class_balance(assignment),
    )
    np.testing.assert_allclose(actual, np.prod(each, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(point_weights(mixture, assignment, []), 1.0)


def test_silent_mixtures_weigh_nothing_and_shapes_may_be_unknown():
    silent, nobody = np.zeros([1, 3, 4], np.float32), np.zeros([1, 12, 2], np.float32)
    for kind in ("magnitude", "threshold", "vad", "class"):
        assert not point_weights(silent, nobody, [kind]).numpy().any()

    @tf.function(input_signature=[tf.TensorSpec([None, 2, None, 4])])
    def prepare(targets):
        assignment = ideal_binary(targets)
        assert assignment.shape.as_list() == [None, None, 2]
        mixture = tf.reduce_sum(targets, 1)
        return point_weights(mixture, assignment, ["magnitude", "class"])

    targets = np.random.default_rng(2).random([3, 2, 5, 4], np.float32)
    assert prepare(targets).shape == (3, 20)
