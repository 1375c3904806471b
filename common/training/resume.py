"""Callbacks that save and restore all state of a run, so that it can resume.

:mod:`common.training.loop` describes what makes a resume exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common.training.checkpoint import Checkpoints
from common.training.schedule import Schedule

State = dict[str, Any]

EARLIER_NAMES = {"Plateau": "plateau", "EarlyStopping": "early_stopping"}
"""Names of callbacks whose state release 0.1.0 saved by position and class."""

KERAS_OWN = ("validation_data", "model", "params")
"""Attributes of every callback that are not state."""


class TrainingError(ValueError):
    """A run that cannot continue, such as one with a loss that is not finite."""


class Saver(keras.callbacks.Callback):
    """Save the run and restore its callbacks and metrics.

    It follows the callbacks whose state it saves, and precedes the averages of weights.

    Args:
        store: The checkpoints of the run folder.
        schedule: When to save.
        others: The other callbacks by name; their state is their public attributes of
            plain values.
        step: Step at which the run resumes.
        state: State that was saved at that step.

    Attributes:
        all: The callbacks of a run, in their order.
    """

    def __init__(
        self,
        store: Checkpoints,
        schedule: Schedule,
        others: Mapping[str, keras.callbacks.Callback],
        step: int,
        state: State,
    ) -> None:
        super().__init__()
        self.all = [*others.values(), self]
        self._store = store
        self._schedule = schedule
        self._others = others
        self._step = step
        self._state = _named(state["callbacks"]) if "callbacks" in state else None
        self._global_batch = state.get("global_batch")
        self._best = state.get("best", math.inf)
        self._metrics: list[np.ndarray] | None = None
        self._is_resumed_within_epoch = step % schedule.steps_per_epoch > 0

    @property
    def stopped(self) -> bool:
        """Whether a callback had stopped the run, which fit does not check again."""
        states = (self._state or {}).values()
        return any(state.get("stopped", False) for state in states)

    def set_model(self, model: keras.Model) -> None:
        """Copy the metrics of an unfinished epoch before fit resets them."""
        super().set_model(model)
        if self._is_resumed_within_epoch:
            self._metrics = [v.numpy() for v in _accumulators(model)]
            self._is_resumed_within_epoch = False

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Restore the state of the other callbacks, after they have reset it.

        Raises:
            TrainingError: The checkpoint has other callbacks, or other state of them.
        """
        if self._state is None:
            return
        _check_same(self._state, _states(self._others))
        for name, values in self._state.items():
            vars(self._others[name]).update(values)

    def on_epoch_begin(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Restore the metric accumulators of an unfinished epoch."""
        if self._metrics is not None:
            for variable, value in zip(
                _accumulators(self.model), self._metrics, strict=True
            ):
                variable.assign(value)
            self._metrics = None

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Save within the epoch; ``on_epoch_end`` saves after validation."""
        self._step += 1
        at_end = self._step % self._schedule.steps_per_epoch == 0
        if self._step % self._schedule.checkpoint_steps == 0 and not at_end:
            self._store.save(self._step, self._states())

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Save the latest, the best and the kept checkpoint."""
        schedule = self._schedule
        value = float((logs or {}).get(schedule.best, math.inf))
        better = value < self._best
        if better:
            self._best = value
        self._state = _states(self._others)
        if better:
            self._store.save_best(self._step, self._states())
        if schedule.keep_every_epochs and (epoch + 1) % schedule.keep_every_epochs == 0:
            self._store.save_kept(self._step, self._states())
        self._store.save(self._step, self._states())

    def _states(self) -> State:
        return {
            "best": self._best,
            "callbacks": _states(self._others),
            "global_batch": self._global_batch,
        }


class Progress(keras.callbacks.ProgbarLogger):
    """Show the epoch and step of the run, also after a resume within an epoch.

    Args:
        schedule: Number of epochs and of steps in each.
        done: Steps of the first epoch that were taken before the resume.
    """

    def __init__(self, schedule: Schedule, done: int) -> None:
        super().__init__(count_mode="steps")
        self._schedule = schedule
        self._done = done

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Replace the counts of ``fit`` by those of the run."""
        counts = {
            "epochs": self._schedule.epochs,
            "steps": self._schedule.steps_per_epoch,
        }
        super().set_params({**params, **counts})

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Count the steps of the epoch that were taken before the resume."""
        super().on_train_batch_end(batch + self._done, logs)


class RequireFinite(keras.callbacks.Callback):
    """Stop the run at the first scalar that is not finite.

    A second network, such as a discriminator, may diverge long before the loss does.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Check the running means, which one bad step makes non-finite."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        bad = [item for item in values.items() if not math.isfinite(item[1])]
        if bad:
            # If the loss is not finite either, it is the one to report.
            name, value = min(bad, key=lambda item: item[0] != "loss")
            step = int(self.model.optimizer.iterations.numpy())
            raise TrainingError(
                f"{name} is {value} at step {step}; the last good checkpoint is kept "
                f"in {self._folder}/latest, look at the data or lower the learning rate"
            )


def _accumulators(model: keras.Model) -> list[tf.Variable]:
    return [variable for metric in model.metrics for variable in metric.variables]


def _check_same(saved: Mapping[str, State], now: Mapping[str, State]) -> None:
    """Raise an error for state without a callback, or a callback without state."""
    names = [
        {f"{name}.{key}" for name, values in states.items() for key in values}
        for states in (saved, now)
    ]
    unknown, missing = sorted(names[0] - names[1]), sorted(names[1] - names[0])
    if unknown or missing:
        problem = f"has {unknown[0]}" if unknown else f"lacks {missing[0]}"
        raise TrainingError(
            f"the checkpoint {problem}, a state of callbacks that this release "
            f"{'does not know' if unknown else 'needs'}; go on with the release that "
            "saved it, or name another output"
        )


def _named(states: Mapping[str, State]) -> dict[str, State]:
    """Return state by name of callback, also that of release 0.1.0."""
    named = {}
    for key, values in states.items():
        kept = {k: v for k, v in values.items() if k not in KERAS_OWN}
        earlier = re.fullmatch(r"\d+_(\w+)", key)
        if kept:
            named[EARLIER_NAMES.get(earlier[1], key) if earlier else key] = kept
    return named


def _states(callbacks: Mapping[str, keras.callbacks.Callback]) -> dict[str, State]:
    """Return the public attributes of plain values of each callback."""
    states = {name: _plain(vars(callback)) for name, callback in callbacks.items()}
    return {name: values for name, values in states.items() if values}


def _plain(attributes: Mapping[str, Any]) -> State:
    values = {k: v.item() if hasattr(v, "item") else v for k, v in attributes.items()}
    types = (bool, int, float, str, type(None))
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, types) and not key.startswith("_") and key not in KERAS_OWN
    }
