"""Every preset learns: some steps on one batch lower its loss."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.training.optimizer import optimizer
from unmix.config import PRESETS
from unmix.model import OpenUnmix
from unmix.train import UnmixTraining

STEPS = 15
FALL = 0.1
"""How much of its first value a loss loses in these steps."""


def small(config):
    """The same loss, optimizer and rate on a network of few units."""
    shape = replace(config.model, hidden_size=16, layers=1, dropout=0.0)
    return replace(config, model=shape, is_wav=False)


@functools.cache  # Some presets differ in their corpora or their width alone.
def losses_of(config):
    """Loss of one batch before each of some steps on it."""
    keras.utils.set_random_seed(0)
    shape = config.model
    network = OpenUnmix(shape)
    model = UnmixTraining(network, config, 1)
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(network.trainable_variables)
    samples = shape.window_samples + 15 * shape.hop_samples
    time = np.arange(samples) / shape.sample_rate
    draw = np.random.default_rng(0)
    pitches = draw.uniform(200, 800, [2, 1, shape.channels, 1])
    target = 0.1 * np.sin(2 * np.pi * pitches * time)
    mixture = target[:, 0] + 0.05 * draw.standard_normal(target[:, 0].shape)
    batch = {
        "mixture": tf.constant(mixture, tf.float32),
        "sources": tf.constant(target, tf.float32),
    }
    step, actual = tf.function(model.train_step, autograph=False), []
    for _ in range(STEPS):
        model.loss_mean.reset_state()
        actual.append(float(step(batch)["loss"]))
    return actual


@pytest.mark.parametrize("name", PRESETS)
def test_some_steps_lower_the_loss(name):
    first, *_, last = losses_of(small(PRESETS[name]))
    assert last < (1 - FALL) * first
