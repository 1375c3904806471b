"""Scores of a run on the test set: ``python -m clustering.evaluate RUN``.

One row for each track goes to ``scores.csv`` and the means to ``summary.json`` and
``summary.md``. Estimates are in the order of the sources that has the highest SI-SDR,
one order for a whole track. Stopped at any time, the same command goes on after the
last track that it measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from clustering import corpus
from clustering.config import ClusteringConfig
from clustering.separate import CONFIG, load
from common import resample
from common.config import load as load_config
from common.config import write_json
from common.corpora import waveforms
from common.corpora.track import CorpusError, Track
from common.errors import exit_code
from common.metrics import sdr, si_sdr
from common.permutation import best_permutation, permute
from common.rows import Rows
from common.separation import Separator

MEASURES = ("si_sdr", "sdr", "si_sdr_improvement", "sdr_improvement")
COLUMNS = ("name", *MEASURES)


def scores(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Measure estimates in their best order against the sources.

    Args:
        references: Float32 [sources, samples].
        estimates: Float32 [estimates, samples], no fewer.

    Returns:
        Each of the measures in dB, [sources]. What an estimate improves on is the sum
        of the references.

    >>> waves = np.eye(2, 8, dtype=np.float32)
    >>> scores(waves, waves[::-1])["si_sdr"].round().tolist()
    [80.0, 80.0]
    """
    truth, heard = tf.constant(references), tf.constant(estimates)
    pairs = si_sdr(truth[:, tf.newaxis], heard[tf.newaxis])
    ordered = permute(heard, best_permutation(-pairs)[1])
    mixture = tf.reduce_sum(truth, axis=0, keepdims=True)
    found = {"si_sdr": si_sdr(truth, ordered), "sdr": sdr(truth, ordered)}
    before = {"si_sdr": si_sdr(truth, mixture), "sdr": sdr(truth, mixture)}
    better = {f"{name}_improvement": found[name] - before[name] for name in found}
    return {name: np.asarray(value) for name, value in {**found, **better}.items()}


def read(track: Track, sample_rate: int) -> np.ndarray:
    """Read the sources of a track as float32 [sources, channels, samples] at a rate."""
    read_ = [waveforms.read(s, track.sample_rate) for s in track.sources.values()]
    waves = [resample.resample(wave, rate, sample_rate) for wave, rate in read_]
    channels = max(len(wave) for wave in waves)
    samples = min(wave.shape[1] for wave in waves)
    whole = [np.broadcast_to(wave[:, :samples], [channels, samples]) for wave in waves]
    return np.stack(whole).astype(np.float32)


def evaluate(separator: Separator, tracks: Sequence[Track], output: Path) -> Rows:
    """Score every track, each channel by itself, and write the rows."""
    rows = Rows(output / "scores.csv", COLUMNS, repr(sorted(t.name for t in tracks)))
    wanted = []
    for track in tqdm(tracks, desc="evaluate", disable=None, leave=False):
        names = [f"{track.name}/{source}" for source in track.sources]
        wanted += names
        if all(name in rows for name in names):
            continue
        references = read(track, separator.sample_rate)
        estimates = np.stack(list(separator(references.sum(axis=0)).values()))
        channels = [
            scores(references[:, channel], estimates[:, channel])
            for channel in range(references.shape[1])
        ]
        for place, name in enumerate(names):
            means = {
                m: float(np.mean([c[m][place] for c in channels])) for m in MEASURES
            }
            rows[name] = {"name": name, **means}
    rows.finish(wanted)
    return rows


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Average the measures over all rows, and over those of each source."""
    groups = {"all": list(rows.values())}
    for row in rows.values():
        groups.setdefault(row["name"].rpartition("/")[2], []).append(row)
    return {
        name: {"count": len(group)}
        | {m: float(np.mean([float(row[m]) for row in group])) for m in MEASURES}
        for name, group in groups.items()
    }


def table(means: Mapping[str, Mapping[str, float]]) -> str:
    """Write a summary as a table of Markdown."""
    lines = [f"| source | {' | '.join(MEASURES)} | count |\n|{'---|' * 6}\n"]
    for name, row in means.items():
        cells = " | ".join(f"{row[measure]:.2f} dB" for measure in MEASURES)
        lines.append(f"| {name} | {cells} | {row['count']:.0f} |\n")
    return "".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; returns the exit code."""
    parser = argparse.ArgumentParser("clustering.evaluate", description=main.__doc__)
    parser.add_argument("model", help="run folder")
    parser.add_argument("--root", help="folder of the corpus (default: the run's)")
    parser.add_argument("--split", default="test", choices=["train", "valid", "test"])
    parser.add_argument("--output", type=Path, help="default: RUN/evaluation")
    options = parser.parse_args(argv)
    return exit_code("clustering.evaluate", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    run = Path(options.model).expanduser()
    separator = load(run)
    config = load_config(ClusteringConfig, run / CONFIG)
    if options.root:
        config = replace(config, root=options.root)
    tracks = corpus.tracks(config, corpus.root(config), options.split)
    output = options.output or run / "evaluation"
    if len(tracks[0].sources) > len(separator.sources):
        raise CorpusError(
            f"{tracks[0].name} has {len(tracks[0].sources)} sources and the model "
            f"{len(separator.sources)} outputs; group them by sources=..."
        )
    means = summary(evaluate(separator, tracks, output))
    write_json(means, output / "summary.json")
    (output / "summary.md").write_text(table(means), encoding="utf-8")
    sys.stdout.write(table(means))
    return 0


if __name__ == "__main__":
    sys.exit(main())
