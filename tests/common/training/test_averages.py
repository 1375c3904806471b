"""Averages of the weights, which validate and are saved."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import training
from common.training import distribution
from common.training.checkpoint import restore_network
from common.training.logs import read_scalars


def saved(toys, config, checkpoint):
    """Return the weight that separation restores."""
    model = toys.build(config, tf.distribute.get_strategy()).model
    restore_network(config.output, model.network, checkpoint)
    return float(toys.weights(model.network)[0][0, 0])


def test_averages_are_those_of_keras_and_do_not_change_the_training(toys):
    plain = training.train(toys.config("plain"), toys.build)
    config = toys.config(ema=0.9)
    model = training.train(config, toys.build)
    np.testing.assert_array_equal(model.averages[0], toys.weights(plain.network)[0])
    other = toys.build(toys.config("keras"), tf.distribute.get_strategy()).model
    optimizer = keras.optimizers.Adam(
        config.lr, jit_compile=False, use_ema=True, ema_momentum=0.9
    )
    other.compile(optimizer)
    batches = distribution.training_batches(
        tf.distribute.get_strategy(), toys.example, config.batch_size, 0
    )
    other.fit(batches, steps_per_epoch=12, verbose=0)
    average = toys.weights(other.network)[0]
    np.testing.assert_allclose(toys.weights(model.network)[0], average, rtol=1e-6)


def test_validation_and_every_checkpoint_have_the_averages(toys):
    config = toys.config(ema=0.9, lr=0.05, keep=20, checkpoint_steps=3)
    model = training.train(config, toys.build)
    assert saved(toys, config, "latest") == toys.weights(model.network)[0][0, 0]
    lines = [x for x in read_scalars(config.output) if x["split"] == "validation"]
    values = 1.0 + np.sin(np.arange(5.0))
    for line in lines:
        weight = saved(toys, config, f"step-{line['step']}")
        assert line["loss"] == pytest.approx(
            np.square(weight - values).mean(), rel=1e-5
        )
    # The weight rises much faster than its average, so any that was saved itself would
    # be above those of later steps.
    rising = [saved(toys, config, f"step-{n}") for n in (3, 4, 6, 8, 9, 12)]
    assert rising == sorted(rising)
    assert rising[-1] < 0.7 * model.averages[0].numpy()[0, 0]


def test_a_killed_run_ends_with_the_same_bits(toys):
    changes = {"ema": 0.9, "lr_schedule": "cosine", "warmup_steps": 3}
    undisturbed = toys.config("undisturbed", checkpoint_steps=3, **changes)
    straight = training.train(undisturbed, toys.build)
    for step in (3, 5, 7):
        name = f"killed at {step}"
        killed = toys.config(name, checkpoint_steps=3, **changes)
        toys.kill(killed, step)
        resumed = training.train(killed, toys.build)
        for a, b in zip(toys.weights(straight), toys.weights(resumed), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
        assert read_scalars(killed.output) == read_scalars(undisturbed.output), name


@pytest.mark.one_lane
def test_averages_start_with_the_weights_of_another_run(toys):
    def build(config, strategy):
        job = toys.build(config, strategy)
        start = job.model.network.set_weights
        return replace(job, start=lambda: start([np.full([1, 1], 5.0)]))

    model = training.train(toys.config(epochs=1, ema=0.999), build)
    assert toys.weights(model.network)[0] == pytest.approx(5.0, abs=0.02)


@pytest.mark.one_lane
def test_replicas_average_as_one_does(toys):
    config = toys.config("one", ema=0.5, warmup_steps=3)
    schedule = replace(config.train, strategy="mirrored", replicas=2)
    two = replace(toys.config("two", batch_size=2), train=schedule)
    one, other = (training.train(each, toys.build) for each in (config, two))
    for a, b in zip(toys.weights(one), toys.weights(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
