"""One direction of an LSTM layer by cuDNN, for GPUs."""

from __future__ import annotations

import functools

import tensorflow as tf

from common.layers.lstm_training import State, Weights


@functools.lru_cache(maxsize=1)
def available() -> bool:
    """Return whether an NVIDIA GPU is visible and TensorFlow is built for CUDA."""
    built = tf.test.is_built_with_cuda()
    return built and bool(tf.config.list_physical_devices("GPU"))


def parameters(weights: Weights) -> tf.Tensor:
    """Return the weights as one vector in the order of cuDNN.

    These are the eight matrices, each transposed, then the eight biases: gates of the
    kernel first, in our order, then those of the recurrent kernel.

    >>> weights = tf.range(8.0), tf.range(8.0, 12.0), tf.zeros([4]), tf.ones([4])
    >>> kernel, recurrent = (tf.reshape(w, [-1, 4]) for w in weights[:2])
    >>> parameters((kernel, recurrent, *weights[2:])).numpy()[:6]
    array([0., 4., 1., 5., 2., 6.], dtype=float32)
    """
    gates = [
        tf.reshape(tf.transpose(gate), [-1])
        for matrix in weights[:2]
        for gate in tf.split(matrix, 4, axis=1)
    ]
    return tf.concat([*gates, *weights[2:]], axis=0)


def direction(
    inputs: tf.Tensor, weights: Weights, state: State, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """Run one direction from a state; differentiable.

    Args:
        inputs: Inputs [frames, batch, inputs].
        weights: The direction's weights.
        state: Output and cell [batch, units] of the frame before.
        reverse: Whether to run from the last frame to the first.

    Returns:
        Outputs [frames, batch, units], and the state after the last frame that was run.
    """
    if reverse:
        inputs = tf.reverse(inputs, [0])
    frames, batch = tf.unstack(tf.shape(inputs)[:2])
    outputs, output, cell, *_ = tf.raw_ops.CudnnRNNV3(
        input=inputs,
        input_h=state[0][tf.newaxis],
        input_c=state[1][tf.newaxis],
        params=parameters(weights),
        sequence_lengths=tf.fill([batch], frames),
        rnn_mode="lstm",
        is_training=True,
        time_major=True,
    )
    outputs = tf.reverse(outputs, [0]) if reverse else outputs
    return outputs, (output[0], cell[0])
