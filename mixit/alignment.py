"""Which estimate belongs to which reference, where sources are of several types.

Wisdom et al., What's All the FUSS About Free Universal Sound Separation Data?, ICASSP
2021; names of types as in Google's program.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import tensorflow as tf

from common.signal.permutation import best_permutation
from mixit.loss import decibels, products


def log_mse(
    references: tf.Tensor, estimates: tf.Tensor, max_snr: float = 30.0
) -> tf.Tensor:
    r"""Cost of every pair, 10 log10(|r - e|^2 + 10^(-max_snr/10) |r|^2 + 1e-8).

    Args:
        references: Waveforms [batch, references, samples].
        estimates: Waveforms [batch, estimates, samples].
        max_snr: Ratio at which the cost saturates, in dB.

    Returns:
        Costs [batch, references, estimates] in dB, without gradient.
    """
    found = products(references, estimates)
    wanted = found.power[..., tf.newaxis]
    got = tf.linalg.diag_part(found.gram)[:, tf.newaxis]
    error = tf.maximum(wanted - 2.0 * found.cross + got, 0.0)
    return tf.cast(decibels(error + 10.0 ** (-max_snr / 10.0) * wanted), tf.float32)


def order(
    costs: tf.Tensor,
    types: Sequence[str] | None = None,
    ordered: Collection[str] = (),
    repeated: bool = False,
) -> tf.Tensor:
    """Choose an estimate for each reference so that the costs add up to the least.

    Args:
        costs: Cost of every pair [batch, references, estimates].
        types: Type of each reference, and of the estimate at the same place: estimates
            change places within a type alone. None: all are of one type.
        ordered: Types whose estimates keep their places.
        repeated: Let several references have the same estimate, each its best.

    Returns:
        The estimate of each reference, int32 [batch, references], for
        :func:`common.signal.permutation.permute`.

    Raises:
        ValueError: There are more references than estimates, not as many types as
            both, or an ordered type that no reference has.

    >>> costs = tf.constant([[[3.0, 0.0, 1.0], [0.0, 3.0, 1.0], [0.0, 0.0, 2.0]]])
    >>> order(costs, types=["speech", "noise", "speech"]).numpy().tolist()
    [[2, 1, 0]]
    """
    choose = _nearest if repeated else _best
    if types is None and not ordered:
        return choose(costs)
    names = _checked(costs, types or (), ordered)
    chosen, places = [], []
    for name in dict.fromkeys(names):
        members = [place for place, each in enumerate(names) if each == name]
        places += members
        own = tf.gather(tf.gather(costs, members, axis=1), members, axis=2)
        kept = tf.zeros_like(own[..., 0], tf.int32) + tf.range(len(members))
        inside = kept if name in ordered else choose(own)
        chosen.append(tf.gather(tf.constant(members), inside))
    back = sorted(range(len(places)), key=places.__getitem__)
    return tf.gather(tf.concat(chosen, axis=1), back, axis=1)


def _best(costs: tf.Tensor) -> tf.Tensor:
    return best_permutation(costs)[1]


def _nearest(costs: tf.Tensor) -> tf.Tensor:
    return tf.argmin(costs, axis=-1, output_type=tf.int32)


def _checked(
    costs: tf.Tensor, types: Sequence[str], ordered: Collection[str]
) -> Sequence[str]:
    references, estimates = costs.shape[1:]
    if not len(types) == references == estimates:
        raise ValueError(
            f"there are {len(types)} types, {references} references and {estimates} "
            "estimates; give a type for each estimate, and silent references for those "
            "that are missing"
        )
    unknown = sorted(set(ordered) - set(types))
    if unknown:
        raise ValueError(
            f"no reference is of the ordered type {unknown[0]!r}; the types are "
            f"{', '.join(dict.fromkeys(types))}"
        )
    return types
