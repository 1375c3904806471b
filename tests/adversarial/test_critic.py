"""The critics against the original's numbers, and their shape for every image."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from adversarial import convert
from adversarial.config import ModelConfig
from adversarial.critic import Critic, layers
from common.config import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden" / "adversarial"
SMALL = ModelConfig(
    num_layers=2, num_frames=16, num_fft=64, initial_filters=4, disc_filters=3
)


@pytest.fixture(autouse=True)
def same_weights():
    keras.utils.set_random_seed(1)


def plan(bins, frames):
    return [
        (each.filters, each.kernel[1], each.bins, each.frames)
        for each in layers(bins, frames, 32)
    ]


def test_shape_of_the_default():
    assert plan(256, 64) == [
        (32, 4, 128, 32),
        (64, 4, 64, 16),
        (128, 4, 32, 8),
        (256, 4, 16, 4),
        (256, 2, 8, 4),
        (256, 2, 4, 4),
    ]
    critic = Critic(ModelConfig(), "voice_disc")
    assert len(critic.trainable_variables) == 15
    assert critic.count_params() == 1_869_344
    assert critic.hidden.kernel.shape == (4096, 32)
    assert critic.variables[0].name == "voice_disc/convolution_0/kernel:0"


@pytest.mark.parametrize(
    ("bins", "frames", "expected"),
    [
        # Frames run out first, then the bins alone are halved.
        (64, 8, [(32, 4, 32, 4), (32, 2, 16, 4), (32, 2, 8, 4), (32, 2, 4, 4)]),
        # Bins run out first: nothing is left to halve.
        (16, 64, [(32, 4, 8, 32), (64, 4, 4, 16)]),
        # Both are small already, yet there is a first layer.
        (4, 2, [(32, 4, 2, 1)]),
        # Odd lengths are rounded up.
        (36, 34, [(32, 4, 18, 17), (64, 4, 9, 9), (128, 4, 5, 5), (256, 4, 3, 3)]),
    ],
)
def test_rule_of_the_layers(bins, frames, expected):
    assert plan(bins, frames) == expected


@pytest.mark.parametrize("frames", [2, 16, 32, 128])
def test_every_length_runs(frames):
    config = ModelConfig(num_frames=frames, num_fft=64, disc_filters=2)
    assert Critic(config)(tf.ones([3, 32, frames, 1])).shape == [3]


def test_scores_are_those_of_the_original():
    golden = np.load(GOLDEN / "original.npz")
    critics = convert.load(GOLDEN / "original", SMALL).critics
    for name, source in (("acc", "accompaniment"), ("voice", "vocals")):
        critic = critics[f"{name}_disc"]
        real = tf.math.log1p(golden[source][:, 1:33, 1:17])
        expected = golden[f"{name}_real"][:, 0]
        # Scores near zero are differences of large ones.
        atol = 2e-6 * np.abs(expected).max()
        np.testing.assert_allclose(critic(real), expected, atol=atol)
        fake = tf.constant(golden[f"{name}_u"][:, 1:33, 1:17])
        expected = golden[f"{name}_fake"][:, 0]
        atol = 2e-6 * np.abs(expected).max()
        np.testing.assert_allclose(critic(fake), expected, atol=atol)


def test_the_slope_is_an_option():
    config = ModelConfig(num_frames=16, num_fft=64, disc_filters=2, leaky_slope=1.0)
    linear = Critic(config)
    one, other = tf.random.stateless_normal([2, 1, 32, 16, 1], [1, 2])
    # Without a bend, and with no biases at the start, a critic is linear.
    both = linear(one) + linear(other)
    np.testing.assert_allclose(linear(one + other), both, atol=1e-5)


def test_scores_do_not_depend_on_the_batch():
    critic = Critic(SMALL)
    images = tf.random.stateless_uniform([3, 32, 16, 1], [1, 2])
    alone = tf.concat([critic(images[i : i + 1]) for i in range(3)], 0)
    np.testing.assert_allclose(critic(images), alone, atol=1e-6)


def test_invalid_shapes_of_a_critic_are_refused():
    with pytest.raises(ConfigError, match="disc_filters=0; expected at least 1"):
        Critic(ModelConfig(disc_filters=0))
