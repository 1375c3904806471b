"""Scores of a model on a corpus: ``python -m clustering.evaluate RUN``.

One row for each source of a track goes to ``scores.csv`` and the means to
``summary.json`` and ``summary.md``, beside published scores on the corpus. Estimates
are aligned with the sources by the order of highest SI-SDR, one order for a whole
track. ``--oracle`` scores ideal masks of the same transform as well, ``--bss`` adds the
ratios of BSS Eval, ``--stoi`` the intelligibility of speech, ``--confidence`` the
confidence in each embedding. After an interruption the same command continues after the
last measured track.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from clustering import corpus, published
from clustering.clusterers.confidence import MEASURES as CONFIDENCES
from clustering.clusterers.confidence import mixture_confidences
from clustering.config import ClusteringConfig
from clustering.foreign import experiment_file
from clustering.separate import SEGMENT_SECONDS
from clustering.separate import separator as separator_of
from clustering.weights import MODELS, Trained, restore, restore_named
from common.audio import resample
from common.config import ConfigError
from common.corpora import waveforms
from common.corpora.track import CorpusError, Track
from common.evaluation import bss_eval, command, intelligibility, score_key
from common.evaluation.command import Evaluation
from common.evaluation.table import Row, Rows, markdown
from common.files import write_json, write_text
from common.separation.separator import Separator
from common.signal.masking import binary_mask, ratio_mask
from common.signal.metrics import sdr, si_sdr
from common.signal.permutation import best_permutation
from common.signal.stft import Stft, istft, stft
from common.synthetic import miniature
from common.weights.locate import locate_model

MEASURES = ("si_sdr", "sdr", "si_sdr_improvement", "sdr_improvement")
BSS_MEASURES = ("bss_sdr", "bss_sir", "bss_sar", "bss_sdr_improvement")
"""The ratios of BSS Eval, version 3, which papers before SI-SDR reported."""
STOI_MEASURES = ("stoi", "stoi_mixture")
"""Intelligibility of each estimate, and of the mixture."""
WITH_EMBEDDING = ("dpcl", "chimera")
"""Networks with an embedding."""
IdealMask = Literal["ideal_binary", "ideal_ratio"]
SYNTHETIC = "Synthetic sounds: these numbers say nothing about real recordings.\n"
Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function from a mixture [channels, samples] and its sources [sources, channels,
samples], which only ideal masks use, to estimates [estimates, channels, samples]."""
SavedRows = MutableMapping[str, Row]
"""Rows by name, such as :class:`common.evaluation.table.Rows`; existing ones stay."""


class Task(NamedTuple):
    """An evaluation to run: identity of the model, columns of its table, function."""

    model: str
    columns: Sequence[str]
    evaluate: Callable[[Sequence[Track], SavedRows, int], Evaluation]


def in_best_order(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Put estimates into the order of highest SI-SDR, the same for all channels.

    Args:
        references: Float32 [sources, channels, samples].
        estimates: Float32 [estimates, channels, samples], at least as many.

    Returns:
        Float32 [sources, channels, samples]; of more estimates, the best ones.

    >>> waves = np.eye(2, 8, dtype=np.float32)[:, np.newaxis]
    >>> np.array_equal(in_best_order(waves, waves[::-1]), waves)
    True
    """
    channels = zip(references.swapaxes(0, 1), estimates.swapaxes(0, 1), strict=True)
    pairs = [
        si_sdr(target[:, tf.newaxis], output[tf.newaxis], zero_mean=True)
        for target, output in channels
    ]
    order = best_permutation(-tf.add_n(pairs) / len(pairs))[1]
    return estimates[order.numpy()]


def scores(
    mixture: np.ndarray,
    references: np.ndarray,
    estimates: np.ndarray,
    bss: bool,
    stoi_rate: int = 0,
) -> dict[str, np.ndarray]:
    """Measure estimates in the order of the sources.

    The means of all signals are subtracted before SI-SDR and SDR, as by nussl, so
    that an offset does not count as sound.

    Args:
        mixture: Float32 [samples], the baseline of improvements.
        references: Float32 [sources, samples].
        estimates: Float32 [sources, samples], see :func:`in_best_order`.
        bss: Whether to add the measures of BSS Eval.
        stoi_rate: Sample rate in Hz to add :data:`STOI_MEASURES`; 0: without them.

    Returns:
        Each of the measures, [sources], all but STOI in dB; NaN of silent sources.

    >>> waves = np.eye(2, 8, dtype=np.float32)
    >>> scores(waves.sum(0), waves, waves, False)["si_sdr"].round().tolist()
    [80.0, 80.0]
    """
    targets, separated, unseparated = map(_centred, (references, estimates, mixture))
    after = {"si_sdr": si_sdr(targets, separated), "sdr": sdr(targets, separated)}
    before = {"si_sdr": si_sdr(targets, unseparated), "sdr": sdr(targets, unseparated)}
    gains = {f"{name}_improvement": after[name] - before[name] for name in after}
    measured = {name: np.asarray(value) for name, value in (after | gains).items()}
    if bss:
        measured |= bss_ratios(mixture, references, estimates)
    if stoi_rate:
        compared = estimates, np.broadcast_to(mixture, references.shape)
        for name, sounds in zip(STOI_MEASURES, compared, strict=True):
            measured[name] = intelligibility.stoi(references, sounds, stoi_rate)
    sounding = (references != references[..., :1]).any(axis=-1)
    return {
        name: np.where(sounding, values, np.nan) for name, values in measured.items()
    }


def bss_ratios(
    mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure estimates in the order of the sources by BSS Eval.

    Args:
        mixture: Float32 [samples].
        references: Float32 [sources, samples].
        estimates: Float32 [sources, samples].

    Returns:
        Each of :data:`BSS_MEASURES` in dB, [sources]; NaN for all if a source or an
        estimate is silent.
    """
    ratios = bss_eval.whole(references, estimates)
    unseparated = np.broadcast_to(mixture, references.shape)
    # The difference of two infinite ratios is NaN.
    with np.errstate(invalid="ignore"):
        gain = ratios["SDR"] - bss_eval.whole(references, unseparated)["SDR"]
    return dict(zip(BSS_MEASURES, [*ratios.values(), gain], strict=True))


def oracle(
    mixture: np.ndarray, references: np.ndarray, params: Stft, mask: IdealMask
) -> np.ndarray:
    """Separate a mixture by ideal masks, an upper bound for masks of a transform.

    Args:
        mixture: Float32 [channels, samples].
        references: Float32 [sources, channels, samples].
        params: The transform.
        mask: ``"ideal_binary"``: every bin is assigned to its loudest source.
            ``"ideal_ratio"``: bins are divided in proportion to the magnitudes. nussl
            adds 1e-8 to their sum, 100 times as much, which lowers very quiet bins.

    Returns:
        Float32 [sources, channels, samples], with the phase of the mixture.

    >>> waves = np.eye(2, 64, dtype=np.float32)[:, np.newaxis]
    >>> oracle(waves.sum(0), waves, Stft(16, 4), "ideal_ratio").shape
    (2, 1, 64)
    """
    make = {"ideal_binary": binary_mask, "ideal_ratio": ratio_mask}[mask]
    by_channel = tf.constant(references.swapaxes(0, 1))
    masks = tf.cast(make(tf.abs(stft(by_channel, params))), tf.complex64)
    masked = masks * stft(tf.constant(mixture), params)[:, tf.newaxis]
    estimates = istft(masked, params, mixture.shape[-1])
    return estimates.numpy().swapaxes(0, 1)


def read(track: Track, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a track at a rate.

    Returns:
        The mixture, float32 [channels, samples], and the sources, float32 [sources,
        channels, samples].
    """
    sounds = list(track.sources.values())
    sounds += [] if track.mixture is None else [track.mixture]
    pairs = [waveforms.read(sound, track.sample_rate) for sound in sounds]
    waves = [resample.resample(wave, rate, sample_rate) for wave, rate in pairs]
    channels = max(len(wave) for wave in waves)
    samples = min(wave.shape[1] for wave in waves)
    alike = [np.broadcast_to(wave[:, :samples], [channels, samples]) for wave in waves]
    stacked = np.stack(alike).astype(np.float32)
    if track.mixture is None:
        return stacked.sum(axis=0), stacked
    return stacked[-1], stacked[:-1]


def evaluate(
    separator: Separator,
    tracks: Sequence[Track],
    rows: SavedRows | None = None,
    jobs: int = 1,
    *,
    bss: bool = False,
    stoi: bool = False,
) -> Evaluation:
    """Score a separator on tracks: the mean over the channels of each source.

    Args:
        separator: The model.
        tracks: Mixtures with their sources.
        rows: Store of the rows; existing ones are not measured again.
        jobs: Number of tracks to measure at once.
        bss: Whether to add the measures of BSS Eval.
        stoi: Whether to add :data:`STOI_MEASURES`.

    Returns:
        A row for each source of each track, and their :func:`summary`.
    """

    def estimate(mixture: np.ndarray, references: np.ndarray) -> np.ndarray:
        return np.stack(list(separator(mixture).values()))

    return _evaluate(estimate, tracks, separator.sample_rate, rows, jobs, bss, stoi)


def evaluate_ideal(
    mask: IdealMask,
    config: ClusteringConfig,
    tracks: Sequence[Track],
    rows: SavedRows | None = None,
    jobs: int = 1,
    *,
    bss: bool = False,
    stoi: bool = False,
) -> Evaluation:
    """Score ideal masks of the transform of a configuration; see :func:`evaluate`."""
    estimate = partial(oracle, params=config.whole_stft, mask=mask)
    return _evaluate(estimate, tracks, config.sample_rate, rows, jobs, bss, stoi)


def evaluate_confidence(
    trained: Trained,
    tracks: Sequence[Track],
    rows: SavedRows | None = None,
    jobs: int = 1,
) -> Evaluation:
    """Measure the confidence in the embedding of every mixture, at most 60 s of it.

    Args:
        trained: A network with an embedding.
        tracks: The mixtures.
        rows: Store of the rows; existing ones are not measured again.
        jobs: Number of tracks to measure at once.

    Returns:
        The measures of :mod:`clustering.clusterers.confidence` of each track, and
        their means.

    Raises:
        ConfigError: The network has no embedding.
    """
    _expect_embedding(trained.config)
    rate = trained.config.sample_rate
    samples = round(SEGMENT_SECONDS * rate)

    def measure(track: Track) -> Row:
        mixture, _ = read(track, rate)
        measures = mixture_confidences(*trained, mixture[:, :samples])
        return {"name": track.name, **measures}

    saved = {} if rows is None else rows
    pending = [track for track in tracks if track.name not in saved]
    for row in command.each(measure, pending, jobs):
        saved[row["name"]] = row
    measured = [saved[track.name] for track in tracks]
    return Evaluation(measured, _means(measured))


def rank_correlations(
    confidence: Sequence[Row], scored: Sequence[Row]
) -> dict[str, float]:
    """Correlate the ranks of confidences and of SI-SDR over tracks (Spearman).

    Args:
        confidence: Rows by track, from :func:`evaluate_confidence`.
        scored: Rows by track and source, from :func:`evaluate`.

    Returns:
        The correlation of each measure with the mean SI-SDR of a mixture, -1 to 1; a
        measure with fewer than three different values is left out.
    """
    levels: dict[str, list[float]] = {}
    for row in scored:
        track = row["name"].rpartition("/")[0]
        levels.setdefault(track, []).append(float(row["si_sdr"]))
    pairs = [(row, _mean(levels[row["name"]])) for row in confidence]
    sounding = [(row, mean) for row, mean in pairs if not np.isnan(mean)]
    means = [mean for _, mean in sounding]
    correlations = {}
    for measure in CONFIDENCES:
        values = [float(row[measure]) for row, _ in sounding]
        if min(len(set(values)), len(set(means))) > 2:
            correlations[measure] = float(spearmanr(values, means).statistic)
    return correlations


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Average the measures over all rows, and over those of each source.

    Silent sources, for which a measure is undefined, are left out of its mean.
    """
    groups = {"all": list(rows)}
    for row in rows:
        groups.setdefault(row["name"].rpartition("/")[2], []).append(row)
    return {name: _means(group) for name, group in groups.items()}


def table(means: Mapping[str, Mapping[str, float]]) -> str:
    """Format a summary as a table of Markdown."""
    measures = [name for name in means["all"] if name != "count"]
    rows = [
        [
            name,
            *(_written(m, row[m]) if m in row else "none" for m in measures),
            f"{row['count']:.0f}",
        ]
        for name, row in means.items()
    ]
    return markdown(["source", *measures, "count"], rows)


def _written(measure: str, mean: float) -> str:
    return f"{mean:.3f}" if measure in STOI_MEASURES else f"{mean:.2f} dB"


def _evaluate(
    estimate: Estimate,
    tracks: Sequence[Track],
    sample_rate: int,
    rows: SavedRows | None,
    jobs: int,
    bss: bool,
    stoi: bool,
) -> Evaluation:
    """Score estimates of every track, and save a row for each source."""
    saved = {} if rows is None else rows

    def measure(track: Track) -> list[Row]:
        mixture, references = read(track, sample_rate)
        estimates = in_best_order(references, estimate(mixture, references))
        rate = sample_rate if stoi else 0
        channels = [
            scores(mixture[c], references[:, c], estimates[:, c], bss, rate)
            for c in range(len(mixture))
        ]
        measured = []
        for index, name in enumerate(_names(track)):
            values = {m: [channel[m][index] for channel in channels] for m in columns}
            means = {m: _mean(values[m]) for m in columns}
            measured.append({"name": name, **means})
        return measured

    columns = _columns(bss, stoi)
    pending = [t for t in tracks if not all(name in saved for name in _names(t))]
    for measured in command.each(measure, pending, jobs):
        saved.update({row["name"]: row for row in measured})
    finished = [saved[name] for track in tracks for name in _names(track)]
    return Evaluation(finished, summary(finished))


def _centred(waves: np.ndarray) -> tf.Tensor:
    """Subtract the mean of every signal [..., samples]."""
    return tf.constant(waves - waves.mean(axis=-1, keepdims=True))


def _mean(values: Sequence[float]) -> float:
    """Average what is defined; NaN if nothing is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _columns(bss: bool, stoi: bool) -> tuple[str, ...]:
    more = (*(BSS_MEASURES if bss else ()), *(STOI_MEASURES if stoi else ()))
    return (*MEASURES, *more)


def _names(track: Track) -> list[str]:
    return [f"{track.name}/{source}" for source in track.sources]


def _means(group: Sequence[Row]) -> dict[str, float]:
    means: dict[str, float] = {"count": len(group)}
    for measure in group[0]:
        if measure != "name":
            values = [float(row[measure]) for row in group]
            defined = [value for value in values if np.isfinite(value)]
            means |= {measure: float(np.mean(defined))} if defined else {}
    return means


def _expect_embedding(config: ClusteringConfig) -> None:
    if config.role not in WITH_EMBEDDING:
        raise ConfigError(
            f"--confidence: {config.kind} has no embedding; expected one of "
            f"{', '.join(WITH_EMBEDDING)}, or leave it out"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Score a model on the mixtures of a corpus."""
    parser = command.parser("clustering.evaluate", main.__doc__)
    add = parser.add_argument
    add(
        "-p",
        dest="file",
        metavar="FILE",
        help="experiment file (.yml) with the model and the data",
    )
    add("--oracle", action="store_true", help="also score ideal masks")
    add("--bss", action="store_true", help="add SDR, SIR and SAR of BSS Eval")
    add("--stoi", action="store_true", help="add STOI of speech, which needs pystoi")
    add(
        "--confidence",
        action="store_true",
        help="measure the confidence in each embedding and its correlation with SI-SDR",
    )
    return command.command(parser, _main, argv)


def _main(options: argparse.Namespace) -> int:
    trained, config, output = _restore(options)
    separator = separator_of(*trained)
    if options.confidence:
        _expect_embedding(trained.config)
    if options.stoi:
        intelligibility.load(config.sample_rate)
    if options.data:
        config = replace(config, data_root=options.data, folders=())
    root = corpus.root(config)
    split = corpus.tracks(config, root, options.split)
    if len(split[0].sources) > len(separator.sources):
        raise CorpusError(
            f"{split[0].name} has {len(split[0].sources)} sources and the model "
            f"{len(separator.sources)} outputs; group them by sources=..."
        )
    tracks = split[: options.limit]
    results = {}
    for name, task in _tasks(options, trained, config, separator).items():
        # The limit is not part of the key, so rows of shorter evaluations are used.
        settings = {"sample_rate": config.sample_rate, "signals": "without their means"}
        key = score_key.key(task.model, split, **settings)
        rows = Rows(output / f"{name}.csv", ("name", *task.columns), key)
        results[name] = task.evaluate(tracks, rows, options.jobs)
        rows.finish(row["name"] for row in results[name].rows)
    means = results["scores"].summary
    means |= {n: results[n].summary["all"] for n in get_args(IdealMask) if n in results}
    text = _text(config, means, options.split, len(tracks), root)
    if options.confidence:
        means["confidence"], confidence_text = _confidences(results)
        text += f"\n{confidence_text}"
    write_json(means, output / "summary.json")
    write_text(output / "summary.md", text)
    sys.stdout.write(text)
    return 0


def _confidences(results: Mapping[str, Evaluation]) -> tuple[dict[str, Any], str]:
    """Return confidences and their correlations with the scores, and their table."""
    confidence = results["confidence"]
    means = confidence.summary
    correlations = rank_correlations(confidence.rows, results["scores"].rows)
    cells = [
        [
            measure,
            f"{means[measure]:.2f}",
            f"{correlations[measure]:.2f}" if measure in correlations else "none",
        ]
        for measure in CONFIDENCES
    ]
    text = markdown(["confidence", "mean", "rank correlation with SI-SDR"], cells)
    named = {f"{name}_correlation": value for name, value in correlations.items()}
    return means | named, text


def _tasks(
    options: argparse.Namespace,
    trained: Trained,
    config: ClusteringConfig,
    separator: Separator,
) -> dict[str, Task]:
    """List the evaluations to run by the names of their tables."""
    digest = score_key.digest(separator)
    extra = {"bss": options.bss, "stoi": options.stoi}
    columns = _columns(**extra)
    tasks = {"scores": Task(digest, columns, partial(evaluate, separator, **extra))}
    for mask in get_args(IdealMask) if options.oracle else ():
        score = partial(evaluate_ideal, mask, config, **extra)
        tasks[mask] = Task(f"{mask} {config.whole_stft}", columns, score)
    if options.confidence:
        score = partial(evaluate_confidence, trained)
        tasks["confidence"] = Task(digest, CONFIDENCES, score)
    return tasks


def _text(
    config: ClusteringConfig,
    means: Mapping[str, Mapping[str, float]],
    split: str,
    count: int,
    root: Path,
) -> str:
    """Format the means, beside published scores on the corpus."""
    synthetic = (root / miniature.MARKER).exists()
    text = table(means) + (f"\n{SYNTHETIC}" if synthetic else "")
    same = published.is_comparable(config, split, count) and not synthetic
    beside = published.table(config, means if same else None)
    return text + (f"\n{beside}" if beside else "")


def _restore(options: argparse.Namespace) -> tuple[Trained, ClusteringConfig, Path]:
    """Restore the model; return also the configuration of its data and the output."""
    if (options.model is None) == (options.file is None):
        raise ConfigError("name a model, such as a run folder, or a file after -p")
    if options.file:
        experiment = experiment_file.read(options.file)
        trained = restore_named(experiment, options.checkpoint)
        config = experiment_file.with_data(trained.config, experiment, options.split)
        output = command.results_folder(options, experiment.path)
        if not options.output:
            output = experiment_file.output(experiment) / output.name
        return trained, config, output
    trained = restore(options.model, checkpoint=options.checkpoint)
    location = locate_model(options.model, MODELS)
    output = command.results_folder(options, location.own)
    return trained, trained.config, output


if __name__ == "__main__":
    sys.exit(main())
