"""Stack of LSTM or GRU layers, of one or two directions.

The LSTM is faster than Keras' on a CPU: one set of weights serves three programs, a
loop of the graph with a custom gradient for training
(:mod:`common.layers.lstm_training`), a compiled block for inference
(:mod:`common.layers.lstm_inference`) and cuDNN on GPUs
(:mod:`common.layers.lstm_cudnn`). The GRU is a plain loop of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common.layers import lstm_cudnn, lstm_inference, lstm_training
from common.layers.lstm_training import State, Weights

DIRECTIONS = ("forward", "backward")

Run = Callable[[tf.Tensor, Weights, State, bool], tuple[tf.Tensor, State]]
"""Program of one direction, such as :func:`common.layers.lstm_inference.direction`."""

Initial = Literal["uniform", "xavier"]
"""How weights start: uniform in +-1 / sqrt(units), or normal by Glorot and Bengio."""

CellType = Literal["lstm", "gru"]
GATES = {"lstm": 4, "gru": 3}

Start = Callable[[tuple[int, ...]], keras.initializers.Initializer]
"""Initializer of a weight from its shape."""


class RecurrentStack(keras.layers.Layer):
    """Stack of recurrent layers, LSTM or GRU.

    Every direction has two biases, as cuDNN and PyTorch have: the steps of an optimizer
    move their sum twice as far as one bias.

    Args:
        inputs: Width of the input.
        units: Width of the output of each direction.
        layers: Number of layers.
        bidirectional: Whether a second direction runs from the last frame to the first.
        dropout: Fraction of the outputs of all but the last layer that is set to zero
            in training; the others are scaled to keep the mean.
        forget_bias: Initial value of the forget gate in each of the two biases, whose
            other gates then start at 0. By default biases are initialised by
            ``initial``, as always in a GRU, which has no forget gate.
        initial: ``"uniform"``: every weight is uniform in +-1 / sqrt(units), as in
            PyTorch. ``"xavier"``: matrices are normal with variance 2 / (rows +
            columns), all four gates counted (Glorot and Bengio, AISTATS 2010, eq.
            12), and biases 0.
        kind: ``"lstm"``, or ``"gru"`` as in :func:`gru_direction`.
        dropout_last: Whether outputs of the last layer are dropped as well.
        name: Name of the layer, which the names of its weights begin with.

    Raises:
        ValueError: A width or number below 1, a dropout outside [0, 1), or an unknown
            start.

    >>> stack = RecurrentStack(3, 5, layers=2)
    >>> stack(tf.zeros([4, 7, 3])).shape
    TensorShape([4, 7, 10])
    """

    def __init__(  # noqa: PLR0913 (each is one independent choice)
        self,
        inputs: int,
        units: int,
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        *,
        forget_bias: float | None = None,
        initial: Initial = "uniform",
        kind: CellType = "lstm",
        dropout_last: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        _check(inputs, units, layers, dropout)
        if kind not in GATES:
            raise ValueError(
                f"kind={kind!r} of a recurrent stack; expected 'lstm' or 'gru'"
            )
        gates = GATES[kind]
        start = _start(initial, forget_bias if kind == "lstm" else None, gates)
        self.kind, self.dropout_last = kind, dropout_last
        self.inputs, self.units, self.dropout = inputs, units, dropout
        self.directions = 2 if bidirectional else 1
        self.cells = []
        for layer in range(layers):
            names = (f"{self.name}/layer{layer}/{d}" for d in DIRECTIONS)
            width = units * self.directions if layer else inputs
            cells = zip(range(self.directions), names, strict=False)
            self.cells.append(
                [Direction(width, units, gates, start, name) for _, name in cells]
            )
        # Seed and number of the masks drawn, so that a resumed run draws the same masks
        # as an uninterrupted one.
        drops = dropout and (layers > 1 or dropout_last)
        self.drawn: Any = self._drawn() if drops else None
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Run over all frames; differentiable.

        Args:
            inputs: Inputs [batch, frames, inputs].
            training: Whether to drop outputs between the layers.

        Returns:
            Outputs [batch, frames, units * directions], the forward direction first.
        """
        signal = self._time_major(inputs)
        masks = self._masks(signal) if training and self.drawn is not None else None
        for layer, cells in enumerate(self.cells):
            if masks is not None and layer:
                signal *= masks(layer)
            weights = [cell.tensors() for cell in cells]
            outputs = _trained(self.kind, signal, weights, training)
            signal = tf.concat(outputs, axis=-1)
        if masks is not None and self.dropout_last:
            signal *= masks(len(self.cells))
        return tf.transpose(signal, [1, 0, 2])

    def infer(self, inputs: tf.Tensor) -> tf.Tensor:
        """Run over all frames by the fastest program without a gradient.

        Args:
            inputs: Inputs [batch, frames, inputs].

        Returns:
            The same as from :meth:`call`.
        """
        signal, run = self._time_major(inputs), _fastest(self.kind)
        for cells in self.cells:
            outputs = []
            for reverse, cell in zip((False, True), cells, strict=False):
                weights = cell.tensors()
                state = _zeros(signal, weights)
                outputs.append(run(signal, weights, state, reverse)[0])
            signal = tf.concat(outputs, axis=-1)
        return tf.transpose(signal, [1, 0, 2])

    def initial_state(self, batch: int) -> list[State]:
        """Return the state before the first frame: output and cell of every layer."""
        zero = tf.zeros([batch, self.units])
        return [(zero, zero) for _ in self.cells]

    def stream(
        self, inputs: tf.Tensor, state: list[State]
    ) -> tuple[tf.Tensor, list[State]]:
        """Continue from a state over any number of frames.

        Args:
            inputs: The next inputs [batch, frames, inputs].
            state: State of every layer after the frames before.

        Returns:
            Outputs [batch, frames, units], and the state after them.

        Raises:
            ValueError: The stack has two directions.
        """
        if self.directions == 2:
            raise ValueError(
                f"{self.name} has two directions, the second of which begins at the "
                "end; expected bidirectional=False to run frame by frame"
            )
        signal, after = self._time_major(inputs), []
        run = _fastest(self.kind)
        for (cell,), before in zip(self.cells, state, strict=True):
            signal, last = run(signal, cell.tensors(), before, False)
            after.append(last)
        return tf.transpose(signal, [1, 0, 2]), after

    def _time_major(self, inputs: tf.Tensor) -> tf.Tensor:
        inputs = tf.convert_to_tensor(inputs)
        if inputs.shape.rank != 3 or inputs.shape[2] != self.inputs:
            raise ValueError(
                f"{self.name} got an input of shape {inputs.shape}; expected "
                f"[batch, frames, {self.inputs}]"
            )
        return tf.transpose(inputs, [1, 0, 2])

    def _drawn(self) -> tf.Variable:
        """Create the variable of the seed and of the number of masks drawn."""
        seed = keras.initializers.RandomUniform(0, 2**31 - 1)
        return self.add_weight(
            f"{self.name}/drawn",
            [2],
            tf.int64,
            lambda shape, dtype, **_: tf.stack([seed([], dtype), tf.zeros([], dtype)]),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def _masks(self, signal: tf.Tensor) -> Callable[[int], tf.Tensor]:
        """Count this step; return a function from a layer to the mask of its input.

        The mask of a row depends on its index in the batch of all replicas, so that
        replicas draw the masks of one replica with the whole batch.
        """
        seed = tf.convert_to_tensor(self.drawn)
        self.drawn.assign_add([0, 1])
        frames, rows = tf.unstack(tf.shape(signal)[:2])
        context = tf.distribute.get_replica_context()
        first = rows * (context.replica_id_in_sync_group if context else 0)
        shape = [frames, self.units * self.directions]
        fold: Any = tf.random.fold_in

        def masks(layer: int) -> tf.Tensor:
            def row(index: tf.Tensor) -> tf.Tensor:
                noise = tf.random.stateless_uniform(
                    shape, fold(fold(seed, layer), index)
                )
                return tf.cast(noise >= self.dropout, tf.float32)

            indices = first + tf.range(rows)
            mask = tf.map_fn(row, indices, fn_output_signature=tf.float32)
            return tf.transpose(mask, [1, 0, 2]) / (1.0 - self.dropout)

        return masks


class Direction(keras.layers.Layer):
    """Weights of one direction of one layer.

    Args:
        inputs: Width of the input.
        units: Width of the output.
        gates: 4 of an LSTM, 3 of a GRU.
        start: Makes the initializer of a weight from its shape.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(
        self, inputs: int, units: int, gates: int, start: Start, name: str
    ) -> None:
        super().__init__(name=name, dtype="float32")

        def weight(part: str, *shape: int) -> tf.Variable:
            initializer = start(shape)
            return self.add_weight(f"{name}/{part}", shape, initializer=initializer)

        self.kernel = weight("kernel", inputs, gates * units)
        self.recurrent_kernel = weight("recurrent_kernel", units, gates * units)
        self.bias = weight("bias", gates * units)
        self.recurrent_bias = weight("recurrent_bias", gates * units)
        self.built = True

    def tensors(self) -> Weights:
        """Read the weights: kernel, recurrent kernel, and the bias of each."""
        kernel, recurrent, bias, recurrent_bias = map(
            tf.convert_to_tensor,
            (self.kernel, self.recurrent_kernel, self.bias, self.recurrent_bias),
        )
        return kernel, recurrent, bias, recurrent_bias


def _start(initial: Initial, forget_bias: float | None, gates: int) -> Start:
    """Return the initializers of matrices [rows, gates * units] and biases."""
    if initial not in ("uniform", "xavier"):
        raise ValueError(
            f"initial={initial!r} of a recurrent stack; expected 'uniform' or 'xavier'"
        )

    def start(shape: tuple[int, ...]) -> keras.initializers.Initializer:
        units = shape[-1] // gates
        if len(shape) == 1 and forget_bias is not None:
            biases = np.repeat([0.0, forget_bias, 0.0, 0.0], units)
            return keras.initializers.Constant(biases)
        if initial == "uniform":
            return keras.initializers.RandomUniform(-(units**-0.5), units**-0.5)
        if len(shape) == 1:
            return keras.initializers.Zeros()
        # Not GlorotNormal of Keras, which truncates the tails.
        return keras.initializers.RandomNormal(stddev=(2.0 / sum(shape)) ** 0.5)

    return start


def _trained(
    kind: CellType, signal: tf.Tensor, weights: list[Weights], training: bool
) -> list[tf.Tensor]:
    """Run all directions of a layer, differentiably."""
    if kind == "gru" or lstm_cudnn.available():
        run = _fastest(kind)
        return [
            run(signal, weight, _zeros(signal, weight), reverse)[0]
            for weight, reverse in zip(weights, (False, True), strict=False)
        ]
    projections = [lstm_training.input_projection(signal, w) for w in weights]
    recurrent = [weight[1] for weight in weights]
    if training and _worth_compiling(signal, recurrent[0]):
        return lstm_training.compiled_recurrence(projections, recurrent)
    return lstm_training.recurrence(projections, recurrent)


def _worth_compiling(signal: tf.Tensor, recurrent: tf.Tensor) -> bool:
    """Return whether a narrow layer is trained in a graph on excerpts of one length.

    XLA compiles a program for each shape.
    """
    narrow = (recurrent.shape[0] or 0) <= lstm_training.NARROW
    fixed = not tf.executing_eagerly() and signal.shape.is_fully_defined()
    return narrow and fixed and lstm_inference.compiles()


def _fastest(kind: CellType) -> Run:
    if kind == "gru":
        return gru_direction
    if lstm_cudnn.available():
        return lstm_cudnn.direction
    if lstm_inference.compiles():
        return lstm_inference.direction
    return lstm_training.direction


def _zeros(signal: tf.Tensor, weights: Weights) -> State:
    zero = tf.zeros([tf.shape(signal)[1], weights[1].shape[0]])
    return zero, zero


def _check(inputs: int, units: int, layers: int, dropout: float) -> None:
    for name, value in (("inputs", inputs), ("units", units), ("layers", layers)):
        if value < 1:
            raise ValueError(
                f"{name}={value} of a recurrent stack; expected at least 1"
            )
    if not 0.0 <= dropout < 1.0:
        raise ValueError(
            f"dropout={dropout} of a recurrent stack; expected a fraction in [0, 1)"
        )


def gru_direction(
    inputs: tf.Tensor, weights: Weights, state: State, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """Run one direction from a state; differentiable.

    With the projections x(t) = inputs W + b and r(t) = h(t-1) U + c of the input and of
    the previous output, h = z h(t-1) + (1 - z) tanh(x_n + sigmoid(x_r + r_r) r_n),
    where z = sigmoid(x_z + r_z). The reset gate acts after the product, as in cuDNN and
    PyTorch; in the paper (Cho et al., EMNLP 2014) it acts before.

    Args:
        inputs: Inputs [frames, batch, inputs].
        weights: W [inputs, 3 * units], U [units, 3 * units], b and c, their gates in
            the order of Keras: update, reset, new.
        state: Output [batch, units] of the previous frame, as both parts of the state
            of an LSTM.
        reverse: Whether to run from the last frame to the first.

    Returns:
        Outputs [frames, batch, units], and the state after the last frame that was run.

    >>> weights = tf.ones([2, 9]), tf.ones([3, 9]), tf.zeros(9), tf.zeros(9)
    >>> zero = tf.zeros([4, 3])
    >>> gru_direction(tf.ones([5, 4, 2]), weights, (zero, zero))[0].shape
    TensorShape([5, 4, 3])
    """
    kernel, recurrent, bias, recurrent_bias = weights
    projections = tf.tensordot(inputs, kernel, 1) + bias

    def frame(before: tf.Tensor, projection: tf.Tensor) -> tf.Tensor:
        x_z, x_r, x_n = tf.split(projection, 3, axis=-1)
        r_z, r_r, r_n = tf.split(before @ recurrent + recurrent_bias, 3, axis=-1)
        update = tf.sigmoid(x_z + r_z)
        candidate = tf.tanh(x_n + tf.sigmoid(x_r + r_r) * r_n)
        return update * before + (1.0 - update) * candidate

    outputs = tf.scan(frame, projections, state[0], reverse=reverse)
    last = outputs[0 if reverse else -1]
    return outputs, (last, last)
