"""Learning-rate plateau and early stopping on the validation loss.

Both count epochs as PyTorch and Open-Unmix do, not as the callbacks of Keras. Their
state is in public attributes of plain values, which are saved in the checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import tf_keras as keras

from common.training.optimizer import base_rate

LOSS = "val_loss"
"""Name of the validation loss in the logs of Keras."""
THRESHOLD = 1e-4
"""Relative improvement over the best loss of a good epoch."""
# A smaller change of the learning rate is skipped.
LEAST_CHANGE = 1e-8


class Plateau(keras.callbacks.Callback):
    """Lower the learning rate after more bad epochs in a row than ``patience``.

    An epoch is bad unless its loss is below the best one by a relative 1e-4.
    During the cooldown after a change no epoch counts as bad.

    Args:
        patience: Bad epochs in a row before the learning rate is lowered.
        factor: Factor of the learning rate.
        cooldown: Epochs after a change that do not count as bad.

    Attributes:
        best: Lowest loss so far.
        bad_epochs: Bad epochs in a row.
        cooldown_left: Epochs left of the cooldown.
    """

    def __init__(
        self, patience: int = 80, factor: float = 0.3, cooldown: int = 10
    ) -> None:
        super().__init__()
        self._patience = patience
        self._factor = factor
        self._cooldown = cooldown
        self.best = math.inf
        self.bad_epochs = 0
        self.cooldown_left = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count the epoch and lower the learning rate after too many bad ones."""
        if not self.step(_loss(logs)):
            return
        rate = base_rate(self.model.optimizer)
        old = float(rate.numpy())
        if old - old * self._factor > LEAST_CHANGE:
            rate.assign(old * self._factor)

    def step(self, loss: float) -> bool:
        """Count an epoch.

        Args:
            loss: Its validation loss.

        Returns:
            Whether to lower the learning rate.

        >>> plateau = Plateau(patience=1)
        >>> [plateau.step(loss) for loss in (1.0, 0.5, 0.6, 0.7)]
        [False, False, False, True]
        """
        if loss < self.best * (1.0 - THRESHOLD):
            self.best, self.bad_epochs = loss, 0
        else:
            self.bad_epochs += 1
        if self.cooldown_left:
            self.cooldown_left -= 1
            self.bad_epochs = 0
        if self.bad_epochs <= self._patience:
            return False
        self.bad_epochs, self.cooldown_left = 0, self._cooldown
        return True


class EarlyStopping(keras.callbacks.Callback):
    """Stop the training after ``patience`` epochs without a lower loss.

    A loss of NaN stops it at once. With a patience of 0 it stops after the second
    epoch, as the original does.

    Args:
        patience: Epochs without a lower loss before the training stops.

    Attributes:
        best: Lowest loss so far, None before the first.
        bad_epochs: Epochs since the lowest loss.
        stopped: Whether the training was stopped.
    """

    def __init__(self, patience: int = 140) -> None:
        super().__init__()
        self._patience = patience
        self.best: float | None = None
        self.bad_epochs = 0
        self.stopped = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count the epoch and stop the training after too many bad ones."""
        self.stopped = self.step(_loss(logs))
        if self.stopped:
            self.model.stop_training = True

    def step(self, loss: float) -> bool:
        """Count an epoch.

        Args:
            loss: Its validation loss.

        Returns:
            Whether to stop the training.

        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.step(loss) for loss in (1.0, 0.5, 0.6, 0.5)]
        [False, False, False, True]
        """
        if math.isnan(loss):
            return True
        if self.best is None:
            self.best = loss
            return False
        if loss < self.best or self._patience == 0:
            self.best, self.bad_epochs = loss, 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self._patience


def _loss(logs: Mapping[str, float] | None) -> float:
    """Return the validation loss of an epoch."""
    if not logs or LOSS not in logs:
        measured = ", ".join(logs or ())
        raise ValueError(
            f"{LOSS} is not among the values of the epoch ({measured}); the "
            "learning rate and the end of the training need a validation"
        )
    return float(logs[LOSS])
