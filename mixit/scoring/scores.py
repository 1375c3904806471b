"""One row of measures for each example, and their means over a set.

Columns are named as in the table of the FUSS baseline: ``{measure}_source{i}`` for each
output, and counts. That program writes every value into a row of its own, in a column
without a name; here an example is one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.evaluation.table import Row, number
from mixit.loss import ACTIVE_RMS
from mixit.metrics import Scores, score, score_mixtures

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
RATES = ("under", "equal", "over")
# Sources of an example of FUSS at most; sets with more get further lines.
MOST_SOURCES = 4


def columns(outputs: int) -> list[str]:
    """Columns of a table of sources, in the order of the FUSS baseline.

    >>> len(columns(4))
    39
    """
    names = ["example"]
    for measure in sorted((*PER_SOURCE, *PER_EXAMPLE)):
        numbers = [""] if measure in PER_EXAMPLE else _numbers("source", outputs)
        names += [measure + each for each in numbers]
    return names


def mixture_columns(mixtures: int = 2) -> list[str]:
    """Columns of a table of mixtures of mixtures.

    >>> mixture_columns()[:3]
    ['example', 'sisnr_improvement_mix1', 'sisnr_improvement_mix2']
    """
    numbers = _numbers("mix", mixtures)
    return ["example", *(name + each for name in PER_MIXTURE for each in numbers)]


def row(
    name: str, sources: np.ndarray, estimates: np.ndarray, mixture: np.ndarray
) -> Row:
    """Measure one example.

    Args:
        name: Of the example.
        sources: References [sources, samples].
        estimates: Outputs of a model [outputs, samples].
        mixture: What was separated [samples].

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
    batch = [tf.constant(each[np.newaxis]) for each in (sources, estimates, mixture)]
    scores = score(batch[0], batch[1], batch[2])
    return {"example": name, **_per_source(scores), **_per_example(scores)}


def mixture_row(name: str, mixtures: np.ndarray, estimates: np.ndarray) -> Row:
    """Measure how well mixtures are put together again from estimates of their sum.

    Args:
        name: Of the example.
        mixtures: [mixtures, samples].
        estimates: Outputs of a model for their sum [outputs, samples].

    Returns:
        Cells by :func:`mixture_columns`.
    """
    signals = (tf.constant(each[np.newaxis]) for each in (mixtures, estimates))
    again, together = score_mixtures(*signals)
    after, before = again.numpy()[0], together.numpy()[0]
    values = {
        "sisnr_improvement": after - before,
        "sisnr_mixture": before,
        "sisnr_separated": after,
    }
    cells = {
        measure + each: number(value)
        for measure, array in values.items()
        for each, value in zip(_numbers("mix", len(array)), array, strict=True)
    }
    return {"example": name, **cells}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Pool the active sources of all examples by number of sources.

    A source counts where it and the estimate aligned to it are active.

    Args:
        rows: Of :func:`row`.

    Returns:
        ``1S`` (SI-SNR), ``2Si``, ``3Si``, ``4Si``, ... and ``MSi`` (improvement) with
        mean and population deviation in dB and the number of sources; ``under``,
        ``equal``, ``over`` as shares of the examples.
    """
    summary: dict[str, Any] = {"examples": len(rows)}
    most = max([MOST_SOURCES, *(each["num_active_refs"] for each in rows)])
    values = {count: _values(rows, count) for count in range(1, most + 1)}
    summary["1S"] = moments(values[1])
    for count in range(2, most + 1):
        summary[f"{count}Si"] = moments(values[count])
    several = [v for count in range(2, most + 1) for v in values[count]]
    summary["MSi"] = moments(several)
    for name in RATES:
        flags = [each[f"{name}_separation"] for each in rows]
        summary[name] = float(np.mean(flags)) if flags else 0.0
    return summary


def summarise_mixtures(rows: Sequence[Row]) -> dict[str, Any]:
    """Pool the mixtures of all examples: ``MoMi`` with mean and deviation in dB."""
    improvements = [
        value
        for each in rows
        for column, value in each.items()
        if column.startswith("sisnr_improvement_mix")
    ]
    return {"examples": len(rows), "MoMi": moments(improvements)}


def measures(summary: dict[str, Any]) -> list[str]:
    """List the measures of a summary that are means of dB, in their order."""
    return [name for name, cell in summary.items() if _is_moments(cell)]


def report(summary: dict[str, Any]) -> str:
    """Say a summary of sources in the lines of the FUSS baseline's program."""
    counts = [int(name.rstrip("Si")) for name in measures(summary) if name != "MSi"]
    lines = ["Final statistics:", _line("SI-SNR", [1], summary["1S"])]
    several = [count for count in counts if count > 1]
    lines += [_line("SI-SNRi", [count], summary[f"{count}Si"]) for count in several]
    lines.append(_line("SI-SNRi", several, summary["MSi"]))
    lines += [f"{name.title()} separation: {summary[name]:.2f}" for name in RATES]
    return "\n".join(lines) + "\n"


def active(sources: np.ndarray) -> np.ndarray:
    """Tell which sources [..., samples] are not silent."""
    return np.asarray(np.sqrt(np.mean(np.square(sources), axis=-1)) > ACTIVE_RMS)


def moments(values: Sequence[float]) -> dict[str, Any]:
    """Mean and population deviation of values in dB, None where there are none."""
    if not values:
        return {"mean": None, "deviation": None, "sources": 0}
    mean, deviation = float(np.mean(values)), float(np.std(values))
    return {"mean": mean, "deviation": deviation, "sources": len(values)}


def _per_source(scores: Scores) -> Row:
    pairs = scores.active_references & scores.active_estimates
    tensors = {
        "power_separated": scores.estimate_power,
        "power_sources": scores.reference_power,
        "sisnr_improvement": scores.improvement,
        "sisnr_mixture": scores.mixture,
        "sisnr_separated": scores.separated,
        "weights_active_pairs": pairs,
        "weights_active_refs": scores.active_references,
        "weights_active_seps": scores.active_estimates,
    }
    cells: Row = {}
    for measure, tensor in tensors.items():
        values = tensor.numpy()[0]
        for each, value in zip(_numbers("source", len(values)), values, strict=True):
            cells[measure + each] = (
                bool(value) if values.dtype == bool else number(value)
            )
    return cells


def _per_example(scores: Scores) -> Row:
    references = scores.active_references.numpy()[0]
    estimates = scores.active_estimates.numpy()[0]
    wanted, found = int(references.sum()), int(estimates.sum())
    return {
        "num_active_refs": wanted,
        "num_active_seps": found,
        "num_active_pairs": int((references & estimates).sum()),
        "under_separation": float(found < wanted),
        "equal_separation": float(found == wanted),
        "over_separation": float(found > wanted),
    }


def _values(rows: Sequence[Row], count: int) -> list[float]:
    """Values of the active pairs of all examples with so many sources."""
    measure = "sisnr_separated" if count == 1 else "sisnr_improvement"
    return [
        each[f"{measure}_source{i}"]
        for each in rows
        if each["num_active_refs"] == count
        for i in range(1, len(each))
        if each.get(f"weights_active_pairs_source{i}")
    ]


def _line(label: str, counts: list[int], cell: dict[str, Any]) -> str:
    if cell["mean"] is None:
        return f"{label} for count(s) {counts} = none in this set"
    numbers = f"{cell['mean']:.1f} +/- {cell['deviation']:.1f} dB"
    return f"{label} for count(s) {counts} = {numbers}"


def _numbers(noun: str, count: int) -> list[str]:
    return [f"_{noun}{index}" for index in range(1, count + 1)]


def _is_moments(cell: Any) -> bool:
    return isinstance(cell, dict) and "deviation" in cell
