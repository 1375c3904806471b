"""Optimizer steps equal those of the original for gradients of any size."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import training
from common.config import ConfigError
from common.training.logs import read_scalars
from common.training.optimizer import check_rates, optimizer

GOLDEN = Path(__file__).parents[2] / "golden" / "unmix" / "first_step.npz"
ALGORITHMS = pytest.mark.parametrize("name", ["adam", "rmsprop"])


def reference(name, weight, gradients, rate, decay):
    """Return the weight after steps of Adam or RMSprop in float64."""
    mean = square = 0.0
    for step, plain in enumerate(gradients, 1):
        gradient = plain + decay * weight
        if name == "adam":
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            root = np.sqrt(square / (1 - 0.999**step)) + 1e-8
            weight = weight - rate * mean / (1 - 0.9**step) / root
        else:
            square = 0.99 * square + 0.01 * gradient**2
            weight = weight - rate * gradient / (np.sqrt(square) + 1e-8)
    return weight


def draw(seed=0, scale=1e-7, steps=5):
    """Return a weight, and gradients from far below epsilon to far above it."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal([50, 3])
    sizes = scale * 10.0 ** random.uniform(-3, 4, [50, 3])
    return weight, [sizes * random.standard_normal([50, 3]) for _ in range(steps)]


@pytest.mark.parametrize("recurrence", ["bi", "uni"])
def test_first_step_equals_the_original(recurrence):
    golden = np.load(GOLDEN)
    names = [n.split("/")[-1] for n in golden.files if n.startswith(f"{recurrence}/i")]
    before, gradients, after = (
        [golden[f"{recurrence}/{part}/{name}"] for name in names]
        for part in ("init", "grad0", "step1")
    )
    weights = [tf.Variable(value) for value in before]
    adam = optimizer("adam", 1e-3, 1e-5)
    adam.apply_gradients(zip(map(tf.constant, gradients), weights, strict=True))
    for name, weight, old, new in zip(names, weights, before, after, strict=True):
        assert np.abs(new - old).max() > 1e-4, name
        np.testing.assert_allclose(weight, new, rtol=0, atol=2.5e-7, err_msg=name)


@ALGORITHMS
@pytest.mark.parametrize("decay", [0.0, 1e-5, 0.1])
def test_steps_follow_the_algorithm(name, decay):
    start, gradients = draw()
    weight = tf.Variable(start, dtype=tf.float32)
    chosen = optimizer(name, 1e-2, decay)
    chosen.build([weight])
    step = tf.function(lambda g: chosen.apply_gradients([(g, weight)]))
    for gradient in gradients:
        step(tf.constant(gradient, tf.float32))
    expected = reference(name, start, gradients, 1e-2, decay)
    assert np.abs(expected - start).max() > 1e-2
    np.testing.assert_allclose(weight, expected, rtol=0, atol=2e-6)


def test_the_algorithms_of_keras_differ():
    start, gradients = draw()
    forms = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    for name, form in forms.items():
        weight = tf.Variable(start, dtype=tf.float32)
        keras_form = form(1e-2, epsilon=1e-8, jit_compile=False)
        for gradient in gradients:
            keras_form.apply_gradients([(tf.constant(gradient, tf.float32), weight)])
        expected = reference(name, start, gradients, 1e-2, 0.0)
        assert np.abs(weight - expected).max() > 1e-4


@ALGORITHMS
def test_state_is_restored_from_a_checkpoint(name, tmp_path):
    start, gradients = draw()

    def made():
        weight = tf.Variable(start, dtype=tf.float32)
        chosen = optimizer(name, 1e-2, 1e-5)
        chosen.build([weight])
        return weight, chosen, tf.train.Checkpoint(weight=weight, optimizer=chosen)

    def run(weight, chosen, part):
        for gradient in part:
            chosen.apply_gradients([(tf.constant(gradient, tf.float32), weight)])

    weight, chosen, checkpoint = made()
    run(weight, chosen, gradients[:2])
    chosen.learning_rate.assign(3e-3)
    path = checkpoint.write(str(tmp_path / "step"))
    run(weight, chosen, gradients[2:])
    again, restored, checkpoint = made()
    checkpoint.read(path).assert_consumed()
    assert float(restored.learning_rate) == pytest.approx(3e-3)
    run(again, restored, gradients[2:])
    np.testing.assert_array_equal(again, weight)


@ALGORITHMS
def test_replicas_apply_the_decay_once(name):
    start, gradients = draw(steps=3)
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=reduction
    )
    with strategy.scope():
        weight = tf.Variable(start, dtype=tf.float32)
        chosen = optimizer(name, 1e-2, 0.1)
        chosen.build([weight])

    @tf.function
    def step(gradient):
        def replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            share = 0.25 + 0.5 * tf.cast(number, tf.float32)
            chosen.apply_gradients([(share * gradient, weight)])

        strategy.run(replica)

    for gradient in gradients:
        step(tf.constant(gradient, tf.float32))
    expected = reference(name, start, gradients, 1e-2, 0.1)
    np.testing.assert_allclose(weight.numpy(), expected, rtol=0, atol=2e-6)


@ALGORITHMS
def test_configuration_makes_an_equal_one(name):
    made = optimizer(name, 1e-2, 1e-5)
    again = type(made).from_config(made.get_config())
    assert again.get_config() == made.get_config()
    assert (again.decay, again.epsilon) == (1e-5, 1e-8)


def test_an_unknown_optimizer_raises():
    with pytest.raises(ValueError, match="'adamw'; expected one of adam, rmsprop, sgd"):
        optimizer("adamw", 1e-3, 0.0)


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ((-0.1, 0.0, 0.5), "lr=-0.1: expected at least 0"),
        ((0.1, -1.0, 0.5), "weight_decay=-1: expected at least 0"),
        ((0.1, 0.0, 0.0), "lr_decay_gamma=0: expected above 0 and at most 1"),
        ((0.1, 0.0, 1.5), "lr_decay_gamma=1.5: expected above 0 and at most 1"),
    ],
)
def test_rates_out_of_range_raise(rates, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        check_rates(*rates)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_momentum_accumulates_gradients(decay):
    start, gradients = draw(scale=1e-2)
    weight = tf.Variable(start, dtype=tf.float32)
    chosen = optimizer("sgd", 1e-2, decay)
    chosen.build([weight])
    expected, momentum = start, 0.0
    for gradient in gradients:
        chosen.apply_gradients([(tf.constant(gradient, tf.float32), weight)])
        momentum = 0.9 * momentum + gradient + decay * expected
        expected = expected - 1e-2 * momentum
    assert np.abs(expected - start).max() > 1e-2
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=2e-6)
    again = type(chosen).from_config(chosen.get_config())
    assert (again.decay, again.momentum) == (decay, 0.9)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_no_decay_does_not_change_the_gradient(name):
    """A decay of 0 must not multiply a weight that is not finite."""
    weight = tf.Variable([1.0, np.inf])
    chosen = optimizer(name, 1e-2, 0.0)
    chosen.build([weight])
    chosen.apply_gradients([(tf.constant([1.0, 1.0]), weight)])
    assert weight.numpy()[1] == np.inf


@pytest.mark.parametrize("choice", ["own", "cosine"])
def test_the_rate_rises_in_proportion_and_falls_as_a_cosine(toys, choice):
    config = toys.config(lr_schedule=choice, warmup_steps=4)
    training.train(config, toys.build)
    lines = [x for x in read_scalars(config.output) if x["split"] == "train"]
    rates = {line["step"] - 1: line["learning_rate"] for line in lines}
    steps = np.arange(12)
    expected = 0.25 * np.minimum(1.0, (steps + 1) / 4)
    if choice == "cosine":
        expected[4:] *= 0.5 * (1.0 + np.cos(np.pi * (steps[4:] - 4) / 8))
    np.testing.assert_allclose([rates[step] for step in steps], expected, rtol=1e-6)
