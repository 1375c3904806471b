"""Assign estimates to references with the lowest total cost.

Yu et al., "Permutation invariant training of deep models for speaker-independent
multi-talker speech separation" (2017).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import tensorflow as tf

EXHAUSTIVE = 720
"""Largest number of permutations that are all tried."""

NEVER = 1e30
"""Replaces costs that are not finite during the search."""


def best_permutation(costs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the assignment of estimates to references with the lowest sum of costs.

    Up to 720 permutations are all tried, in the order of ``itertools.permutations``,
    and the first of equal sums is taken. For more, scipy runs the Hungarian method on
    the host, which XLA and saved models do not support; references of equal costs, such
    as silent ones, then take their estimates in ascending order. In a full search in
    float32, here and in Google's MixIT program, the rounding of costs and sums chooses
    among those, so that the two programs may choose differently. Gradients flow through
    the returned cost into the chosen entries of ``costs``; the choice itself has none.

    Args:
        costs: float32 [..., references, estimates], of static counts, with no more
            references than estimates. An estimate may have no reference.

    Returns:
        The least sum of costs [...], and the chosen estimate of each reference,
        int32 [..., references].

    Raises:
        ValueError: If there are more references than estimates, or unknown
            counts.

    >>> cost, permutation = best_permutation([[5.0, 1.0, 9.0], [2.0, 8.0, 9.0]])
    >>> float(cost), permutation.numpy().tolist()
    (3.0, [1, 0])
    """
    costs = tf.convert_to_tensor(costs)
    references, estimates = _counts(costs)
    free = tf.stop_gradient(costs)
    if math.perm(estimates, references) <= EXHAUSTIVE:
        permutation = _first_best(free, references, estimates)
    else:
        permutation = tf.numpy_function(_hungarian, [free], tf.int32)
    permutation = tf.ensure_shape(permutation, costs.shape[:-1])
    batch_rank = costs.shape.rank - 1
    chosen = tf.gather(costs, permutation[..., tf.newaxis], batch_dims=batch_rank)
    return tf.reduce_sum(chosen, [-2, -1]), permutation


def permute(estimates: tf.Tensor, permutation: tf.Tensor) -> tf.Tensor:
    """Put estimates into the order of the references.

    Args:
        estimates: [..., estimates, ...rest], such as [batch, estimates, samples].
        permutation: int32 [..., references] from :func:`best_permutation`.

    Returns:
        [..., references, ...rest].

    >>> permute([[10.0], [20.0], [30.0]], [2, 0]).numpy().tolist()
    [[30.0], [10.0]]
    """
    permutation = tf.convert_to_tensor(permutation)
    return tf.gather(
        estimates,
        permutation,
        axis=permutation.shape.rank - 1,
        batch_dims=permutation.shape.rank - 1,
    )


def _counts(costs: tf.Tensor) -> tuple[int, int]:
    references, estimates = costs.shape[-2:]
    if references is None or estimates is None:
        raise ValueError(
            f"costs have shape {costs.shape}; the last two axes, references and "
            "estimates, must be known when the graph is traced"
        )
    if references > estimates:
        raise ValueError(
            f"{references} references cannot each have their own of {estimates} "
            "estimates; give the model more outputs or leave out silent references"
        )
    return references, estimates


def _first_best(costs: tf.Tensor, references: int, estimates: int) -> tf.Tensor:
    """Try every permutation; [..., references, estimates] -> [..., references]."""
    orders = np.array(
        list(itertools.permutations(range(estimates), references)), np.int32
    )
    positions = orders + estimates * np.arange(references, dtype=np.int32)
    flat_shape = tf.concat([tf.shape(costs)[:-2], [references * estimates]], 0)
    flat = tf.reshape(costs, flat_shape)
    totals = tf.reduce_sum(tf.gather(flat, positions, axis=-1), -1)  # [..., orders]
    totals = tf.where(tf.math.is_nan(totals), totals.dtype.max, totals)
    return tf.gather(orders, tf.argmin(totals, -1))


def _hungarian(costs: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    finite = np.nan_to_num(
        costs.astype(np.float64), nan=NEVER, posinf=NEVER, neginf=-NEVER
    )
    items = finite.reshape(-1, *costs.shape[-2:])
    chosen = [_ascending(item, linear_sum_assignment(item)[1]) for item in items]
    return np.array(chosen, np.int32).reshape(costs.shape[:-1])


def _ascending(costs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Sort the estimates of references that have the same costs."""
    _, groups = np.unique(costs, axis=0, return_inverse=True)
    ordered = chosen.copy()
    for group in range(groups.max() + 1):
        members = groups.reshape(-1) == group
        ordered[members] = np.sort(chosen[members])
    return ordered
