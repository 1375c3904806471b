"""Optimizers with the algorithms of PyTorch, and learning rates with warm-up.

The optimizers differ in details from those of Keras.

For small squared gradients it matters whether epsilon is added before or after a root
or a bias correction. Weight decay is part of the gradient, so it affects the moments,
and applies to every trained tensor, including biases, normalisation and scales. It is
added after the sum over replicas, so its strength does not depend on their number.

[1] Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
[2] Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR
2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias

import tensorflow as tf
import tf_keras as keras

from common.config import ConfigError
from common.training.schedule import Schedule

LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule
"""A learning rate: constant, or a schedule over the updates of an optimizer."""


class _Decaying:
    """Optimizer with weight decay in the gradient; the other base is Keras' own."""

    DEFAULTS: ClassVar[Mapping[str, float]]
    """Options of the optimizer of Keras that differ from its own defaults."""

    def __init__(
        self, learning_rate: float = 1e-3, decay: float = 0.0, **options: Any
    ) -> None:
        options = {**self.DEFAULTS, "jit_compile": False, **options}
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.decay = decay

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one tensor; ``iterations`` still counts the steps before this one."""
        gradient = tf.convert_to_tensor(gradient)
        self.move(
            gradient + self.decay * variable if self.decay else gradient, variable
        )

    def move(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one tensor by its gradient, which includes the decay."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal optimizer."""
        return {**super().get_config(), "decay": self.decay}  # type: ignore[misc]


class Adam(_Decaying, keras.optimizers.Adam):
    r"""Adam as in algorithm 1 of [1], with weight decay in the gradient.

    .. math:: \theta \gets \theta - \eta \frac{m / (1 - \beta_1^t)}
        {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        learning_rate: Step size.
        decay: Weight decay: factor of each weight that is added to its gradient.
    """

    DEFAULTS = MappingProxyType({"epsilon": 1e-8})

    def move(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one tensor by its gradient, which includes the decay."""
        index = self._index_dict[self._var_key(variable)]
        mean, square = self._momentums[index], self._velocities[index]
        mean.assign_add((gradient - mean) * (1.0 - self.beta_1))
        square.assign_add((tf.square(gradient) - square) * (1.0 - self.beta_2))
        # In float32 the first steps would lose digits of 1 - beta^t.
        step = tf.cast(self.iterations + 1, tf.float64)
        rate = tf.cast(self.learning_rate, tf.float64) / (1.0 - self.beta_1**step)
        root = tf.sqrt(1.0 - self.beta_2**step)
        deviation = tf.sqrt(square) / tf.cast(root, variable.dtype) + self.epsilon
        variable.assign_sub(tf.cast(rate, variable.dtype) * mean / deviation)


class RmsProp(_Decaying, keras.optimizers.RMSprop):
    r"""Steps divided by the root of the mean square of the gradient.

    .. math:: s \gets 0.99 s + 0.01 g^2, \quad
        \theta \gets \theta - \eta g / (\sqrt s + \epsilon)

    Args:
        learning_rate: Step size.
        decay: Weight decay: factor of each weight that is added to its gradient.
    """

    DEFAULTS = MappingProxyType({"rho": 0.99, "epsilon": 1e-8})

    def move(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one tensor by its gradient, which includes the decay."""
        square = self._velocities[self._index_dict[self._var_key(variable)]]
        square.assign_add((tf.square(gradient) - square) * (1.0 - self.rho))
        rate = tf.cast(self.learning_rate, variable.dtype)
        variable.assign_sub(rate * gradient / (tf.sqrt(square) + self.epsilon))


class Sgd(_Decaying, keras.optimizers.SGD):
    r"""Stochastic gradient descent with momentum.

    .. math:: m \gets 0.9 m + g, \quad \theta \gets \theta - \eta m

    Args:
        learning_rate: Step size, which multiplies the momentum at each step.
        decay: Weight decay: factor of each weight that is added to its gradient.
    """

    DEFAULTS = MappingProxyType({"momentum": 0.9})

    def move(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one tensor by its gradient, which includes the decay."""
        momentum = self.momentums[self._index_dict[self._var_key(variable)]]
        momentum.assign(self.momentum * momentum + gradient)
        rate = tf.cast(self.learning_rate, variable.dtype)
        variable.assign_sub(rate * momentum)


class WarmedRate(keras.optimizers.schedules.LearningRateSchedule, tf.Module):
    r"""Learning rate with a linear warm-up over w steps, then a cosine to step n, [2].

    .. math:: \eta_t = \eta \min\left(1, \frac{t + 1}{w}\right)
        \frac{1 + \cos(\pi \max(0, t - w) / (n - w))}{2}

    Args:
        base: eta: a number, a variable that callbacks may assign, or a schedule.
        warmup_steps: w, 0 for no warm-up.
        cosine_steps: n; 0 for no cosine.

    >>> rate = WarmedRate(0.1, warmup_steps=2, cosine_steps=6)
    >>> [round(float(rate(step)), 3) for step in (0, 1, 2, 4, 6)]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """

    def __init__(self, base: Any, warmup_steps: int, cosine_steps: int) -> None:
        super().__init__()
        self.base = base
        self.warmup_steps = warmup_steps
        self.cosine_steps = cosine_steps

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """Return the learning rate of a step, which counts from 0; float32 []."""
        base = self.base(step) if callable(self.base) else self.base
        # In float32 the steps of long runs would lose digits.
        now, factor = tf.cast(step, tf.float64), tf.constant(1.0, tf.float64)
        if self.warmup_steps:
            factor = tf.minimum(factor, (now + 1.0) / self.warmup_steps)
        if self.cosine_steps:
            length = max(1, self.cosine_steps - self.warmup_steps)
            part = tf.clip_by_value((now - self.warmup_steps) / length, 0.0, 1.0)
            factor *= (1.0 + tf.cos(math.pi * part)) / 2.0
        rate: tf.Tensor = tf.cast(base, tf.float32) * tf.cast(factor, tf.float32)
        return rate

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal learning rate."""
        steps = {"warmup_steps": self.warmup_steps, "cosine_steps": self.cosine_steps}
        return {"base": self.base, **steps}


def check_rates(lr: float, weight_decay: float, lr_decay_gamma: float) -> None:
    """Check the numbers of a configuration that an optimizer and its decay depend on.

    Raises:
        ConfigError: One is out of range.

    >>> check_rates(1e-3, 0.0, 0.5)
    """
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        if value < 0.0:
            raise ConfigError(f"{name}={value:g}: expected at least 0")
    if not 0.0 < lr_decay_gamma <= 1.0:
        raise ConfigError(
            f"lr_decay_gamma={lr_decay_gamma:g}: expected above 0 and at most 1"
        )


def learning_rate(
    schedule: Schedule,
    start: float,
    own: keras.optimizers.schedules.LearningRateSchedule | None = None,
    updates: int = 1,
) -> LearningRate:
    """Return the learning rate that a configuration asks for.

    Args:
        schedule: Warm-up, choice of the decay, and length of the run in steps.
        start: Learning rate at the start of the decay.
        own: Decay of the package as a schedule of Keras, used instead of ``start``.
        updates: Updates of the optimizer in a step of the run.

    Returns:
        A number or schedule for an optimizer of Keras; without warm-up and cosine that
        of the package.

    >>> learning_rate(Schedule(), 0.1)
    0.1
    """
    if schedule.lr_schedule == "cosine":
        steps = schedule.epochs * schedule.steps_per_epoch
        return WarmedRate(start, updates * schedule.warmup_steps, updates * steps)
    if not schedule.warmup_steps:
        return own or start
    base = own or tf.Variable(
        tf.constant(start), trainable=False, name="base_learning_rate"
    )
    return WarmedRate(base, updates * schedule.warmup_steps, 0)


def base_rate(optimizer: keras.optimizers.Optimizer) -> tf.Variable:
    """Return the variable of the learning rate that callbacks lower.

    >>> float(base_rate(optimizer("sgd", 0.5, 0.0)).numpy())
    0.5
    """
    schedule = optimizer._learning_rate
    base: tf.Variable = schedule.base if isinstance(schedule, WarmedRate) else schedule
    return base


def optimizer(
    name: Literal["adam", "rmsprop", "sgd"], learning_rate: LearningRate, decay: float
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a configuration, not yet built.

    Args:
        name: ``adam``, ``rmsprop`` of 2019, or ``sgd`` with a momentum of 0.9.
        learning_rate: Step size at the start, or as :func:`learning_rate` returns it.
        decay: Weight decay: factor of each weight that is added to its gradient.

    Returns:
        The optimizer. Its state and learning rate are saved in the checkpoints of a
        model that is compiled with it.

    Raises:
        ValueError: There is no such optimizer.

    >>> optimizer("adam", 1e-3, 1e-5).epsilon
    1e-08
    """
    classes = {"adam": Adam, "rmsprop": RmsProp, "sgd": Sgd}
    if name not in classes:
        raise ValueError(f"optimizer is {name!r}; expected one of {', '.join(classes)}")
    return classes[name](learning_rate, decay)
