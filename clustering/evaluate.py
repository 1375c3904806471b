"""Scores of a run on the test set: ``python -m clustering.evaluate RUN``.

One row for each source of a track goes to ``scores.csv`` and the means to
``summary.json`` and ``summary.md``, beside what was published on the corpus. Estimates
are in the order of the sources that has the highest SI-SDR, one order for a whole
track. ``--oracle`` scores ideal masks of the same transform as well, ``--bss`` adds the
ratios of BSS Eval, ``--confidence`` the confidence in each embedding. Stopped at any
time, the same command goes on after the last track that it measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr
from tqdm import tqdm

from clustering import corpus, embedded, experiment_file, published
from clustering.confidence import MEASURES as CONFIDENCES
from clustering.confidence import mixture_confidences
from clustering.config import ClusteringConfig
from clustering.separate import SEGMENT_SECONDS, Trained, restore, restore_named
from clustering.separate import separator as separator_of
from common.audio import resample
from common.config import ConfigError
from common.corpora import waveforms
from common.corpora.track import CorpusError, Track
from common.errors import exit_code
from common.evaluation import bss_eval, score_key
from common.evaluation.table import Row, Rows
from common.files import user_path, write_json, write_text
from common.separation.command import add_checkpoint
from common.separation.separator import Separator
from common.signal.masking import binary_mask, ratio_mask
from common.signal.metrics import sdr, si_sdr
from common.signal.permutation import best_permutation, permute
from common.signal.stft import Stft, istft, stft
from common.synthetic import miniature
from common.training.checkpoint import run_of, scores_folder

FOLDER = "evaluation"
MEASURES = ("si_sdr", "sdr", "si_sdr_improvement", "sdr_improvement")
BSS_MEASURES = ("bss_sdr", "bss_sir", "bss_sar", "bss_sdr_improvement")
"""The ratios of BSS Eval, version 3, which papers before SI-SDR reported."""
EMBEDDED = ("dpcl", "chimera")
"""Networks with an embedding."""
IdealMask = Literal["ideal_binary", "ideal_ratio"]
SYNTHETIC = "Synthetic sounds: these numbers say nothing about real recordings.\n"
Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From a mixture [channels, samples] and its sources [sources, channels, samples],
which only ideal masks use, to estimates [estimates, channels, samples]."""


def scores(
    mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray, bss: bool
) -> dict[str, np.ndarray]:
    """Measure estimates in their best order against the sources.

    Args:
        mixture: Float32 [samples], what an estimate improves on.
        references: Float32 [sources, samples].
        estimates: Float32 [estimates, samples], no fewer.
        bss: Whether to add the measures of BSS Eval.

    Returns:
        Each of the measures in dB, [sources].

    >>> waves = np.eye(2, 8, dtype=np.float32)
    >>> scores(waves.sum(0), waves, waves[::-1], False)["si_sdr"].round().tolist()
    [80.0, 80.0]
    """
    truth, unseparated = tf.constant(references), tf.constant(mixture)
    pairs = si_sdr(truth[:, tf.newaxis], tf.constant(estimates)[tf.newaxis])
    ordered = permute(tf.constant(estimates), best_permutation(-pairs)[1])
    after = {"si_sdr": si_sdr(truth, ordered), "sdr": sdr(truth, ordered)}
    before = {"si_sdr": si_sdr(truth, unseparated), "sdr": sdr(truth, unseparated)}
    gains = {f"{name}_improvement": after[name] - before[name] for name in after}
    measured = {name: np.asarray(value) for name, value in (after | gains).items()}
    if bss:
        measured |= bss_ratios(mixture, references, ordered.numpy())
    return measured


def bss_ratios(
    mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure estimates in the order of the sources by BSS Eval.

    Args:
        mixture: Float32 [samples].
        references: Float32 [sources, samples].
        estimates: Float32 [sources, samples].

    Returns:
        Each of :data:`BSS_MEASURES` in dB, [sources]; NaN for all where a source or an
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
    """Separate a mixture by ideal masks, the best that masks of a transform can reach.

    Args:
        mixture: Float32 [channels, samples].
        references: Float32 [sources, channels, samples].
        params: The transform.
        mask: ``"ideal_binary"``: every bin goes to its loudest source.
            ``"ideal_ratio"``: bins are divided in proportion to the magnitudes.

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
    read_ = [waveforms.read(sound, track.sample_rate) for sound in sounds]
    waves = [resample.resample(wave, rate, sample_rate) for wave, rate in read_]
    channels = max(len(wave) for wave in waves)
    samples = min(wave.shape[1] for wave in waves)
    alike = [np.broadcast_to(wave[:, :samples], [channels, samples]) for wave in waves]
    stacked = np.stack(alike).astype(np.float32)
    if track.mixture is None:
        return stacked.sum(axis=0), stacked
    return stacked[-1], stacked[:-1]


def evaluate(
    estimate: Estimate,
    tracks: Sequence[Track],
    sample_rate: int,
    file: Path,
    model: str,
    bss: bool = False,
) -> Rows:
    """Score every track, each channel by itself, and write the rows to a file.

    Args:
        estimate: Separates a mixture.
        tracks: Mixtures with their sources.
        sample_rate: Rate to score at, in Hz.
        file: The table to write.
        model: Text that identifies ``estimate``, as from
            :func:`common.evaluation.score_key.digest`; rows of another one are
            discarded.
        bss: Whether to add the measures of BSS Eval.

    Returns:
        The rows by track and source.
    """
    measures = (*MEASURES, *(BSS_MEASURES if bss else ()))
    columns = ("name", *measures)
    key = score_key.key(model, tracks, sample_rate=sample_rate)
    rows = Rows(file, columns, key)
    complete = []
    for track in tqdm(tracks, desc=file.stem, disable=None, leave=False):
        names = [f"{track.name}/{source}" for source in track.sources]
        complete += names
        if all(name in rows for name in names):
            continue
        mixture, references = read(track, sample_rate)
        estimates = estimate(mixture, references)
        channels = [
            scores(mixture[c], references[:, c], estimates[:, c], bss)
            for c in range(len(mixture))
        ]
        for index, name in enumerate(names):
            means = {
                m: float(np.mean([c[m][index] for c in channels])) for m in measures
            }
            rows[name] = {"name": name, **means}
    rows.finish(complete)
    return rows


def evaluate_confidence(
    trained: Trained, tracks: Sequence[Track], file: Path, model: str
) -> Rows:
    """Measure the confidence in the embedding of every mixture, of 60 s at most.

    Args:
        trained: A network with an embedding.
        tracks: The mixtures.
        file: The table to write.
        model: Text that identifies the network, see :func:`evaluate`.

    Returns:
        The measures of :mod:`clustering.confidence` by track.

    Raises:
        ConfigError: The network has no embedding.
    """
    rate = trained.config.sample_rate
    if trained.config.role not in EMBEDDED:
        raise ConfigError(
            f"--confidence: {trained.config.kind} has no embedding; expected one of "
            f"{', '.join(EMBEDDED)}, or leave it out"
        )
    key = score_key.key(model, tracks, sample_rate=rate)
    rows = Rows(file, ("name", *CONFIDENCES), key)
    samples = round(SEGMENT_SECONDS * rate)
    for track in tqdm(tracks, desc=file.stem, disable=None, leave=False):
        if track.name not in rows:
            mixture, _ = read(track, rate)
            measures = mixture_confidences(*trained, mixture[:, :samples])
            rows[track.name] = {"name": track.name, **measures}
    rows.finish([track.name for track in tracks])
    return rows


def correlate(
    confidence: Mapping[str, Row], scored: Mapping[str, Row], tracks: Sequence[Track]
) -> dict[str, float]:
    """Average the confidences and rank them against SI-SDR.

    Args:
        confidence: Rows by track, from :func:`evaluate_confidence`.
        scored: Rows by track and source, from :func:`evaluate`.
        tracks: The mixtures.

    Returns:
        The mean of each measure, and as ``<measure>_correlation`` its rank correlation
        (Spearman) with the mean SI-SDR of a mixture, from three different values on.
    """
    levels = [
        float(np.mean([float(scored[f"{t.name}/{n}"]["si_sdr"]) for n in t.sources]))
        for t in tracks
    ]
    means = {}
    for measure in CONFIDENCES:
        values = [float(confidence[track.name][measure]) for track in tracks]
        means[measure] = float(np.mean(values))
        if min(len(set(values)), len(set(levels))) > 2:
            correlation = spearmanr(values, levels).statistic
            means[f"{measure}_correlation"] = float(correlation)
    return means


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Average the measures over all rows, and over those of each source.

    A silent source, which a measure is not defined for, is left out of its mean.
    """
    groups = {"all": list(rows.values())}
    for row in rows.values():
        groups.setdefault(row["name"].rpartition("/")[2], []).append(row)
    return {name: _means(group) for name, group in groups.items()}


def _means(group: Sequence[Row]) -> dict[str, float]:
    means: dict[str, float] = {"count": len(group)}
    for measure in group[0]:
        if measure != "name":
            values = [float(row[measure]) for row in group]
            defined = [value for value in values if np.isfinite(value)]
            means |= {measure: float(np.mean(defined))} if defined else {}
    return means


def table(means: Mapping[str, Mapping[str, float]]) -> str:
    """Write a summary as a table of Markdown."""
    measures = [name for name in means["all"] if name != "count"]
    lines = [f"| source | {' | '.join(measures)} | count |\n"]
    lines.append(f"|{'---|' * (len(measures) + 2)}\n")
    for name, row in means.items():
        cells = " | ".join(
            f"{row[measure]:.2f} dB" if measure in row else "none"
            for measure in measures
        )
        lines.append(f"| {name} | {cells} | {row['count']:.0f} |\n")
    return "".join(lines)


def confidence_table(means: Mapping[str, float]) -> str:
    """Write confidences and their correlations as a table of Markdown."""
    lines = ["| confidence | mean | rank correlation with SI-SDR |\n|---|---|---|\n"]
    for measure in CONFIDENCES:
        correlation = means.get(f"{measure}_correlation")
        text = "none" if correlation is None else f"{correlation:.2f}"
        lines.append(f"| {measure} | {means[measure]:.2f} | {text} |\n")
    return "".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; returns the exit code."""
    parser = argparse.ArgumentParser("clustering.evaluate", description=main.__doc__)
    parser.add_argument(
        "model", nargs="?", help="run folder, or name of a bundled model"
    )
    parser.add_argument(
        "-p",
        dest="file",
        metavar="FILE",
        help="experiment file (.yml) that names the model and the data instead",
    )
    add_checkpoint(parser)
    parser.add_argument("--root", help="folder of the corpus (default: the run's)")
    parser.add_argument("--split", default="test", choices=["train", "valid", "test"])
    parser.add_argument(
        "--output",
        type=Path,
        help="default: RUN/evaluation, evaluation/NAME, or that of the experiment "
        "file; evaluation-SPLIT for another split than test",
    )
    parser.add_argument(
        "--oracle", action="store_true", help="score ideal masks of the transform too"
    )
    parser.add_argument(
        "--bss", action="store_true", help="add SDR, SIR and SAR of BSS Eval"
    )
    parser.add_argument(
        "--confidence",
        action="store_true",
        help="measure the confidence in each embedding and its correlation with SI-SDR",
    )
    options = parser.parse_args(argv)
    if (options.model is None) == (options.file is None):
        parser.error("name a run folder or a model, or an experiment file by -p")
    return exit_code("clustering.evaluate", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    trained, config, default = _restored(options)
    separator = separator_of(*trained)
    if options.root:
        config = replace(config, root=options.root)
    root = corpus.root(config)
    tracks = corpus.tracks(config, root, options.split)
    if len(tracks[0].sources) > len(separator.sources):
        raise CorpusError(
            f"{tracks[0].name} has {len(tracks[0].sources)} sources and the model "
            f"{len(separator.sources)} outputs; group them by sources=..."
        )
    output = options.output or default
    key = score_key.digest(separator)
    confidence = None
    if options.confidence:
        file = output / "confidence.csv"
        confidence = evaluate_confidence(trained, tracks, file, key)
    tables = {
        name: evaluate(
            estimate,
            tracks,
            config.sample_rate,
            output / f"{name or 'scores'}.csv",
            f"{name} {config.stft}" if name else key,
            options.bss,
        )
        for name, estimate in _estimates(separator, config, options.oracle).items()
    }
    means = summary(tables[""])
    means |= {name: summary(rows)["all"] for name, rows in tables.items() if name}
    synthetic = (root / miniature.MARKER).exists()
    text = table(means) + (f"\n{SYNTHETIC}" if synthetic else "")
    same = published.is_comparable(config, options.split, len(tracks))
    beside = published.table(config, means if same and not synthetic else None)
    text += f"\n{beside}" if beside else ""
    if confidence is not None:
        means["confidence"] = correlate(confidence, tables[""], tracks)
        text += f"\n{confidence_table(means['confidence'])}"
    write_json(means, output / "summary.json")
    write_text(output / "summary.md", text)
    sys.stdout.write(text)
    return 0


def _restored(options: argparse.Namespace) -> tuple[Trained, ClusteringConfig, Path]:
    """Restore the model; return its configuration and default output as well."""
    split = options.split
    folder = FOLDER if split == "test" else f"{FOLDER}-{split}"
    if options.file:
        experiment = experiment_file.read(options.file)
        trained = restore_named(experiment, options.checkpoint)
        config = experiment_file.with_data(trained.config, experiment, split)
        name = scores_folder(experiment.path, options.checkpoint, folder)
        return trained, config, experiment_file.output(experiment) / name
    trained = restore(options.model, checkpoint=options.checkpoint)
    path = user_path(options.model)
    output = (run_of(path) or path.parent) / scores_folder(
        path, options.checkpoint, folder
    )
    if embedded.find(options.model):
        output = Path(folder, options.model)
    return trained, trained.config, output


def _estimates(
    separator: Separator, config: ClusteringConfig, ideal: bool
) -> dict[str, Estimate]:
    """List the separators to score, the model itself under an empty name."""

    def run(mixture: np.ndarray, references: np.ndarray) -> np.ndarray:
        return np.stack(list(separator(mixture).values()))

    names = get_args(IdealMask) if ideal else ()
    masks = {name: partial(oracle, params=config.stft, mask=name) for name in names}
    return {"": run, **masks}


if __name__ == "__main__":
    sys.exit(main())
