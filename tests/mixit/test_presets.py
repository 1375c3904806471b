"""Every preset learns: some steps on one batch lower its loss."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from mixit import data
from mixit.config import PRESETS
from mixit.train import compiled

STEPS = 15
FALL_DB = {"fuss": 0.1, "yfcc100m": 0.1, "fuss_supervised": 0.5, "tiny": 1.0}
"""How many dB the loss of each preset loses in these steps, by its rate."""


def small(config):
    """The same loss, optimizer and rate on a network of few units."""
    few = {"num_coeffs": 32, "bottleneck": 16, "conv_channels": 16}
    model = replace(config.model, num_dilations=2, num_repeats=1, **few)
    # Measures of a batch are taken at logged steps alone, and they are no loss.
    schedule = replace(config.train, log_steps=10 * STEPS)
    return replace(config, model=model, train=schedule)


@functools.cache  # Some presets differ in their corpora alone.
def losses_of(config):
    """Loss of one batch before each of some steps on it."""
    keras.utils.set_random_seed(0)
    training = compiled(config, replicas=1)
    draw = np.random.default_rng(0)
    time = np.arange(1600) / config.model.sample_rate
    pitches = draw.uniform(200, 2000, [2, 2, 2, 1])
    sources = 0.1 * np.sin(2 * np.pi * pitches * time)
    if config.labelled == 1.0:
        sources[:, 1] = 0.0  # the second mixture of a labelled example
    batch = {
        "sources": tf.constant(sources, tf.float32),
        "labelled": tf.fill([2], config.labelled == 1.0),
    }
    step, actual = tf.function(training.train_step, autograph=False), []
    for _ in range(STEPS):
        training.loss_mean.reset_state()
        actual.append(float(step(batch)["loss"]))
    return actual


@pytest.mark.parametrize("name", PRESETS)
def test_some_steps_lower_the_loss(name):
    first, *_, last = losses_of(small(PRESETS[name]))
    assert last < first - FALL_DB[name]


@pytest.mark.parametrize(
    ("name", "batch"), [("fuss", 6), ("yfcc100m", 6), ("fuss_supervised", 3)]
)
def test_the_validation_has_the_whole_batches_of_google(name, batch):
    """Its programs round 800 examples to batches, and take the first of the list."""
    examples = batch * round(800 / batch)
    assert PRESETS[name].validation_examples == examples
    assert data.validation_count(PRESETS[name], range(1000)) == -(-examples // 2)
