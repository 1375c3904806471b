"""Penalties on spreading a sound over many outputs.

[1] Wisdom et al., Sparse, Efficient, and Semantic Mixture Invariant Training: Taming
In-the-Wild Unsupervised Sound Separation, 2021, arXiv 2106.00847.
"""

from __future__ import annotations

import tensorflow as tf

# Outputs 80 dB below the mixture are silent; keeps the gradient of the root finite.
SILENT_SHARE = 1e-8
# Keeps the ratio finite in digital silence, -120 dB.
LEAST_POWER = 1e-12


def sparsity(estimates: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    r"""Penalise outputs that share a sound, the sparsity loss of [1].

    With the root mean squares r of the S outputs it is

    .. math:: \frac 1 S \|r\|_1 / \|r\|_2,

    from 1/S for a single output to 1/sqrt(S) for equal ones, whatever the level.

    The text of [1] was not at hand. That this is a ratio of norms of r with the mean as
    the first follows two public implementations (one by colleagues of the authors
    divides by the level of the mixture instead, which is the same for outputs without
    correlation). The covariance loss of [1] is left out: its formula was not found.

    Args:
        estimates: Outputs [batch, sources, samples].
        mixture: Mixtures [batch, samples]; their level sets what counts as silence.

    Returns:
        Penalty [batch], not negative.

    >>> equal = tf.ones([1, 4, 10])
    >>> round(float(sparsity(equal, tf.ones([1, 10]))[0]), 3)
    0.5
    """
    level = tf.reduce_mean(tf.square(mixture), axis=-1, keepdims=True)
    power = tf.reduce_mean(tf.square(estimates), axis=-1)
    power += SILENT_SHARE * level + LEAST_POWER
    return tf.reduce_mean(tf.sqrt(power), axis=-1) / tf.sqrt(
        tf.reduce_sum(power, axis=-1)
    )
