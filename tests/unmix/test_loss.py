"""Losses have their values, one for each example, and finite gradients."""

import numpy as np
import pytest
import tensorflow as tf

from unmix.loss import spectrogram_loss, waveform_loss

RANDOM = np.random.default_rng(0)


def test_spectrogram_loss_is_the_mean_square_of_all_elements():
    estimate = RANDOM.random([4, 2, 5, 7], np.float32)
    target = RANDOM.random([4, 2, 5, 7], np.float32)
    losses = spectrogram_loss(tf.constant(estimate), tf.constant(target)).numpy()
    assert losses.shape == (4,)
    assert losses.mean() == pytest.approx(np.square(estimate - target).mean(), rel=1e-6)
    # Two replicas of two examples each.
    halves = losses.reshape(2, 2).mean(axis=1) / 2
    assert halves.sum() == pytest.approx(losses.mean(), rel=1e-6)


def sources(batch=3):
    return RANDOM.standard_normal([batch, 2, 2, 500]).astype(np.float32)


def test_waveform_loss_is_the_distortion_in_decibels():
    true = sources()
    noisy = true + 0.1 * sources()
    losses = waveform_loss(tf.constant(noisy), tf.constant(true)).numpy()
    noise, power, floor = (
        np.square(each.astype(np.float64)).sum((-2, -1))
        for each in (noisy - true, true, true.sum(1, keepdims=True))
    )
    floor = 1e-3 * floor + 1e-12 * 1000
    expected = 10.0 * np.log10((noise + floor) / (power + floor)).mean(1)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert -20.0 < losses.mean() < -18.0


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0])
def test_waveform_loss_of_silence_and_of_the_truth(level):
    true = level * sources()
    true[:, 1] = 0.0
    estimates = tf.constant(true)
    with tf.GradientTape() as tape:
        tape.watch(estimates)
        losses = waveform_loss(estimates, tf.constant(true))
    gradient = tape.gradient(losses, estimates).numpy()
    assert np.isfinite(gradient).all()
    best = -15.0 if level else 0.0
    np.testing.assert_allclose(losses, best, atol=0.01)
    nothing = waveform_loss(0.0 * estimates, tf.constant(true)).numpy()
    np.testing.assert_allclose(nothing, 0.0, atol=1e-4)
    wrong = waveform_loss(estimates + 0.1 * max(level, 1e-3), tf.constant(true))
    assert (wrong.numpy() > losses.numpy()).all()


def test_the_truth_gains_only_3_db_at_the_power_of_silence():
    true = 1e-6 * np.ones([1, 1, 2, 500], np.float32)
    losses = waveform_loss(tf.constant(true), tf.constant(true)).numpy()
    np.testing.assert_allclose(losses, 10 * np.log10(1.001 / 2.001), rtol=1e-4)
