"""The assignment by least squares beside the search of all."""

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import least_squares, mixit


def separated(noise, mixtures=2, sources=8, batch=16, silent=0):
    """Mixtures and estimates that a network may give: leaking, and some silent.

    Sources differ by up to 20 dB; of every estimate a share goes to the others.
    """
    rng = np.random.default_rng(0)
    true = rng.standard_normal((batch, sources, 800))
    true *= 10 ** rng.uniform(-1, 0, (batch, sources, 1))
    true[:, sources - silent :] *= 1e-3
    sides = rng.integers(0, mixtures, (batch, sources))
    parts = [(true * (sides == m)[..., None]).sum(1) for m in range(mixtures)]
    leak = np.eye(sources) + noise * rng.uniform(0, 1, (batch, sources, sources))
    estimates = leak / leak.sum(1, keepdims=True) @ true
    return np.stack(parts, 1).astype(np.float32), estimates.astype(np.float32)


@pytest.mark.parametrize(
    ("noise", "mixtures", "silent", "share", "above"),
    [
        (0.0, 2, 0, 1.0, 0.0),
        (0.02, 2, 0, 1.0, 0.0),
        (0.05, 2, 0, 0.95, 0.01),
        (0.05, 3, 0, 0.95, 0.01),
        (0.2, 2, 0, 0.35, 0.7),
        (0.05, 2, 4, 0.3, 1.5),
    ],
)
def test_mostly_the_best_and_never_better(noise, mixtures, silent, share, above):
    signals = separated(noise, mixtures, silent=silent, batch=64)
    best, expected = mixit(*signals)
    losses, assignment = least_squares(*signals)
    equal = (assignment.numpy() == expected.numpy()).all((1, 2))
    assert equal.mean() >= share
    assert (losses.numpy() >= best.numpy() - 1e-4).all()
    np.testing.assert_allclose(losses[equal], best[equal], rtol=1e-6)
    assert (losses.numpy() - best.numpy()).mean() <= above + 1e-5


def test_gradient_is_that_of_the_assignment():
    mixtures, estimates = map(tf.constant, separated(0.05, batch=2))
    gradients = []
    for loss in (mixit, least_squares):
        with tf.GradientTape() as tape:
            tape.watch(estimates)
            value = tf.reduce_sum(loss(mixtures, estimates)[0])
        gradients.append(tape.gradient(value, estimates))
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("sources", [16, 32])
def test_many_outputs_of_which_some_are_silent_or_copies(sources, level):
    mixtures, estimates = separated(0.0, sources=sources, batch=3)
    mixtures, estimates = level * mixtures, level * estimates
    owners = least_squares(mixtures, estimates)[1].numpy().argmax(1)
    estimates[:, 6] = estimates[:, 7] = estimates[:, 7] / 2
    estimates[:, 5] = 0.0
    losses, assignment = tf.function(least_squares)(mixtures, estimates)
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(assignment.numpy().sum(1), 1)
    actual = assignment.numpy().argmax(1)
    others = [s for s in range(sources) if s not in (5, 6)]
    np.testing.assert_array_equal(actual[:, others], owners[:, others])
    np.testing.assert_array_equal(actual[:, 6], owners[:, 7])
    np.testing.assert_array_equal(actual[:, 5], 0)


def test_silence_goes_to_the_first_mixture():
    losses, assignment = least_squares(tf.zeros([1, 2, 50]), tf.zeros([1, 16, 50]))
    assert float(losses[0]) == pytest.approx(-80.0)
    assert assignment.numpy()[0].tolist() == [[1] * 16, [0] * 16]


def test_more_mixtures_than_estimates():
    with pytest.raises(ValueError, match="3 mixtures cannot be made of 2 estimates"):
        least_squares(tf.zeros([1, 3, 9]), tf.zeros([1, 2, 9]))
