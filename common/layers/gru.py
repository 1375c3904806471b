"""One direction of a layer of gated recurrent units, as PyTorch and cuDNN have it.

[1] Cho et al., Learning phrase representations using RNN encoder-decoder for
    statistical machine translation, EMNLP 2014.
"""

from __future__ import annotations

import tensorflow as tf

from common.layers.lstm_training import State, Weights


def direction(
    inputs: tf.Tensor, weights: Weights, state: State, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """Run one direction on from a state; differentiable.

    With the shares x(t) = inputs W + b of the input and r(t) = h(t-1) U + c of the
    output before, h = z h(t-1) + (1 - z) tanh(x_n + sigmoid(x_r + r_r) r_n), where z =
    sigmoid(x_z + r_z): the reset gate acts after the product, other than in [1].

    Args:
        inputs: Inputs [frames, batch, inputs].
        weights: W [inputs, 3 * units], U [units, 3 * units], b and c, their gates in
            the order of Keras: update, reset, new.
        state: Output [batch, units] of the frame before, which stands for both parts
            of the state of an LSTM.
        reverse: Whether to run from the last frame to the first.

    Returns:
        Outputs [frames, batch, units], and the state after the last frame that was run.

    >>> weights = tf.ones([2, 9]), tf.ones([3, 9]), tf.zeros(9), tf.zeros(9)
    >>> zero = tf.zeros([4, 3])
    >>> direction(tf.ones([5, 4, 2]), weights, (zero, zero))[0].shape
    TensorShape([5, 4, 3])
    """
    kernel, recurrent, bias, recurrent_bias = weights
    shares = tf.tensordot(inputs, kernel, 1) + bias

    def frame(before: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        update, reset, new = tf.split(share, 3, axis=-1)
        own = tf.split(before @ recurrent + recurrent_bias, 3, axis=-1)
        keep = tf.sigmoid(update + own[0])
        candidate = tf.tanh(new + tf.sigmoid(reset + own[1]) * own[2])
        return keep * before + (1.0 - keep) * candidate

    outputs = tf.scan(frame, shares, state[0], reverse=reverse)
    last = outputs[0 if reverse else -1]
    return outputs, (last, last)
