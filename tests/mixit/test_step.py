"""One training step against Google's: loss, every gradient, and Adam's weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit import convert
from mixit.config import FUSS
from mixit.train import compiled

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
    network = convert.load(prefix, num_dilations=3)
    model = compiled(replace(FUSS, model=network.config), replicas=1)
    convert.assign(model.network, convert.read(prefix))
    reader = tf.train.load_checkpoint(str(prefix / "model.ckpt-6"))
    optimizer = model.optimizer
    optimizer.iterations.assign(6)
    places = {v.ref(): i for i, v in enumerate(model.network.trainable_variables)}
    for name, variable in numbered(model.network, reader).items():
        slots = optimizer._momentums, optimizer._velocities
        for slot, suffix in zip(slots, ("Adam", "Adam_1"), strict=True):
            value = reader.get_tensor(f"{name}/{suffix}")
            slot[places[variable.ref()]].assign(value.reshape(variable.shape))
    return model


def numbered(network, reader):
    """Our variables by the very names of a checkpoint."""
    table = convert.names(network)
    given = {
        convert.canonical(name): name for name in reader.get_variable_to_shape_map()
    }
    return {given[name]: variable for name, variable in table.items()}


def test_gradients(model, batch, golden):
    network = model.network
    with tf.GradientTape() as tape:
        mixtures = tf.reduce_sum(batch["sources"], axis=2)
        estimates = network(tf.reduce_sum(mixtures, axis=1))
        loss = tf.reduce_mean(model._training_losses(batch, estimates))
    assert float(loss) == pytest.approx(float(golden["train|loss"]), rel=1e-5)
    wanted = {
        convert.canonical(k.removeprefix("grad|")): golden[k]
        for k in golden.files
        if k.startswith("grad|")
    }
    table = convert.names(network)
    assert set(wanted) == set(table)
    gradients = tape.gradient(loss, list(table.values()))
    for name, gradient in zip(table, gradients, strict=True):
        goal = wanted[name].reshape(gradient.shape)
        # Scalars before a normalisation are differences of large numbers.
        share = 2e-5 if goal.size > 1 else 1e-3
        atol = share * np.abs(goal).max()
        np.testing.assert_allclose(gradient, goal, rtol=0, atol=atol, err_msg=name)


def test_step_of_adam(model, batch, golden):
    before = [v.numpy() for v in model.network.variables]
    model.train_step(batch)
    table = convert.names(model.network)
    for key in golden.files:
        name = convert.canonical(key.removeprefix("after|"))
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
