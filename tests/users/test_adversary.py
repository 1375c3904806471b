"""common used by two optimizers: five batches of one for each of the other.

An element of the data holds all that a step eats, so the step's state is again nothing
but its number, and the checkpoint holds both optimizers.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import records, training
from common.corpora.track import Track
from common.training import distribution, resume
from common.training.schedule import Schedule

CRITIC_STEPS = 5


class Rivals(keras.Model):
    """A separator of frames against a critic of what it makes."""

    def __init__(self, replicas):
        super().__init__()
        self.network = keras.Sequential([keras.layers.Dense(16, input_shape=(16,))])
        self.critic = keras.Sequential(
            [
                keras.layers.Dense(8, "relu", input_shape=(16,)),
                keras.layers.Dense(1),
            ]
        )
        self.critic_optimizer = keras.optimizers.Adam(1e-2, jit_compile=False)
        self.critic_optimizer.build(self.critic.trainable_variables)
        self.replicas = replicas
        self.loss_mean = keras.metrics.Mean("loss")
        self.distance = keras.metrics.Mean("distance")
        self.built = True

    def train_step(self, batch):
        for step in range(CRITIC_STEPS):
            mixture, real = batch["unpaired"][:, step, 0], batch["unpaired"][:, step, 1]
            with tf.GradientTape() as tape:
                fake = self.critic(tf.stop_gradient(self.network(mixture)))
                losses = fake - self.critic(real) + 0.1 * tf.square(self.critic(real))
                loss = tf.reduce_mean(losses) / self.replicas
            self._apply(tape, loss, self.critic, self.critic_optimizer)
            self.distance.update_state(losses)
        with tf.GradientTape() as tape:
            estimate = self.network(batch["paired"][:, 0])
            losses = tf.reduce_mean(tf.square(estimate - batch["paired"][:, 1]), -1)
            losses -= 1e-2 * self.critic(estimate)[:, 0]
            loss = tf.reduce_mean(losses) / self.replicas
        self._apply(tape, loss, self.network, self.optimizer)
        self.loss_mean.update_state(losses)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, batch):
        estimate = self.network(batch["paired"][:, 0])
        losses = tf.reduce_mean(tf.square(estimate - batch["paired"][:, 1]), -1)
        self.loss_mean.update_state(losses, batch["weight"])
        return {"loss": self.loss_mean.result()}

    @staticmethod
    def _apply(tape, loss, part, optimizer):
        weights = part.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, weights), weights, strict=True)
        )


@dataclass(frozen=True)
class Config:
    output: str
    data: str
    train: Schedule
    batch_size: int = 4


def build(config, strategy):
    index = records.load_index(config.data)

    def excerpt(position, stream):
        track = records.shuffled(position, len(index), seed=stream)
        whole = records.excerpt(index, track, 0, 16)
        return tf.stack([whole["mixture"][0], whole["sources"][0, 0]])

    def example(position):
        several = [
            excerpt(CRITIC_STEPS * position + step, stream=1)
            for step in range(CRITIC_STEPS)
        ]
        return {"unpaired": tf.stack(several), "paired": excerpt(position, stream=2)}

    model = Rivals(strategy.num_replicas_in_sync)
    model.compile(keras.optimizers.Adam(1e-2, jit_compile=False))
    model.optimizer.build(model.network.trainable_variables)
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, example, config.batch_size, step
        ),
        valid=lambda: distribution.validation_batches(
            strategy, example, len(index), config.batch_size
        ),
        records=[index],
        callbacks=lambda step: {
            "plateau": keras.callbacks.ReduceLROnPlateau(
                "val_loss", patience=1, factor=0.5
            )
        },
    )


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    tracks = [
        Track(
            name=f"track{number}",
            sample_rate=8,
            samples=16,
            sources={"voice": sounds[:1], "rest": sounds[1:]},
        )
        for number, sounds in enumerate(rng.uniform(-0.5, 0.5, (12, 2, 16)))
    ]
    data = tmp_path / "records"
    records.write(tracks, data, encoding="float32")
    schedule = Schedule(epochs=3, steps_per_epoch=4, checkpoint_steps=3)
    return Config(str(tmp_path / "run"), str(data), schedule)


def weights(model):
    return [variable.numpy() for variable in model.variables]


@pytest.mark.slow
def test_both_optimizers_resume_to_the_bit(config, tmp_path, monkeypatch):
    straight = training.train(config, build)
    broken = Config(str(tmp_path / "broken"), config.data, config.train)
    saver = resume.Saver.on_train_batch_end

    def kill(self, batch, logs=None):
        saver(self, batch, logs)
        if self._step == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume.Saver, "on_train_batch_end", kill)
        with pytest.raises(KeyboardInterrupt):
            training.train(broken, build)
    assert not Path(broken.output, "latest", "step-8.index").exists()
    resumed = training.train(broken, build)
    for a, b in zip(weights(straight), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    optimizers = [m.critic_optimizer.iterations.numpy() for m in (straight, resumed)]
    assert optimizers == [60, 60]
    rates = [float(m.optimizer.learning_rate.numpy()) for m in (straight, resumed)]
    assert rates[0] == rates[1]


def test_two_replicas_equal_one(config, tmp_path):
    """After a few steps: later ones amplify the rounding of another order of sums."""
    short = Schedule(epochs=1, steps_per_epoch=4)
    one = training.train(Config(config.output, config.data, short), build)
    schedule = replace(short, strategy="mirrored", replicas=2)
    spread = Config(str(tmp_path / "two"), config.data, schedule, batch_size=2)
    two = training.train(spread, build)
    for a, b in zip(weights(one), weights(two), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
