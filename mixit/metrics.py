"""Measures of separation into any number of sources, and their means over a set.

The columns of an example are named as in the table of the FUSS baseline:
``{measure}_source{i}`` for each output, and counts. That program writes each value to
its own row in an unnamed column; here an example is one row.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training,
NeurIPS 2020.
[2] Wisdom et al., What's All the FUSS About Free Universal Sound Separation Data?,
ICASSP 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.evaluation.table import Row, number
from common.signal.metrics import si_sdr
from common.signal.permutation import best_permutation, permute
from mixit.loss import ACTIVE_RMS, least_squares, mixit, pad_sources
from mixit.published import RATES, measures

# Most outputs for which all assignments are tried; 2^S of them for two mixtures.
MOST_SEARCHED = 12
# An estimate counts as a source when it is less than 20 dB below the weakest reference.
ACTIVE_POWER_RATIO = 0.01

PER_SOURCE = (
    "power_separated",
    "power_sources",
    "sisnr_improvement",
    "sisnr_mixture",
    "sisnr_separated",
    "weights_active_pairs",
    "weights_active_refs",
    "weights_active_seps",
)
PER_EXAMPLE = (
    "equal_separation",
    "num_active_pairs",
    "num_active_refs",
    "num_active_seps",
    "over_separation",
    "under_separation",
)
PER_MIXTURE = ("sisnr_improvement", "sisnr_mixture", "sisnr_separated")
# Most sources of an example of FUSS; sets with more get further lines.
MOST_SOURCES = 4


def si_snr_costs(references: tf.Tensor, estimates: tf.Tensor) -> tf.Tensor:
    """Negative SI-SNR of every pair, from products of the signals.

    Args:
        references: Waveforms [batch, references, samples].
        estimates: Waveforms [batch, estimates, samples].

    Returns:
        Costs [batch, references, estimates] in dB; 80 where either is silent.
    """
    product = tf.matmul(_unit(references), _unit(estimates), transpose_b=True)
    signal = tf.square(product)
    noise = tf.maximum(1.0 - signal, 0.0)
    return 10.0 / math.log(10.0) * tf.math.log((noise + 1e-8) / (signal + 1e-8))


def align(
    references: tf.Tensor,
    estimates: tf.Tensor,
    costs: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Put estimates into the order of the references that they fit best.

    Missing references are silent. Silent references take the remaining estimates: with
    :func:`si_snr_costs` any, with :func:`mixit.loss.log_mse` preferably quiet ones.
    Google's programs use the first in evaluation and the second while training.

    Args:
        references: Waveforms [batch, references, samples]; silent ones are padding.
        estimates: Waveforms [batch, estimates, samples], at least as many.
        costs: Cost [batch, references, estimates] of every pair; the alignment
            minimises their sum.

    Returns:
        References and aligned estimates, both [batch, estimates, samples].

    Raises:
        ValueError: There are more references than estimates.

    >>> voices = tf.constant([[[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]])
    >>> _, aligned = align(voices, tf.reverse(voices, [1]), si_snr_costs)
    >>> bool(tf.reduce_all(aligned == voices))
    True
    """
    needed, count = references.shape[1] or 0, estimates.shape[1] or 0
    if needed > count:
        raise ValueError(
            f"there are {needed} references and {count} estimates; every reference "
            "needs an estimate of its own: take a model with more outputs, or leave "
            "out silent references"
        )
    references = pad_sources(references, count)
    _, permutation = best_permutation(costs(references, estimates))
    return references, permute(estimates, permutation)


def columns(outputs: int) -> list[str]:
    """Columns of a table of sources, in the order of the FUSS baseline.

    >>> len(columns(4))
    39
    """
    names = ["example"]
    for measure in sorted((*PER_SOURCE, *PER_EXAMPLE)):
        numbers = [""] if measure in PER_EXAMPLE else _numbers("source", outputs)
        names += [measure + suffix for suffix in numbers]
    return names


def mixture_columns() -> list[str]:
    """Columns of a table of mixtures of two mixtures.

    >>> mixture_columns()[:3]
    ['example', 'sisnr_improvement_mix1', 'sisnr_improvement_mix2']
    """
    numbers = _numbers("mix", 2)
    return ["example", *(name + suffix for name in PER_MIXTURE for suffix in numbers)]


def row(
    name: str, sources: np.ndarray, estimates: np.ndarray, mixture: np.ndarray
) -> Row:
    """Align the estimates of one example and measure them, section 3 of [2].

    Args:
        name: Name of the example.
        sources: References [sources, samples]; silent ones are padding.
        estimates: Outputs of a model [outputs, samples].
        mixture: The separated mixture [samples].

    Returns:
        Cells by :func:`columns`. Values of missing references are those of silence.

    Raises:
        ValueError: More sources are active than there are outputs.
    """
    outputs = len(estimates)
    if len(sources) > outputs:
        sources = sources[active(sources)]
    if len(sources) > outputs:
        raise ValueError(
            f"{name} has {len(sources)} sources and the model {outputs} outputs; every "
            "source needs an output: take a model with more, or a set with fewer"
        )
    batch = tf.constant(sources[np.newaxis]), tf.constant(estimates[np.newaxis])
    references, aligned = align(*batch, si_snr_costs)
    separated = si_sdr(references, aligned)
    unseparated = si_sdr(references, tf.constant(mixture[np.newaxis, np.newaxis]))
    power, aligned_power = _power(references), _power(aligned)
    active_references = tf.sqrt(power) > ACTIVE_RMS
    active_estimates = _active(power, aligned_power, active_references)
    pairs = active_references & active_estimates
    per_source = {
        "power_separated": aligned_power,
        "power_sources": power,
        "sisnr_improvement": separated - unseparated,
        "sisnr_mixture": unseparated,
        "sisnr_separated": separated,
        "weights_active_pairs": pairs,
        "weights_active_refs": active_references,
        "weights_active_seps": active_estimates,
    }
    num_references, num_estimates, num_pairs = (
        int(flags.numpy().sum())
        for flags in (active_references, active_estimates, pairs)
    )
    return {
        "example": name,
        **_numbered("source", per_source),
        "num_active_refs": num_references,
        "num_active_seps": num_estimates,
        "num_active_pairs": num_pairs,
        "under_separation": float(num_estimates < num_references),
        "equal_separation": float(num_estimates == num_references),
        "over_separation": float(num_estimates > num_references),
    }


def mixture_row(name: str, mixtures: np.ndarray, estimates: np.ndarray) -> Row:
    """Reconstruct mixtures from the estimates of their sum, and measure them.

    The test of [1] for recordings whose sources are unknown: every estimate is
    added to the mixture that the loss assigns it to.

    Args:
        name: Name of the example.
        mixtures: [mixtures, samples].
        estimates: Outputs of a model for their sum [outputs, samples].

    Returns:
        Cells by :func:`mixture_columns`: SI-SNR of the reconstructed mixtures, and of
        the sum as an estimate of each.

    Raises:
        ValueError: There are more mixtures than estimates.
    """
    references, outputs = (
        tf.constant(signal[np.newaxis]) for signal in (mixtures, estimates)
    )
    find = mixit if len(estimates) <= MOST_SEARCHED else least_squares
    _, assignment = find(references, outputs)
    separated = si_sdr(references, tf.matmul(assignment, outputs))
    mixture = tf.reduce_sum(references, axis=1, keepdims=True)
    unseparated = si_sdr(references, mixture)
    values = {
        "sisnr_improvement": separated - unseparated,
        "sisnr_mixture": unseparated,
        "sisnr_separated": separated,
    }
    return {"example": name, **_numbered("mix", values)}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Pool the active sources of all examples by number of sources.

    A source counts if it and its aligned estimate are active.

    Args:
        rows: Rows from :func:`row`.

    Returns:
        ``1S`` (SI-SNR), ``2Si``, ``3Si``, ``4Si``, ... and ``MSi`` (improvement) with
        mean and population deviation in dB and the number of sources; ``under``,
        ``equal``, ``over`` as shares of the examples.
    """
    summary: dict[str, Any] = {"examples": len(rows)}
    most = max([MOST_SOURCES, *(example["num_active_refs"] for example in rows)])
    values = {count: _values(rows, count) for count in range(1, most + 1)}
    summary["1S"] = moments(values[1])
    for count in range(2, most + 1):
        summary[f"{count}Si"] = moments(values[count])
    several = [v for count in range(2, most + 1) for v in values[count]]
    summary["MSi"] = moments(several)
    for name in RATES:
        flags = [example[f"{name}_separation"] for example in rows]
        summary[name] = float(np.mean(flags)) if flags else 0.0
    return summary


def summarise_mixtures(rows: Sequence[Row]) -> dict[str, Any]:
    """Pool the mixtures of all examples: ``MoMi`` with mean and deviation in dB."""
    improvements = [
        value
        for example in rows
        for column, value in example.items()
        if column.startswith("sisnr_improvement_mix")
    ]
    return {"examples": len(rows), "MoMi": moments(improvements)}


def report(summary: dict[str, Any]) -> str:
    """Format a summary of sources in the lines of the FUSS baseline's program."""
    several = [int(name.rstrip("Si")) for name in measures(summary)[1:-1]]
    lines = ["Final statistics:", _line("SI-SNR", [1], summary["1S"])]
    lines += [_line("SI-SNRi", [count], summary[f"{count}Si"]) for count in several]
    lines.append(_line("SI-SNRi", several, summary["MSi"]))
    lines += [f"{name.title()} separation: {summary[name]:.2f}" for name in RATES]
    return "\n".join(lines) + "\n"


def active(sources: np.ndarray) -> np.ndarray:
    """Return which sources [..., samples] are not silent."""
    return np.asarray(np.sqrt(np.mean(np.square(sources), axis=-1)) > ACTIVE_RMS)


def moments(values: Sequence[float]) -> dict[str, Any]:
    """Mean and population deviation of values in dB; None without values."""
    if not values:
        return {"mean": None, "deviation": None, "sources": 0}
    mean, deviation = float(np.mean(values)), float(np.std(values))
    return {"mean": mean, "deviation": deviation, "sources": len(values)}


def _active(
    reference_power: tf.Tensor, power: tf.Tensor, active: tf.Tensor
) -> tf.Tensor:
    """Find the estimates that are not negligible beside the weakest reference."""
    loud = tf.where(active, reference_power, power.dtype.max)
    weakest = tf.reduce_min(loud, axis=-1, keepdims=True)
    return power > ACTIVE_POWER_RATIO * weakest


def _unit(waveform: tf.Tensor) -> tf.Tensor:
    energy = tf.reduce_sum(tf.square(waveform), axis=-1, keepdims=True)
    return waveform * tf.math.rsqrt(tf.maximum(energy, 1e-16))


def _power(waveform: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(waveform), axis=-1)


def _numbered(noun: str, tensors: Mapping[str, tf.Tensor]) -> Row:
    """Cells ``{measure}_{noun}{i}`` of measures [1, signals]."""
    cells: Row = {}
    for measure, tensor in tensors.items():
        values = tensor.numpy()[0]
        for suffix, value in zip(_numbers(noun, len(values)), values, strict=True):
            is_flag = values.dtype == bool
            cells[measure + suffix] = bool(value) if is_flag else number(value)
    return cells


def _values(rows: Sequence[Row], count: int) -> list[float]:
    """Values of the active pairs of all examples with ``count`` sources."""
    measure = "sisnr_separated" if count == 1 else "sisnr_improvement"
    return [
        example[f"{measure}_source{i}"]
        for example in rows
        if example["num_active_refs"] == count
        for i in range(1, len(example))
        if example.get(f"weights_active_pairs_source{i}")
    ]


def _line(label: str, counts: list[int], cell: dict[str, Any]) -> str:
    if cell["mean"] is None:
        return f"{label} for count(s) {counts} = none in this set"
    numbers = f"{cell['mean']:.1f} +/- {cell['deviation']:.1f} dB"
    return f"{label} for count(s) {counts} = {numbers}"


def _numbers(noun: str, count: int) -> list[str]:
    return [f"_{noun}{index}" for index in range(1, count + 1)]
