"""One direction of an LSTM layer over many frames, as one XLA program for inference.

The program has a fixed number of frames and takes weights and state as arguments, so
one compilation serves all layers, directions, networks and lengths of equal widths. One
direction runs at a time, so that its matrix stays in the cache of the CPU; several at
once would be fetched from memory for every frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from common.layers.lstm_training import State, Weights

SIZES = (16, 256)
"""Frames of a program; the small size is for streams. One frame needs no program."""

Program = Callable[[tf.Tensor, Weights, State], tuple[tf.Tensor, State]]


@functools.lru_cache(maxsize=1)
def compiles() -> bool:
    """Return whether this TensorFlow has an XLA compiler for the device in use."""
    with tf.init_scope():
        try:
            tf.function(tf.square, jit_compile=True)(tf.constant(2.0))
        except (tf.errors.OpError, ValueError):
            return False
    return True


def direction(
    inputs: tf.Tensor, weights: Weights, state: State, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """Run one direction from a state, block by block.

    Args:
        inputs: Inputs [frames, batch, inputs] of any length.
        weights: The direction's weights.
        state: Output and cell [batch, units] of the frame before.
        reverse: Whether to run from the last frame to the first.

    Returns:
        Outputs [frames, batch, units], and the state after the last frame that was run.
    """
    frames = inputs.shape[0]
    size = next((s for s in SIZES if frames is not None and frames <= s), SIZES[-1])
    if frames == 1:
        size = 1
    width, units = weights[0].shape[0], weights[1].shape[0]
    return _program(width, units, size, reverse)(inputs, weights, state)


@functools.lru_cache(maxsize=64)
def _program(width: int, units: int, size: int, reverse: bool) -> Program:
    """Build the graph of one direction, which is traced once for all lengths."""

    def run(
        inputs: tf.Tensor, weights: Weights, state: State
    ) -> tuple[tf.Tensor, State]:
        if size == 1:
            return _single(inputs, weights, state)
        signal = tf.reverse(inputs, [0]) if reverse else inputs
        outputs, state = _run(signal, weights, state, size)
        return (tf.reverse(outputs, [0]) if reverse else outputs), state

    gates = 4 * units
    shapes = [width, gates], [units, gates], [gates], [gates]
    signature = (
        tf.TensorSpec([None, None, width]),
        tuple(tf.TensorSpec(shape) for shape in shapes),
        tuple(tf.TensorSpec([None, units]) for _ in range(2)),
    )
    program = tf.function(run, input_signature=signature, autograph=False)
    # Each program is traced once, but TensorFlow counts those of all sizes together.
    program._omit_frequent_tracing_warning = True
    return program


def _single(
    inputs: tf.Tensor, weights: Weights, state: State
) -> tuple[tf.Tensor, State]:
    """Run over one frame, for which the compiled block would be slower."""
    kernel, recurrent, bias, recurrent_bias = weights
    gates = tf.matmul(inputs[0], kernel) + tf.matmul(state[0], recurrent)
    output, cell = _gated(gates + (bias + recurrent_bias), state[1])
    return output[tf.newaxis], (output, cell)


def _run(
    inputs: tf.Tensor, weights: Weights, state: State, size: int
) -> tuple[tf.Tensor, State]:
    """Run forward over blocks of a size, the last one padded."""
    frames = tf.shape(inputs)[0]
    blocks = -(-frames // size)
    padded = tf.pad(inputs, [[0, blocks * size - frames], [0, 0], [0, 0]])
    outputs = tf.TensorArray(tf.float32, blocks, infer_shape=False)

    def step(
        number: tf.Tensor, state: State, outputs: tf.TensorArray
    ) -> tuple[tf.Tensor, State, tf.TensorArray]:
        start = number * size
        part = tf.ensure_shape(padded[start : start + size], [size, *inputs.shape[1:]])
        output, state = block(part, tf.minimum(frames - start, size), weights, state)
        return number + 1, state, outputs.write(number, output)

    _, state, outputs = tf.while_loop(
        lambda number, *_: number < blocks, step, (tf.constant(0), state, outputs)
    )
    return outputs.concat()[:frames], state


@tf.function(jit_compile=True, autograph=False)
def block(
    inputs: tf.Tensor, count: tf.Tensor, weights: Weights, state: State
) -> tuple[tf.Tensor, State]:
    """Run over the first frames of a block of fixed size.

    Args:
        inputs: Inputs [size, batch, inputs].
        count: Number of frames to run.
        weights: Weights of the direction.
        state: Output and cell [batch, units] of the frame before.

    Returns:
        Outputs [size, batch, units], zero beyond ``count``, and the last state.
    """
    kernel, recurrent, bias, recurrent_bias = weights
    size, batch = tf.unstack(tf.shape(inputs)[:2])
    rows = tf.reshape(inputs, [size * batch, kernel.shape[0]])
    projections = tf.matmul(rows, kernel) + (bias + recurrent_bias)
    projections = tf.reshape(projections, [size, batch, kernel.shape[1]])
    outputs = tf.zeros([size, batch, recurrent.shape[0]])

    def step(
        time: tf.Tensor, state: State, outputs: tf.Tensor
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        output, cell = state
        gates = projections[time] + tf.matmul(output, recurrent)
        output, cell = _gated(gates, cell)
        outputs = tf.tensor_scatter_nd_update(outputs, [[time]], output[tf.newaxis])
        return time + 1, (output, cell), outputs

    _, state, outputs = tf.while_loop(
        lambda time, *_: time < count, step, (tf.constant(0), state, outputs)
    )
    return outputs, state


def _gated(gates: tf.Tensor, cell: tf.Tensor) -> State:
    """Compute the output and the new cell from the gates before their activations."""
    gate_in, forget, candidate, gate_out = tf.split(gates, 4, axis=1)
    cell = tf.sigmoid(forget) * cell + tf.sigmoid(gate_in) * tf.tanh(candidate)
    return tf.sigmoid(gate_out) * tf.tanh(cell), cell
