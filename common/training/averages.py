"""Moving average of the weights, for validation, checkpoints and separation.

[1] Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J.
Control and Optimization 30(4), 1992.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import tensorflow as tf
import tf_keras as keras


class Averages(keras.callbacks.Callback):
    r"""Average the weights of the network over the steps.

    .. math:: \bar\theta \gets m \bar\theta + (1 - m) \theta

    Training continues with the weights themselves. The network holds the averages from
    the start of a validation to the end of its epoch, and in every checkpoint, whose
    ``model/averages`` then holds the weights. The optimizers of Keras can average too,
    but end each ``fit`` with the averages as weights, so that a run could not continue.
    The statistics of a batch normalisation are averages already.

    Must follow all callbacks that validate or save.

    Args:
        model: A built model with a ``network`` or a mapping of networks, before the
            first step, in the scope of its strategy. Its ``train_step`` is extended.
        momentum: m; 0 disables the average.

    Attributes:
        in_use: Whether the network holds the averages.
    """

    def __init__(self, model: keras.Model, momentum: float) -> None:
        super().__init__()
        self.in_use = False
        self._momentum = momentum
        self._weights: list[tf.Variable] = []
        self._averages: list[tf.Variable] = []
        if momentum:
            networks = tf.nest.flatten(model.network)
            self._weights = [
                w for network in networks for w in network.trainable_variables
            ]
            self._averages = [_copy(weight) for weight in self._weights]
            model.averages = self._averages
            self._extend(model)

    def restart(self) -> None:
        """Start the averages with the current weights."""
        for weight, average in self._pairs():
            average.assign(weight)

    def restored(self) -> None:
        """Continue from a checkpoint, whose network holds the averages."""
        self.in_use = True
        self.use(False)

    def use(self, in_use: bool) -> None:
        """Exchange weights and averages, unless the network holds those asked for."""
        if in_use == self.in_use:
            return
        for weight, average in self._pairs():
            kept = tf.identity(weight)
            weight.assign(tf.identity(average))
            average.assign(kept)
        self.in_use = in_use

    @contextmanager
    def used(self) -> Iterator[None]:
        """Hold the averages in the network within a block."""
        before = self.in_use
        self.use(True)
        try:
            yield
        finally:
            self.use(before)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Validate with the averages."""
        self.use(True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Train with the weights."""
        self.use(False)

    def _extend(self, model: keras.Model) -> None:
        """Update the averages after each step, in its graph."""
        step = model.train_step

        @tf.autograph.experimental.do_not_convert
        def train_step(batch: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
            logs: Mapping[str, tf.Tensor] = step(batch)
            for weight, average in self._pairs():
                average.assign(
                    self._momentum * average + (1.0 - self._momentum) * weight
                )
            return logs

        model.train_step = train_step

    def _pairs(self) -> Iterator[tuple[tf.Variable, tf.Variable]]:
        return zip(self._weights, self._averages, strict=True)


def _copy(weight: tf.Variable) -> tf.Variable:
    # All replicas have the same weights: each keeps a copy, the first is saved.
    return tf.Variable(
        weight,
        trainable=False,
        name=f"average/{weight.name.partition(':')[0]}",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
