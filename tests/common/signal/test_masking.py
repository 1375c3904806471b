"""Masks and mixture consistency against values of the original programs."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.signal.masking import binary_mask, mixture_consistency, ratio_mask

GOLDEN = Path(__file__).parents[2] / "golden"


def test_ratio_masks_sum_to_one_where_there_is_sound():
    magnitudes = np.random.default_rng(0).uniform(0.1, 1, (2, 3, 5, 7))
    masks = ratio_mask(tf.constant(magnitudes, tf.float32))
    np.testing.assert_allclose(tf.reduce_sum(masks, 1), np.ones((2, 5, 7)), rtol=1e-6)
    np.testing.assert_allclose(
        masks, magnitudes / magnitudes.sum(1, keepdims=True), rtol=1e-5
    )


def test_ratio_mask_takes_a_power_and_a_floor():
    magnitudes = tf.constant([[[3.0, 0.0]], [[1.0, 0.0]]])
    masks = ratio_mask(magnitudes, power=2.0, floor=2.0)
    np.testing.assert_allclose(masks[:, 0, 0], [9 / 12, 1 / 12], rtol=1e-6)
    assert not masks[:, 0, 1].numpy().any()


def test_binary_mask_equals_nussl():
    golden = np.load(GOLDEN / "stft_nussl.npz")
    masks = binary_mask(golden["magnitudes"])
    assert 0.1 < golden["binary"].mean() < 0.6
    np.testing.assert_array_equal(masks, golden["binary"])


def test_binary_mask_gives_ties_and_silence_to_no_source():
    magnitudes = tf.constant([[[1.0, 2.0, 0.0]], [[1.0, 1.0, 0.0]], [[0.5, 0.0, 0.0]]])
    assert binary_mask(magnitudes).numpy().tolist() == [
        [[0.0, 1.0, 0.0]],
        [[0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0]],
    ]
    assert binary_mask(tf.zeros([1, 1, 1])).numpy().item() == 0


@pytest.mark.parametrize(
    ("kind", "weights"), [("uniform", None), ("pred", "w"), ("magsq", "magsq_w")]
)
def test_mixture_consistency_equals_sound_separation(kind, weights):
    golden = np.load(GOLDEN / "mixture_consistency.npz")
    given = None if weights is None else golden[weights]
    out = mixture_consistency(golden["mix"], golden["sep"], given)
    np.testing.assert_allclose(out, golden[kind], atol=1e-6)
    np.testing.assert_allclose(tf.reduce_sum(out, 1), golden["mix"], atol=1e-6)


def test_weights_broadcast_over_the_batch():
    mixture, estimates = tf.ones([2, 4]), tf.zeros([2, 2, 4])
    out = mixture_consistency(mixture, estimates, tf.constant([0.25, 0.75]))
    np.testing.assert_allclose(out[:, 0], np.full((2, 4), 0.25))


def test_binary_masks_of_a_batch_are_those_of_its_items():
    magnitudes = (
        np.random.default_rng(1).integers(0, 3, (3, 2, 5, 4)).astype(np.float32)
    )
    alone = [binary_mask(item).numpy() for item in magnitudes]
    np.testing.assert_array_equal(binary_mask(magnitudes), alone)


def test_a_sum_as_small_as_the_floor_is_halved():
    masks = ratio_mask(tf.constant([[[0.75e-10, 3.0]], [[0.25e-10, 1.0]]]))
    np.testing.assert_allclose(masks[:, 0, 0], [0.375, 0.125], rtol=1e-5)
    np.testing.assert_allclose(masks[:, 0, 1], [0.75, 0.25], rtol=1e-5)
