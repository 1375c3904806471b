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
    shares: Sequence[tf.Tensor], recurrent: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Run one layer forward in time and, if there is a second direction, backward.

    With the gates' inputs a = share(t) + h(t-1) U, at every frame t
    c(t) = sigmoid(a_f) c(t-1) + sigmoid(a_i) tanh(a_c) and
    h(t) = sigmoid(a_o) tanh(c(t)), from h = c = 0.

    Args:
        shares: The input's share of the gates' inputs, biases included, for every
            direction [frames, batch, 4 * units].
        recurrent: Matrix U of every direction [units, 4 * units].

    Returns:
        h of every direction [frames, batch, units]; differentiable once.
    """
    count = len(shares)

    @tf.custom_gradient
    def run(*arguments: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., Any]]:
        shares, recurrent = arguments[:count], arguments[count:]
        zero = tf.zeros_like(shares[0][0, :, : recurrent[0].shape[0]])
        states = [(zero, zero)] * count
        tensors, _ = _forward(shares, recurrent, states, REVERSED[:count], keep=True)
        kept = [_Kept(*tensor) for tensor in tensors]

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            return _backward(upstream, recurrent, kept)

        return [direction.outputs for direction in kept], gradient

    return run(*shares, *recurrent)


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
    share = input_share(inputs, weights)
    kept, states = _forward([share], [weights[1]], [state], [reverse], keep=False)
    return kept[0][0], states[0]


def input_share(inputs: tf.Tensor, weights: Weights) -> tf.Tensor:
    """Input's share of the gates' inputs [frames, batch, 4 * units], with biases."""
    kernel, _, bias, recurrent_bias = weights
    # One product of matrices; tf.matmul would compute one for each frame.
    rows = tf.reshape(inputs, [-1, kernel.shape[0]])
    product = tf.nn.bias_add(tf.matmul(rows, kernel), bias + recurrent_bias)
    shape = tf.concat([tf.shape(inputs)[:2], [kernel.shape[1]]], axis=0)
    return tf.ensure_shape(
        tf.reshape(product, shape), [*inputs.shape[:2], kernel.shape[1]]
    )


class _Kept(NamedTuple):
    """Values of one direction that the gradient needs."""

    outputs: tf.Tensor
    """h [frames, batch, units]."""
    gates: tf.Tensor
    """Gates [frames, batch, 4 * units], after their sigmoid or tanh."""
    cells: tf.Tensor
    """c before and after every frame [frames + 1, batch, units]."""


def _forward(
    shares: Sequence[tf.Tensor],
    recurrent: Sequence[tf.Tensor],
    states: Sequence[State],
    reverses: Sequence[bool],
    keep: bool,
) -> tuple[list[Any], list[State]]:
    """Loop over the frames; without a gradient only the outputs are kept."""
    frames = tf.shape(shares[0])[0]
    # One product for each gate: a single product with all four matrices takes half as
    # long again, because its long rows are fetched slowly.
    parts = [tf.split(matrix, 4, axis=1) for matrix in recurrent]
    arrays = []
    for (_, cell), reverse in zip(states, reverses, strict=True):
        arrays.append([_array(frames, cell)])
        if keep:
            cells = _array(frames + 1, cell).write(frames if reverse else 0, cell)
            arrays[-1] += [_array(frames), cells]

    def step(time: tf.Tensor, states: Any, arrays: Any) -> Any:
        after, written = [], []
        for share, matrices, (output, cell), kept, reverse in zip(
            shares, parts, states, arrays, reverses, strict=True
        ):
            frame = frames - 1 - time if reverse else time
            seen = tf.split(share[frame], 4, axis=1)
            enter, forget, new, leave = (
                activate(tf.matmul(output, matrix) + gate)
                for activate, matrix, gate in zip(
                    ACTIVATIONS, matrices, seen, strict=True
                )
            )
            gates = tf.concat([enter, forget, new, leave], axis=1)
            later_cell = forget * cell + enter * new
            later = leave * tf.tanh(later_cell)
            after.append((later, later_cell))
            frames_ = frame, frame, frame + (not reverse)
            values = later, gates, later_cell
            written.append(
                [
                    array.write(where, value)
                    for array, where, value in zip(kept, frames_, values, strict=False)
                ]
            )
        return time + 1, after, written

    _, states, arrays = tf.while_loop(
        lambda time, *_: time < frames,
        step,
        (tf.constant(0), list(states), arrays),
        maximum_iterations=frames,
    )
    kept = [[array.stack() for array in group] for group in arrays]
    for (outputs, *_), share in zip(kept, shares, strict=True):
        outputs.set_shape([*share.shape[:2], (share.shape[2] or 0) // 4])
    return kept, list(states)


def _backward(
    upstream: Sequence[tf.Tensor], recurrent: Sequence[tf.Tensor], kept: Sequence[_Kept]
) -> list[tf.Tensor]:
    """Loop back over the frames: gradients of the shares and of the matrices."""
    frames = tf.shape(upstream[0])[0]
    zero = tf.zeros_like(upstream[0][0])
    # Transposed once: inside the loop it would take eight times as long.
    turned = [tf.transpose(matrix) for matrix in recurrent]

    def step(time: tf.Tensor, states: Any, arrays: Any) -> Any:
        after, written = [], []
        for direction, (outputs, gates, cells) in enumerate(kept):
            later, later_cell = states[direction]
            frame = frames - 1 - time if direction else time
            before = cells[frame + direction]
            output = outputs[frame]
            shown = tf.tanh(cells[frame + 1 - direction])
            enter, forget, new, leave = tf.split(gates[frame], 4, axis=1)
            slope = upstream[direction][frame] + later
            cell = later_cell + slope * (leave - output * shown)
            slopes = tf.concat(
                [
                    cell * new * enter * (1.0 - enter),
                    cell * before * forget * (1.0 - forget),
                    cell * enter * (1.0 - new * new),
                    slope * output * (1.0 - leave),
                ],
                axis=1,
            )
            earlier = tf.matmul(slopes, turned[direction])
            after.append((earlier, cell * forget))
            written.append(arrays[direction].write(frame, slopes))
        return time - 1, after, written

    _, _, arrays = tf.while_loop(
        lambda time, *_: time >= 0,
        step,
        (frames - 1, [(zero, zero)] * len(kept), [_array(frames) for _ in kept]),
        maximum_iterations=frames,
    )
    shares, matrices = [], []
    for direction, array in enumerate(arrays):
        share, outputs = array.stack(), kept[direction].outputs
        share.set_shape([*outputs.shape[:2], 4 * (outputs.shape[2] or 0)])
        pair = (outputs[1:], share[:-1]) if direction else (outputs[:-1], share[1:])
        shares.append(share)
        matrices.append(tf.tensordot(*pair, [[0, 1], [0, 1]]))
    return shares + matrices


def _array(size: tf.Tensor, like: tf.Tensor | None = None) -> tf.TensorArray:
    return tf.TensorArray(
        tf.float32,
        size,
        clear_after_read=False,
        element_shape=None if like is None else like.shape,
    )
