"""One training step against Google's: loss, every gradient, and Adam's weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.weights import tf1
from mixit import loss
from mixit.config import FUSS, FUSS_SUPERVISED
from mixit.google import names, restore
from mixit.train import MixitTraining, compiled

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"
FIRST_RATE = 1e-4


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "train_pass.npz")


@pytest.fixture(scope="module")
def batch():
    """Sources [batch, 2, sources, samples] of three mixtures of mixtures."""
    sources = np.load(GOLDEN / "eval_pass.npz")["source_images"]
    return {"sources": tf.constant(sources.reshape(3, 2, *sources.shape[1:]))}


@pytest.fixture
def model():
    """Google's training after six steps, with the state of its optimizer."""
    prefix = GOLDEN / "train_small"
    network = restore.restore(prefix, num_dilations=3)[0]
    model = compiled(replace(FUSS, model=network.config), replicas=1)
    restore.assign(model.network, tf1.read(prefix, names.SLOTS))
    reader = tf.train.load_checkpoint(str(prefix / "model.ckpt-6"))
    optimizer = model.optimizer
    optimizer.iterations.assign(6)
    indices = {v.ref(): i for i, v in enumerate(model.network.trainable_variables)}
    for name, variable in numbered(model.network, reader).items():
        slots = optimizer._momentums, optimizer._velocities
        for slot, suffix in zip(slots, ("Adam", "Adam_1"), strict=True):
            value = reader.get_tensor(f"{name}/{suffix}")
            slot[indices[variable.ref()]].assign(value.reshape(variable.shape))
    return model


def numbered(network, reader):
    """Our variables by the very names of a checkpoint."""
    table = restore.names(network)
    given = {names.canonical(name): name for name in reader.get_variable_to_shape_map()}
    return {given[name]: variable for name, variable in table.items()}


def test_gradients(model, batch, golden):
    network = model.network
    with tf.GradientTape() as tape:
        mixtures = tf.reduce_sum(batch["sources"], axis=2)
        estimates = network(tf.reduce_sum(mixtures, axis=1))
        loss = tf.reduce_mean(model._training_losses(batch, estimates))
    assert float(loss) == pytest.approx(float(golden["train|loss"]), rel=1e-5)
    expected = {
        names.canonical(k.removeprefix("grad|")): golden[k]
        for k in golden.files
        if k.startswith("grad|")
    }
    table = restore.names(network)
    assert set(expected) == set(table)
    gradients = tape.gradient(loss, list(table.values()))
    for name, gradient in zip(table, gradients, strict=True):
        goal = expected[name].reshape(gradient.shape)
        # Scalars before a normalisation are differences of large numbers.
        share = 2e-5 if goal.size > 1 else 1e-3
        atol = share * np.abs(goal).max()
        np.testing.assert_allclose(gradient, goal, rtol=0, atol=atol, err_msg=name)


def test_step_of_adam(model, batch, golden):
    before = [v.numpy() for v in model.network.variables]
    model.train_step(batch)
    table = restore.names(model.network)
    for key in golden.files:
        name = names.canonical(key.removeprefix("after|"))
        if not key.startswith("after|") or name == "loss":
            continue
        goal = golden[key].reshape(table[name].shape)
        np.testing.assert_allclose(table[name], goal, rtol=0, atol=0.01 * FIRST_RATE)
    changed = [
        (old != variable.numpy()).any()
        for old, variable in zip(before, model.network.variables, strict=True)
    ]
    assert all(changed)
    model.loss_mean.reset_state()
    result = model.train_step(batch)
    assert float(result["loss"]) == pytest.approx(float(golden["after|loss"]), rel=1e-5)
    assert int(model.optimizer.iterations.numpy()) == 8


def test_steps_of_the_published_baseline_of_fuss(unpack):
    folder, _ = unpack("dcase2020")
    model = FUSS_SUPERVISED.model
    model = replace(model, skip_connections=True, front_padding=False)
    small = {"num_sources": 2, "window_samples": 64, "hop_samples": 16}
    small |= {"bottleneck": 6, "conv_channels": 8, "num_dilations": 2, "num_repeats": 2}
    model = replace(model, **small)
    training = compiled(replace(FUSS_SUPERVISED, model=model, clip_norm=0, lr=1e-2), 1)
    restore.start_from(training, folder)
    n = np.arange(500)
    sources = [[np.sin(0.3 * n), np.sin(0.9 * n)], [np.sin(0.05 * n), 0 * n]]
    sources = 0.5 * np.stack([sources, np.zeros_like(sources)], axis=1)
    batch = {
        "sources": tf.constant(sources, tf.float32),
        "labelled": tf.fill([2], True),
    }
    losses = []
    for _ in range(6):
        training.loss_mean.reset_state()
        losses.append(float(training.train_step(batch)["loss"]))
    # The losses of dcase2020_fuss_baseline's own steps from this checkpoint, at a
    # learning rate of 0.01. Clipping to 5 makes the last two 3.562 and 2.036.
    expected = [10.38264, 8.55572, 6.89302, 5.24102, 3.50549, 2.09087]
    np.testing.assert_allclose(losses, expected, atol=2e-3)


def validation(sources, counted, labelled):
    """A network that keeps what it separated, and the loss of a validation."""
    config = replace(FUSS, labelled=labelled, model=replace(FUSS.model, num_sources=2))
    asked = []

    class Network:
        def __call__(self, mixture):
            asked.append(mixture.numpy())
            return tf.stack([0.7 * mixture, 0.3 * mixture], axis=1)

    model = MixitTraining(Network(), config, 1)
    batch = {"sources": sources, "counted": counted, "weight": tf.ones([len(sources)])}
    loss = float(model.test_step(batch)["loss"])
    measures = {k: float(v) for k, v in model.held_out.result().items()}
    return np.concatenate(asked), loss, measures


def test_an_odd_validation_scores_every_mixture_once():
    sources = tf.random.stateless_normal([3, 1, 2, 500], [1, 2])
    sources = sources * tf.reshape([1.0, 0.5, 0.1], [3, 1, 1, 1])
    paired = tf.stack(
        [tf.concat([sources[0], sources[1]], 0), tf.concat([sources[2], sources[0]], 0)]
    )
    odd = validation(paired, tf.constant([[1.0, 1.0], [1.0, 0.0]]), 1.0)
    silent = tf.concat([sources, tf.zeros_like(sources)], axis=1)
    alone = validation(silent, tf.constant([[1.0, 0.0]] * 3), 1.0)
    assert odd[1] == pytest.approx(alone[1], rel=1e-5)
    assert odd[2] == pytest.approx(alone[2], rel=1e-4)


def test_the_last_pair_of_an_odd_validation_counts_half():
    sources = tf.random.stateless_normal([2, 2, 2, 500], [1, 2])
    sources = sources * tf.reshape([1.0, 0.1], [2, 1, 1, 1])
    counted = tf.constant([[1.0, 1.0], [1.0, 0.0]])
    first, last = (
        validation(sources[i : i + 1], counted[:1], 0.0)[1] for i in range(2)
    )
    loss = validation(sources, counted, 0.0)[1]
    assert loss == pytest.approx((first + 0.5 * last) / 1.5, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"max_snr": 10.0}, lambda s, e, m: loss.mixit(s.sum(2), e, 10.0)[0]),
        (
            {"assignment": "least_squares", "max_snr": 10.0},
            lambda s, e, m: loss.least_squares(s.sum(2), e, 10.0)[0],
        ),
        (
            {"labelled": 1.0, "zero_weight": 0.2},
            lambda s, e, m: loss.supervised(s[:, 0], e, m, 0.2),
        ),
        (
            {"labelled": 0.5},
            lambda s, e, m: tf.stack(
                [
                    loss.supervised(s[:, 0], e, m)[0],
                    loss.mixit(s.sum(2), e)[0][1],
                ]
            ),
        ),
        (
            {"sparsity": "l1_l2", "sparsity_weight": 3.0},
            lambda s, e, m: loss.mixit(s.sum(2), e)[0] + 3 * loss.sparsity(e, m),
        ),
    ],
)
def test_the_loss_follows_its_options(changes, expected):
    draw = np.random.default_rng(0)
    sources = draw.normal(size=(2, 2, 2, 500)).astype(np.float32)
    sources[0, 1] = 0.0  # the silent partner of a labelled mixture
    mixture = tf.constant(sources.sum((1, 2)))
    leaks = draw.uniform(size=(4, 4, 1, 1))
    estimates = (leaks * sources.transpose(1, 2, 0, 3).reshape(4, 2, 500)).sum(1)
    estimates = tf.constant(estimates.transpose(1, 0, 2), tf.float32)
    model = MixitTraining(None, replace(FUSS, **changes), 1)
    batch = {"sources": tf.constant(sources), "labelled": tf.constant([True, False])}
    actual = model._training_losses(batch, estimates)
    goal = expected(sources, estimates, mixture)
    np.testing.assert_allclose(actual, goal, rtol=1e-6)
    assert (
        np.abs(
            actual - MixitTraining(None, FUSS, 1)._training_losses(batch, estimates)
        ).max()
        > 0.01
    )


def test_the_optimizer_follows_the_configuration():
    config = replace(FUSS, model=replace(FUSS.model, num_repeats=1), clip_norm=0.3)
    config = replace(config, lr=1e-2, lr_decay_steps=100, lr_decay_rate=0.25)
    optimizer = compiled(config, 1).optimizer
    assert (optimizer.global_clipnorm, optimizer.epsilon) == (0.3, 1e-8)
    # The rate decays from one step to the next, not once in 100 steps.
    assert float(optimizer._learning_rate(50)) == pytest.approx(5e-3, rel=1e-6)


def test_a_supervised_validation_separates_only_single_mixtures():
    sources = tf.random.stateless_normal([2, 2, 2, 500], [3, 4])
    counted = tf.ones([2, 2])
    singles = tf.reduce_sum(sources, axis=2)
    separated = validation(sources, counted, 1.0)[0]
    expected = tf.concat([singles[:, 0], singles[:, 1]], axis=0)
    np.testing.assert_array_equal(separated, expected)
    assert len(validation(sources, counted, 0.0)[0]) == 6
