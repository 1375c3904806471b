"""The callbacks that make a run resumable: all its state goes to the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from common.checkpoint import Checkpoints
from common.schedule import Schedule

State = dict[str, Any]


class TrainingError(ValueError):
    """A run that cannot go on, such as one with a loss that is not finite."""


class Saver(keras.callbacks.Callback):
    """Save the run and bring its callbacks and metrics back; the last to be called.

    Args:
        store: The checkpoints of the run folder.
        schedule: When to save.
        others: The other callbacks, whose public plain attributes are their state.
        step: Step at which the run goes on.
        state: What was saved with it.
    """

    def __init__(
        self,
        store: Checkpoints,
        schedule: Schedule,
        others: Sequence[keras.callbacks.Callback],
        step: int,
        state: State,
    ) -> None:
        super().__init__()
        self.all = [*others, self]
        self._store = store
        self._schedule = schedule
        self._others = others
        self._step = step
        self._state = state.get("callbacks", {})
        self._best = state.get("best", math.inf)
        self._metrics: list[np.ndarray] | None = None
        self._broken = step % schedule.steps_per_epoch > 0

    @property
    def stopped(self) -> bool:
        """Whether a callback had ended the run, which fit would not look at again."""
        return any(state.get("stopped", False) for state in self._state.values())

    def set_model(self, model: Any) -> None:
        """Take the metric accumulators of a broken epoch before fit resets them."""
        super().set_model(model)
        if self._broken:
            self._metrics = [v.numpy() for v in _accumulators(model)]
            self._broken = False

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Give the other callbacks their state back, which they have just reset."""
        for key, callback in _named(self._others):
            vars(callback).update(self._state.get(key, {}))

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Give a broken epoch its metric accumulators back."""
        if self._metrics is not None:
            for variable, value in zip(
                _accumulators(self.model), self._metrics, strict=True
            ):
                variable.assign(value)
            self._metrics = None

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Save within the epoch; its end is saved after validation."""
        self._step += 1
        at_end = self._step % self._schedule.steps_per_epoch == 0
        if self._step % self._schedule.checkpoint_steps == 0 and not at_end:
            self._store.save(self._step, self._states())

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save the epoch, the best one and those that stay."""
        schedule, value = self._schedule, (logs or {}).get(self._schedule.best)
        better = value is not None and float(value) < self._best
        if better:
            self._best = float(value)  # type: ignore[arg-type]
        self._state = _states(self._others)
        if better:
            self._store.save_best(self._step, self._states())
        if schedule.keep_every_epochs and (epoch + 1) % schedule.keep_every_epochs == 0:
            self._store.save_kept(self._step, self._states())
        self._store.save(self._step, self._states())

    def _states(self) -> State:
        return {"best": self._best, "callbacks": _states(self._others)}


class DemandFinite(keras.callbacks.Callback):
    """Stop the run at the first scalar that is not finite.

    A network beside the one that separates may break long before the loss tells of it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Look at the running means, which one bad step makes bad."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        bad = [each for each in values.items() if not math.isfinite(each[1])]
        if bad:
            # Where the loss is bad too, it is what people look for.
            name, value = min(bad, key=lambda each: each[0] != "loss")
            step = int(self.model.optimizer.iterations.numpy())
            raise TrainingError(
                f"{name} is {value} at step {step}; the last good checkpoint is kept "
                f"in {self._folder}/latest, look at the data or lower the learning rate"
            )


def _accumulators(model: Any) -> list[Any]:
    return [variable for metric in model.metrics for variable in metric.variables]


def _named(callbacks: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f"{i}_{type(c).__name__}", c) for i, c in enumerate(callbacks)]


def _states(callbacks: Sequence[Any]) -> State:
    """Take every public plain attribute: the counters of Keras' own callbacks."""
    return {key: _plain(vars(callback)) for key, callback in _named(callbacks)}


def _plain(attributes: Mapping[str, Any]) -> State:
    values = {k: v.item() if hasattr(v, "item") else v for k, v in attributes.items()}
    kinds = (bool, int, float, str, type(None))
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, kinds) and not key.startswith("_")
    }
