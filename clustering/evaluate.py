"""Scores of a run on the test set: ``python -m clustering.evaluate RUN``.

One row for each source of a track goes to ``scores.csv`` and the means to
``summary.json`` and ``summary.md``, beside what was published on the corpus. Estimates
are in the order of the sources that has the highest SI-SDR, one order for a whole
track. ``--oracle`` scores ideal masks of the same transform as well, ``--bss`` adds the
ratios of BSS Eval. Stopped at any time, the same command goes on after the last track
that it measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from clustering import corpus, experiment_file, published
from clustering.bundled import FOLDER as BUNDLED
from clustering.config import ClusteringConfig
from clustering.oracle import Kind, oracle
from clustering.separate import separator as separator_of
from clustering.weights import restore, restore_named
from common.audio import resample
from common.corpora import waveforms
from common.corpora.track import CorpusError, Track
from common.errors import exit_code
from common.evaluation import bss_eval, score_key
from common.evaluation.table import Row, Rows
from common.files import user_path, write_json, write_text
from common.separation.command import add_checkpoint
from common.separation.separator import Separator
from common.signal.metrics import sdr, si_sdr
from common.signal.permutation import best_permutation, permute
from common.synthetic import miniature
from common.training.checkpoint import run_of, scores_folder
from common.weights import bundled

FOLDER = "evaluation"
MEASURES = ("si_sdr", "sdr", "si_sdr_improvement", "sdr_improvement")
BSS_MEASURES = ("bss_sdr", "bss_sir", "bss_sar", "bss_sdr_improvement")
"""The ratios of BSS Eval, version 3, which papers before SI-SDR reported."""
SYNTHETIC = "Synthetic sounds: these numbers say nothing about real recordings.\n"
Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From a mixture [channels, samples] and its sources [sources, channels, samples],
which only ideal masks look at, to estimates [estimates, channels, samples]."""


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
    truth, heard = tf.constant(references), tf.constant(estimates)
    pairs = si_sdr(truth[:, tf.newaxis], heard[tf.newaxis])
    ordered = permute(heard, best_permutation(-pairs)[1])
    found = {"si_sdr": si_sdr(truth, ordered), "sdr": sdr(truth, ordered)}
    whole = tf.constant(mixture)
    before = {"si_sdr": si_sdr(truth, whole), "sdr": sdr(truth, whole)}
    better = {f"{name}_improvement": found[name] - before[name] for name in found}
    measured = {name: np.asarray(value) for name, value in {**found, **better}.items()}
    if bss:
        measured |= bss_ratios(mixture, references, ordered.numpy())
    return measured


def bss_ratios(
    mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure estimates that are in the order of the sources by BSS Eval.

    Args:
        mixture: Float32 [samples].
        references: Float32 [sources, samples].
        estimates: Float32 [sources, samples].

    Returns:
        Each of :data:`BSS_MEASURES` in dB, [sources]; NaN for all where a source or an
        estimate is silent.
    """
    found = bss_eval.whole(references, estimates)
    unseparated = np.broadcast_to(mixture, references.shape)
    # The difference of two infinite ratios is NaN.
    with np.errstate(invalid="ignore"):
        better = found["SDR"] - bss_eval.whole(references, unseparated)["SDR"]
    return dict(zip(BSS_MEASURES, [*found.values(), better], strict=True))


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
    whole = [np.broadcast_to(wave[:, :samples], [channels, samples]) for wave in waves]
    stacked = np.stack(whole).astype(np.float32)
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
        estimate: What separates.
        tracks: Mixtures with their sources.
        sample_rate: Rate to score at, in Hz.
        file: The table to write.
        model: Text that identifies ``estimate``, as from
            :func:`common.evaluation.score_key.digest`; rows of another one are not
            taken up.
        bss: Whether to add the measures of BSS Eval.

    Returns:
        The rows by track and source.
    """
    measures = (*MEASURES, *(BSS_MEASURES if bss else ()))
    columns = ("name", *measures)
    key = score_key.key(model, tracks, sample_rate=sample_rate)
    rows = Rows(file, columns, key)
    wanted = []
    for track in tqdm(tracks, desc=file.stem, disable=None, leave=False):
        names = [f"{track.name}/{source}" for source in track.sources]
        wanted += names
        if all(name in rows for name in names):
            continue
        mixture, references = read(track, sample_rate)
        estimates = estimate(mixture, references)
        channels = [
            scores(mixture[c], references[:, c], estimates[:, c], bss)
            for c in range(len(mixture))
        ]
        for place, name in enumerate(names):
            means = {
                m: float(np.mean([c[m][place] for c in channels])) for m in measures
            }
            rows[name] = {"name": name, **means}
    rows.finish(wanted)
    return rows


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Average the measures over all rows, and over those of each source.

    A source that a measure is not defined for, a silent one, is left out of its mean.
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


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; returns the exit code."""
    parser = argparse.ArgumentParser("clustering.evaluate", description=main.__doc__)
    parser.add_argument(
        "model", nargs="?", help="run folder, or name of an embedded model"
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
    options = parser.parse_args(argv)
    if (options.model is None) == (options.file is None):
        parser.error("name a run folder or a model, or an experiment file by -p")
    return exit_code("clustering.evaluate", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    separator, config, usual = _asked(options)
    if options.root:
        config = replace(config, root=options.root)
    place = corpus.root(config)
    tracks = corpus.tracks(config, place, options.split)
    if len(tracks[0].sources) > len(separator.sources):
        raise CorpusError(
            f"{tracks[0].name} has {len(tracks[0].sources)} sources and the model "
            f"{len(separator.sources)} outputs; group them by sources=..."
        )
    output = options.output or usual
    means: dict[str, dict[str, float]] = {}
    for name, estimate in _estimates(separator, config, options.oracle).items():
        file = output / f"{name or 'scores'}.csv"
        model = f"{name} {config.stft}" if name else score_key.digest(separator)
        rows = evaluate(estimate, tracks, config.sample_rate, file, model, options.bss)
        found = summary(rows)
        means |= {name: found["all"]} if name else found
    synthetic = (place / miniature.MARKER).exists()
    write_json(means, output / "summary.json")
    text = table(means) + (f"\n{SYNTHETIC}" if synthetic else "")
    same = published.is_comparable(config, options.split, len(tracks))
    row = published.table(config, means if same and not synthetic else None)
    text += f"\n{row}" if row else ""
    write_text(output / "summary.md", text)
    sys.stdout.write(text)
    return 0


def _asked(options: argparse.Namespace) -> tuple[Separator, ClusteringConfig, Path]:
    """Restore what shall be scored; tell its data and where scores usually go."""
    split = options.split
    folder = FOLDER if split == "test" else f"{FOLDER}-{split}"
    if options.file:
        told = experiment_file.read(options.file)
        trained = restore_named(told, options.checkpoint)
        config = experiment_file.with_data(trained.config, told, options.split)
        name = scores_folder(told.path, options.checkpoint, folder)
        return separator_of(*trained), config, experiment_file.output(told) / name
    own = bundled.find(BUNDLED, options.model)
    trained = restore(options.model, checkpoint=options.checkpoint)
    path = user_path(options.model)
    name = scores_folder(path, options.checkpoint, folder)
    usual = Path(folder, options.model) if own else (run_of(path) or path.parent) / name
    return separator_of(*trained), trained.config, usual


def _estimates(
    separator: Separator, config: ClusteringConfig, ideal: bool
) -> dict[str, Estimate]:
    """List what is scored, the run itself under no name."""

    def run(mixture: np.ndarray, references: np.ndarray) -> np.ndarray:
        return np.stack(list(separator(mixture).values()))

    kinds = get_args(Kind) if ideal else ()
    masks = {kind: partial(oracle, params=config.stft, kind=kind) for kind in kinds}
    return {"": run, **masks}


if __name__ == "__main__":
    sys.exit(main())
