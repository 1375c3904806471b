"""Losses, penalty and gradients against the original's and against differences."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from adversarial import convert, loss
from adversarial.config import ModelConfig
from adversarial.critic import Critic
from adversarial.images import crop

GOLDEN = Path(__file__).parents[1] / "golden" / "adversarial"
SMALL = ModelConfig(
    num_layers=2, num_frames=16, num_fft=64, initial_filters=4, disc_filters=3
)
NAMES = ("acc", "accompaniment"), ("voice", "vocals")


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "original.npz"))


@pytest.fixture(scope="module")
def restored():
    return convert.load(GOLDEN / "original", SMALL)


@pytest.fixture(scope="module")
def separated(golden, restored):
    """Losses of a step of the separator and their gradients."""
    network = restored.separator
    sources = [golden["accompaniment"], golden["vocals"]]
    sources = tf.math.log1p(tf.stack(sources, 1))
    linear = crop(tf.constant(golden["unpaired"]), 34, 18)
    both = tf.concat([golden["mixture"], golden["unpaired"]], 0)
    with tf.GradientTape(persistent=True) as tape:
        paired, estimates = tf.split(network(tf.math.log1p(both)), 2)
        seen = crop(estimates, 32, 16)
        scores = [
            restored.critics[f"{name}_disc"](seen[:, number])
            for number, (name, _) in enumerate(NAMES)
        ]
        each = {
            "sup_loss": loss.supervised(paired, sources),
            "additivity": loss.additivity(estimates, linear),
            "adversarial": loss.adversarial(*scores),
        }
        means = {name: tf.reduce_mean(value) for name, value in each.items()}
        unpaired = 1e-3 * (means["adversarial"] + means["additivity"])
        total = means["sup_loss"] + unpaired
    weights = network.trainable_variables
    return {
        "each": each,
        "sup": tape.gradient(means["sup_loss"], weights),
        "total": tape.gradient(total, weights),
        "critics": tape.gradient(
            means["sup_loss"], restored.critics["acc_disc"].trainable_variables
        ),
    }


def norms(gradients):
    return np.array([float(tf.norm(gradient)) for gradient in gradients])


def by_original(golden, table, weights, gradients, scope):
    """Norms in the order of the original's variables."""
    indices = {id(v): i for i, v in enumerate(weights)}
    order = [str(name).removesuffix(":0") for name in golden[f"{scope}_names"]]
    return norms([gradients[indices[id(table[name])]] for name in order])


@pytest.mark.parametrize("name", ["sup_loss", "additivity", "adversarial"])
def test_losses_are_those_of_the_original(golden, separated, name):
    actual = separated["each"][name]
    assert actual.shape == [3]
    np.testing.assert_allclose(tf.reduce_mean(actual), golden[name], rtol=2e-6)


@pytest.mark.parametrize("name", ["sup", "total"])
def test_gradients_of_the_separator(golden, restored, separated, name):
    network = restored.separator
    table = convert.separator_variables(network)
    weights = network.trainable_variables
    actual = by_original(golden, table, weights, separated[name], "sup")
    np.testing.assert_allclose(actual, golden[f"{name}_gradients"], rtol=1e-5)


def test_supervised_loss_has_no_gradient_for_the_critics(separated):
    assert separated["critics"] == [None] * len(separated["critics"])


@pytest.mark.parametrize(("name", "source"), NAMES)
def test_step_of_a_critic(golden, restored, name, source):
    critic = restored.critics[f"{name}_disc"]
    real = tf.math.log1p(golden[source][:, 1:33, 1:17])
    fake = tf.constant(golden[f"{name}_u"][:, 1:33, 1:17])
    # The original was run with the real examples in reverse order.
    images = loss.interpolate(real[::-1], fake, tf.constant(golden["shares"]))
    with tf.GradientTape() as tape:
        penalties = loss.gradient_penalty(critic, images)
        losses = loss.critic_loss(critic(real), critic(fake)) + 10.0 * penalties
        total = tf.reduce_mean(losses)
    np.testing.assert_allclose(
        tf.reduce_mean(penalties), golden[f"{name}_penalty"], rtol=2e-6
    )
    np.testing.assert_allclose(total, golden[f"{name}_loss"], rtol=2e-6)
    weights = critic.trainable_variables
    gradients = norms(tape.gradient(total, weights))
    np.testing.assert_allclose(gradients, golden[f"{name}_gradients"], rtol=1e-5)


def test_losses_count_every_example_and_cell_the_same():
    draw = np.random.default_rng(1).random
    estimates, sources = draw([2, 3, 2, 4, 5, 1])
    mixture = draw([3, 4, 5, 1])
    expected = ((estimates - sources) ** 2).sum(1).mean(axis=(1, 2, 3))
    actual = loss.supervised(tf.constant(estimates), tf.constant(sources))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    expected = (mixture - np.expm1(estimates).sum(1)) ** 2
    actual = loss.additivity(tf.constant(estimates), tf.constant(mixture))
    np.testing.assert_allclose(actual, expected.mean(axis=(1, 2, 3)), rtol=1e-12)


def test_the_gradient_penalty_is_one_sided():
    for slope, expected in ((0.0, 0.0), (0.9, 0.0), (1.5, 0.25)):

        def critic(images, slope=slope):
            return slope * images[:, 0, 0, 0]

        actual = loss.gradient_penalty(critic, tf.ones([2, 3, 3, 1]))
        np.testing.assert_allclose(actual, [expected] * 2, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_critic_of_gradient_norm_zero_has_finite_gradients(compiled):
    critic = Critic(ModelConfig(num_fft=16, num_frames=4, disc_filters=2))
    for variable in critic.variables:
        variable.assign(tf.zeros_like(variable))
    images = tf.random.stateless_uniform([2, 8, 4, 1], [1, 2])

    @tf.function(jit_compile=compiled)
    def gradients():
        with tf.GradientTape() as tape:
            total = tf.reduce_mean(loss.gradient_penalty(critic, images))
        return tape.gradient(total, critic.trainable_variables)

    actual = [each for each in gradients() if each is not None]
    assert actual
    assert all(np.isfinite(each).all() for each in actual)


def test_the_gradient_of_the_penalty_equals_finite_differences():
    # Bends of a critic are jumps of its gradient, which differences would see.
    config = ModelConfig(num_fft=32, num_frames=8, disc_filters=2, leaky_slope=1.0)
    critic = Critic(config)
    images = tf.random.stateless_normal([2, 16, 8, 1], [3, 4])
    for number, variable in enumerate(critic.variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [number, 7]))
    kernel = critic.convolutions[0].kernel
    direction = tf.random.stateless_normal(kernel.shape, [5, 6])

    def total():
        return tf.math.log(tf.reduce_sum(loss.gradient_penalty(critic, images)))

    with tf.GradientTape() as tape:
        value = total()
    gradient = tape.gradient(value, kernel)
    start, step, values = tf.identity(kernel), 1e-2, []
    for sign in (1, -1):
        kernel.assign(start + sign * step * direction)
        values.append(float(total()))
    numeric = (values[0] - values[1]) / (2 * step)
    assert abs(numeric) > 0.1
    np.testing.assert_allclose(tf.reduce_sum(gradient * direction), numeric, rtol=0.01)
