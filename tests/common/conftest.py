"""Runs of a toy model: one weight that learns the mean of its examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import training
from common.training import distribution
from common.training.accumulation import accumulate
from common.training.optimizer import learning_rate
from common.training.plateau import EarlyStopping
from common.training.resume import RequireFinite
from common.training.schedule import Schedule


@dataclass(frozen=True)
class Toy:
    """Configuration of the toy; ``seen`` collects positions of the examples."""

    train: Schedule = Schedule(
        epochs=3, steps_per_epoch=4, checkpoint_steps=1, log_steps=1, strategy="one"
    )
    batch_size: int = 4
    lr: float = 0.25
    output: str | None = None


class Mean(keras.Model):
    """The toy model with its loss."""

    def __init__(self, replicas: int, parts: int = 1) -> None:
        super().__init__(name="toy")
        self.parts = parts
        self.network = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        self.network.build([None, 1])
        self.replicas = replicas
        self.loss_mean = keras.metrics.Mean("loss")
        self.largest = keras.metrics.Mean("position")
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch):
        gradients, losses = accumulate(self.gradients_of, batch, self.parts)
        weights = self.network.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_mean.update_state(losses)
        self.largest.update_state(batch["position"])
        return {m.name: m.result() for m in (self.loss_mean, self.largest)}

    def gradients_of(self, batch):
        with tf.GradientTape() as tape:
            output = self.network(tf.ones_like(batch["value"])[:, tf.newaxis])[:, 0]
            losses = tf.square(output - batch["value"])
            loss = tf.reduce_mean(losses) / self.replicas
        return tape.gradient(loss, self.network.trainable_variables), losses

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch):
        output = self.network(tf.ones_like(batch["value"])[:, tf.newaxis])[:, 0]
        self.loss_mean.update_state(tf.square(output - batch["value"]), batch["weight"])
        return {"loss": self.loss_mean.result()}


def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return an example that depends on its position alone."""
    position = tf.cast(position, tf.float32)
    return {"value": 1.0 + tf.sin(position), "position": position}


def build(config: Toy, strategy: tf.distribute.Strategy) -> training.Job:
    """Return the job of the toy model."""
    parts = config.train.accumulate
    model = Mean(strategy.num_replicas_in_sync, parts)
    rate = learning_rate(config.train, config.lr)
    model.compile(keras.optimizers.Adam(rate, jit_compile=False))
    model.optimizer.build(model.network.trainable_variables)
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, example, config.batch_size * parts, step
        ),
        valid=lambda: distribution.validation_batches(
            strategy, example, 5, config.batch_size
        ),
        records=(),
        digest="toy",
        callbacks=lambda step: {"early_stopping": EarlyStopping(10)},
    )


class Killed(BaseException):
    """Simulates a kill, which leaves only the files."""


@dataclass
class Runs:
    """Runs of the toy model, undisturbed or killed."""

    folder: Path
    patch: pytest.MonkeyPatch

    build = staticmethod(build)
    example = staticmethod(example)

    def config(self, name: str = "run", **changes: Any) -> Toy:
        """Return the configuration of a run in a new folder."""
        schedule = {k: v for k, v in changes.items() if hasattr(Schedule, k)}
        own = {k: v for k, v in changes.items() if k not in schedule}
        toy = Toy(output=str(self.folder / name), **own)
        return replace(toy, train=replace(toy.train, **schedule))

    def kill(self, config: Toy, step: int, build: Any = build) -> None:
        """Train up to the middle of a step and leave only the files."""
        finite = RequireFinite.on_train_batch_end

        def end(callback, batch, logs=None):
            finite(callback, batch, logs)
            if int(callback.model.optimizer.iterations.numpy()) == step:
                raise Killed

        with self.patch.context() as patch:
            patch.setattr(RequireFinite, "on_train_batch_end", end)
            with pytest.raises(Killed):
                training.train(config, build)

    @staticmethod
    def weights(model: Any) -> list[np.ndarray]:
        """Return all variables of a model."""
        return [variable.numpy() for variable in model.variables]


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """Return a maker of runs of the toy model."""
    return Runs(tmp_path, monkeypatch)
