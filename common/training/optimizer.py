"""Optimizers with the algorithms of PyTorch, which differ in details from Keras.

For small squared gradients it matters whether epsilon is added before or after a root
or a bias correction. Weight decay is part of the gradient, so it affects the moments,
and applies to every trained tensor, including biases, normalisation and scales. It is
added after the sum over replicas, so its strength does not depend on their number.

[1] Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras as keras


class _Decaying:
    """Weight decay as part of the gradient."""

    decay: float

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

    def __init__(
        self,
        learning_rate: float = 1e-3,
        decay: float = 0.0,
        name: str = "Adam",
        **options: Any,
    ) -> None:
        options = {"epsilon": 1e-8, "jit_compile": False, **options}
        super().__init__(learning_rate, name=name, **options)
        self.decay = decay

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

    def __init__(
        self,
        learning_rate: float = 1e-3,
        decay: float = 0.0,
        name: str = "RMSprop",
        **options: Any,
    ) -> None:
        options = {"rho": 0.99, "epsilon": 1e-8, "jit_compile": False, **options}
        super().__init__(learning_rate, name=name, **options)
        self.decay = decay

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

    def __init__(
        self,
        learning_rate: float = 1e-3,
        decay: float = 0.0,
        name: str = "SGD",
        **options: Any,
    ) -> None:
        options = {"momentum": 0.9, "jit_compile": False, **options}
        super().__init__(learning_rate, name=name, **options)
        self.decay = decay

    def move(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one tensor by its gradient, which includes the decay."""
        momentum = self.momentums[self._index_dict[self._var_key(variable)]]
        momentum.assign(self.momentum * momentum + gradient)
        rate = tf.cast(self.learning_rate, variable.dtype)
        variable.assign_sub(rate * momentum)


def optimizer(
    name: Literal["adam", "rmsprop", "sgd"], learning_rate: float, decay: float
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a configuration, not yet built.

    Args:
        name: ``adam``, ``rmsprop`` of 2019, or ``sgd`` with a momentum of 0.9.
        learning_rate: Step size at the start.
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
