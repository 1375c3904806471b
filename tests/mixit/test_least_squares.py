"""The assignment by least squares beside the search of all."""

import numpy as np
import pytest
import tensorflow as tf

from mixit.least_squares import least_squares
from mixit.loss import mixit


def separated(noise, sources=8, batch=16):
    """Mixtures and estimates that a network may give: leaking and noisy."""
    rng = np.random.default_rng(0)
    true = rng.standard_normal((batch, sources, 800))
    true *= 10 ** rng.uniform(-1, 0, (batch, sources, 1))
    sides = rng.integers(0, 2, (batch, sources))
    mixtures = np.stack([(true * (sides == m)[..., None]).sum(1) for m in (0, 1)], 1)
    leak = np.eye(sides.shape[1]) + noise * rng.uniform(0, 1, (sources, sources))
    estimates = np.einsum("st,btn->bsn", leak / leak.sum(0), true)
    return mixtures.astype(np.float32), estimates.astype(np.float32)


@pytest.mark.parametrize(("noise", "share"), [(0.0, 1.0), (0.05, 0.9), (0.2, 0.5)])
def test_mostly_the_best_and_never_better(noise, share):
    mixtures, estimates = separated(noise)
    best, wanted = mixit(mixtures, estimates)
    losses, assignment = least_squares(mixtures, estimates)
    equal = (assignment.numpy() == wanted.numpy()).all((1, 2))
    assert equal.mean() >= share
    assert (losses.numpy() >= best.numpy() - 1e-3).all()
    np.testing.assert_allclose(losses[equal], best[equal], rtol=1e-5)


def test_gradient_is_that_of_the_assignment():
    mixtures, estimates = map(tf.constant, separated(0.05, batch=2))
    gradients = []
    for loss in (mixit, least_squares):
        with tf.GradientTape() as tape:
            tape.watch(estimates)
            value = tf.reduce_sum(loss(mixtures, estimates)[0])
        gradients.append(tape.gradient(value, estimates))
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-7)


def test_many_outputs_of_which_some_are_silent_or_copies():
    mixtures, estimates = separated(0.05, sources=32, batch=3)
    estimates[:, 5] = 0.0
    estimates[:, 6] = estimates[:, 7]
    losses, assignment = tf.function(least_squares)(mixtures, estimates)
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(assignment.numpy().sum(1), 1)


def test_more_mixtures_than_estimates():
    with pytest.raises(ValueError, match="3 mixtures cannot be made of 2 estimates"):
        least_squares(tf.zeros([1, 3, 9]), tf.zeros([1, 2, 9]))
