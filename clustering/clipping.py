"""Gradient clipping, by a fixed norm or by a percentile of the norms so far.

[1] Seetharaman, Wichern, Pardo and Le Roux, AutoClip: Adaptive gradient clipping for
source separation networks, MLSP 2020.
[2] Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
networks, ICML 2013.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

Gradients = Sequence[tf.Tensor | None]


def clip_by_norm(
    gradients: Gradients, limit: float | tf.Tensor
) -> tuple[list[tf.Tensor | None], tf.Tensor]:
    """Scale all gradients together until their norm is within a limit, [2].

    g min(1, limit / |g|), |g| the norm of all of them as one vector. Unlike
    ``tf.clip_by_global_norm`` this holds for a limit of 0, and leaves gradients that
    are not finite for the training to detect.

    Args:
        gradients: One for each variable, summed over replicas; None for a variable
            without a gradient.
        limit: Largest norm, at least 0.

    Returns:
        The gradients in the same order, and their norm before, float32 [].

    >>> clipped, norm = clip_by_norm([tf.constant([3.0, 4.0]), None], 2.5)
    >>> float(norm), clipped[0].numpy().tolist(), clipped[1]
    (5.0, [1.5, 2.0], None)
    """
    norm = global_norm(gradients)
    return _scaled(gradients, norm, tf.cast(limit, tf.float32)), norm


def global_norm(gradients: Gradients) -> tf.Tensor:
    """Compute the norm of all gradients as one vector.

    Args:
        gradients: One for each variable; None for a variable without a gradient.

    Returns:
        sqrt(sum g^2), float32 [].

    >>> float(global_norm([tf.constant([3.0]), None, tf.constant([4.0])]))
    5.0
    """
    present = [tf.cast(g, tf.float32) for g in gradients if g is not None]
    return tf.linalg.global_norm(present) if present else tf.constant(0.0)


class AutoClip(tf.Module):
    """Clip to a percentile of the gradient norms of the training so far, [1].

    The norm of the current step is included, so the first one is never clipped. [1]
    keeps all norms; here the latest ``capacity`` are kept, so that checkpoints have a
    fixed size. The authors' code for TensorFlow clips each tensor separately; this
    clips all of them as one vector, as in the paper.

    Attributes:
        norms: The latest norms, float32 [capacity], oldest overwritten first.
        seen: Number of all recorded norms, int64 [].

    >>> clip = AutoClip(percentile=50.0)
    >>> steps = [clip([tf.constant([norm])]) for norm in (1.0, 3.0, 8.0)]
    >>> [round(float(clipped[0][0]), 4) for clipped, _ in steps]
    [1.0, 2.0, 3.0]
    """

    def __init__(self, percentile: float = 10.0, capacity: int = 65536) -> None:
        """Start without a history.

        Args:
            percentile: 0 to 100; 10 in [1], 100 never clips.
            capacity: Number of norms to keep, at least 1.
        """
        super().__init__(name="auto_clip")
        self.percentile = percentile
        self.norms = _state(tf.zeros([capacity]), "norms")
        self.seen = _state(tf.zeros([], tf.int64), "seen")

    def __call__(
        self, gradients: Gradients
    ) -> tuple[list[tf.Tensor | None], tf.Tensor]:
        """Record the norm of these gradients and clip them.

        Args:
            gradients: As for :func:`clip_by_norm`. A norm that is not finite is not
                recorded, because it could not be sorted.

        Returns:
            As :func:`clip_by_norm`.
        """
        norm = global_norm(gradients)
        self._record(norm)
        return _scaled(gradients, norm, self.limit()), norm

    def limit(self) -> tf.Tensor:
        """Compute the percentile of the kept norms, as ``numpy.percentile`` does.

        Returns:
            float32 []; infinite before the first norm.
        """
        norms = tf.convert_to_tensor(self.norms)
        capacity = tf.size(norms)
        kept = tf.cast(tf.minimum(self.seen, tf.cast(capacity, tf.int64)), tf.int32)
        unused = tf.range(capacity) >= kept
        ordered = tf.sort(tf.where(unused, norms.dtype.max, norms))
        rank = self.percentile / 100.0 * tf.cast(tf.maximum(kept - 1, 0), tf.float32)
        below = tf.cast(tf.floor(rank), tf.int32)
        above = tf.minimum(below + 1, tf.maximum(kept - 1, 0))
        low, high = ordered[below], ordered[above]
        limit = low + (rank - tf.floor(rank)) * (high - low)
        return tf.where(kept > 0, limit, float("inf"))

    def _record(self, norm: tf.Tensor) -> None:
        finite = tf.math.is_finite(norm)
        norms, seen = tf.convert_to_tensor(self.norms), tf.convert_to_tensor(self.seen)
        slot = seen % tf.size(norms, tf.int64)
        value = tf.where(finite, norm, norms[slot])
        self.norms.assign(tf.tensor_scatter_nd_update(norms, [[slot]], [value]))
        self.seen.assign_add(tf.cast(finite, tf.int64))


def _scaled(
    gradients: Gradients, norm: tf.Tensor, limit: tf.Tensor
) -> list[tf.Tensor | None]:
    # A norm of NaN compares as false, so its gradients stay unchanged.
    infinite = tf.math.is_inf(norm)
    scale = tf.where((norm > limit) & ~infinite, limit / norm, 1.0)
    return [None if g is None else g * tf.cast(scale, g.dtype) for g in gradients]


def _state(value: tf.Tensor, name: str) -> tf.Variable:
    # All replicas have equal sums of gradients: each keeps a copy, the first is saved.
    return tf.Variable(
        value,
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
