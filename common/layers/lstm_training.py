"""The recurrence of an LSTM layer as a loop of the graph with a custom gradient.

The products with the input are computed for all frames at once before the loop, so a
frame costs one product for each direction. The gradient stores the gates and does not
recompute them; the gradient of the weights is one product after the loop. Both
directions share the loop, because they are independent.

The gates are in the order of Keras: input, forget, cell, output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

State = tuple[tf.Tensor, tf.Tensor]
"""Output and cell [batch, units] after a frame."""

Weights = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
"""Kernel [inputs, 4 * units], recurrent kernel [units, 4 * units], their biases."""

NARROW = 128
"""Units up to which a compiled loop is faster with each TensorFlow.

The operations of a frame are then so small that the loop spends most of its time
between them: 28 units take a fifth of the time compiled. With 150 units TensorFlow 2.16
takes longer for the compiled one.
"""

REVERSED = (False, True)
ACTIVATIONS = (tf.sigmoid, tf.sigmoid, tf.tanh, tf.sigmoid)


def recurrence(
    projections: Sequence[tf.Tensor], recurrent: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Run one layer forward in time and, if there is a second direction, backward.

    With the inputs of the gates a = x(t) W + b + h(t-1) U, at every frame t
    c(t) = sigmoid(a_f) c(t-1) + sigmoid(a_i) tanh(a_c) and
    h(t) = sigmoid(a_o) tanh(c(t)), from h = c = 0.

    Args:
        projections: x W + b of every direction, from :func:`input_projection`.
        recurrent: Matrix U of every direction [units, 4 * units].

    Returns:
        h of every direction [frames, batch, units]; differentiable once.
    """
    count = len(projections)

    @tf.custom_gradient
    def run(*arguments: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., Any]]:
        projections, recurrent = arguments[:count], arguments[count:]
        zero = tf.zeros_like(projections[0][0, :, : recurrent[0].shape[0]])
        states = [(zero, zero)] * count
        tensors, _ = _forward(
            projections, recurrent, states, REVERSED[:count], save=True
        )
        saved = [_Saved(*tensor) for tensor in tensors]

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            return _backward(upstream, recurrent, saved)

        return [direction.outputs for direction in saved], gradient

    return run(*projections, *recurrent)


compiled_recurrence = tf.function(recurrence, jit_compile=True, autograph=False)
""":func:`recurrence` as a program of XLA, which is compiled for each shape."""


def direction(
    inputs: tf.Tensor, weights: Weights, state: State, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """Run one direction from a state, without a gradient.

    Args:
        inputs: Inputs [frames, batch, inputs].
        weights: The direction's weights.
        state: Output and cell [batch, units] of the frame before.
        reverse: Whether to run from the last frame to the first.

    Returns:
        Outputs [frames, batch, units], and the state after the last frame that was run.
    """
    projection = input_projection(inputs, weights)
    saved, states = _forward([projection], [weights[1]], [state], [reverse], save=False)
    return saved[0][0], states[0]


def input_projection(inputs: tf.Tensor, weights: Weights) -> tf.Tensor:
    """Return x W and both biases for all frames, [frames, batch, 4 * units]."""
    kernel, _, bias, recurrent_bias = weights
    # One product of matrices; tf.matmul would compute one for each frame.
    rows = tf.reshape(inputs, [-1, kernel.shape[0]])
    product = tf.nn.bias_add(tf.matmul(rows, kernel), bias + recurrent_bias)
    shape = tf.concat([tf.shape(inputs)[:2], [kernel.shape[1]]], axis=0)
    return tf.ensure_shape(
        tf.reshape(product, shape), [*inputs.shape[:2], kernel.shape[1]]
    )


class _Saved(NamedTuple):
    """Values of one direction that the gradient needs."""

    outputs: tf.Tensor
    """h [frames, batch, units]."""
    gates: tf.Tensor
    """Gates [frames, batch, 4 * units], after their sigmoid or tanh."""
    cells: tf.Tensor
    """c before and after every frame [frames + 1, batch, units]."""


def _forward(
    projections: Sequence[tf.Tensor],
    recurrent: Sequence[tf.Tensor],
    states: Sequence[State],
    reverses: Sequence[bool],
    save: bool,
) -> tuple[list[Any], list[State]]:
    """Loop over the frames; save what the gradient needs, or the outputs alone."""
    frames = tf.shape(projections[0])[0]
    # One product for each gate: a single product with all four matrices takes half as
    # long again, because its long rows are fetched slowly.
    parts = [tf.split(matrix, 4, axis=1) for matrix in recurrent]
    arrays = []
    for (_, cell), reverse in zip(states, reverses, strict=True):
        arrays.append([_array(frames, cell)])
        if save:
            cells = _array(frames + 1, cell).write(frames if reverse else 0, cell)
            arrays[-1] += [_array(frames), cells]

    def step(time: tf.Tensor, states: Any, arrays: Any) -> Any:
        after, written = [], []
        for projection, matrices, (output, cell), saved, reverse in zip(
            projections, parts, states, arrays, reverses, strict=True
        ):
            frame = frames - 1 - time if reverse else time
            inputs = tf.split(projection[frame], 4, axis=1)
            gate_in, forget, candidate, gate_out = (
                activate(tf.matmul(output, matrix) + gate)
                for activate, matrix, gate in zip(
                    ACTIVATIONS, matrices, inputs, strict=True
                )
            )
            gates = tf.concat([gate_in, forget, candidate, gate_out], axis=1)
            next_cell = forget * cell + gate_in * candidate
            next_output = gate_out * tf.tanh(next_cell)
            after.append((next_output, next_cell))
            cell_row = frame + (not reverse), next_cell
            rows = (frame, next_output), (frame, gates), cell_row
            written.append(
                [array.write(*row) for array, row in zip(saved, rows, strict=False)]
            )
        return time + 1, after, written

    _, states, arrays = tf.while_loop(
        lambda time, *_: time < frames,
        step,
        (tf.constant(0), list(states), arrays),
        maximum_iterations=frames,
    )
    saved = [[array.stack() for array in group] for group in arrays]
    for (outputs, *_), projection in zip(saved, projections, strict=True):
        outputs.set_shape([*projection.shape[:2], (projection.shape[2] or 0) // 4])
    return saved, list(states)


def _backward(
    upstream: Sequence[tf.Tensor],
    recurrent: Sequence[tf.Tensor],
    saved: Sequence[_Saved],
) -> list[tf.Tensor]:
    """Loop back over the frames; return the gradients of projections and matrices."""
    frames = tf.shape(upstream[0])[0]
    zero = tf.zeros_like(upstream[0][0])
    # Transposed once: inside the loop it would take eight times as long.
    transposed = [tf.transpose(matrix) for matrix in recurrent]

    def step(time: tf.Tensor, states: Any, arrays: Any) -> Any:
        after, written = [], []
        for direction, (outputs, gates, cells) in enumerate(saved):
            later, later_cell = states[direction]
            frame = frames - 1 - time if direction else time
            before = cells[frame + direction]
            output = outputs[frame]
            activated = tf.tanh(cells[frame + 1 - direction])
            gate_in, forget, candidate, gate_out = tf.split(gates[frame], 4, axis=1)
            output_gradient = upstream[direction][frame] + later
            cell = later_cell + output_gradient * (gate_out - output * activated)
            gate_gradients = tf.concat(
                [
                    cell * candidate * gate_in * (1.0 - gate_in),
                    cell * before * forget * (1.0 - forget),
                    cell * gate_in * (1.0 - candidate * candidate),
                    output_gradient * output * (1.0 - gate_out),
                ],
                axis=1,
            )
            earlier = tf.matmul(gate_gradients, transposed[direction])
            after.append((earlier, cell * forget))
            written.append(arrays[direction].write(frame, gate_gradients))
        return time - 1, after, written

    _, _, arrays = tf.while_loop(
        lambda time, *_: time >= 0,
        step,
        (frames - 1, [(zero, zero)] * len(saved), [_array(frames) for _ in saved]),
        maximum_iterations=frames,
    )
    projections, matrices = [], []
    for direction, array in enumerate(arrays):
        projection, outputs = array.stack(), saved[direction].outputs
        projection.set_shape([*outputs.shape[:2], 4 * (outputs.shape[2] or 0)])
        projections.append(projection)
        before = outputs[1:] if direction else outputs[:-1]
        after = projection[:-1] if direction else projection[1:]
        matrices.append(tf.tensordot(before, after, [[0, 1], [0, 1]]))
    return projections + matrices


def _array(size: tf.Tensor, like: tf.Tensor | None = None) -> tf.TensorArray:
    return tf.TensorArray(
        tf.float32,
        size,
        clear_after_read=False,
        element_shape=None if like is None else like.shape,
    )
