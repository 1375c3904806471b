"""Scores of a model on recordings, beside the mixture itself and ideal masks.

``python benchmarks/bundled_scores.py PACKAGE MODEL --dataset NAME --data DIR``
separates the tracks of a split and prints the means by source, by number of sources and
over all mixtures of several: SI-SDR, and STOI of the sources named by ``--stoi`` where
pystoi is installed. Unordered estimates are aligned with the references. The cards of
the bundled models state these numbers.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from clustering.evaluate import oracle, read
from common.corpora import catalogue
from common.corpora.track import Options, Track
from common.files import write_json
from common.separation.separator import Separator
from common.signal.metrics import si_sdr
from common.signal.permutation import best_permutation
from common.signal.stft import Stft

try:
    from pystoi import stoi
except ImportError:
    stoi = None

WINDOW_SECONDS = 0.032
"""Frames of the ideal masks, a quarter of which is the hop."""
AUDIBLE_DB = -60.0
"""A source below this level is no source of its mixture."""
Scores = dict[str, dict[str, float]]
"""Measures of mixture, model and ideal masks, by the name of a source."""


def main() -> None:
    """Score the model, print the means, and write them and all rows to --output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package")
    parser.add_argument("model")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--stoi", nargs="*", default=[], metavar="SOURCE")
    parser.add_argument("--output", type=Path, help="JSON of means and rows")
    options = parser.parse_args()
    separator = importlib.import_module(options.package).load(options.model)
    rate = separator.sample_rate
    tracks = catalogue.tracks(
        options.dataset, options.data, options.split, Options(sample_rate=rate)
    )[: options.limit]
    rows = {track.name: score(separator, track, options.stoi) for track in tracks}
    means = summary(list(rows.values()))
    sys.stdout.writelines(
        f"{line}\n" for line in table(means, options.stoi if stoi else ())
    )
    if options.output:
        write_json({"means": means, "rows": rows}, options.output)


def score(separator: Separator, track: Track, spoken: Sequence[str]) -> Scores:
    """Score the audible sources of a track and what each estimator makes of them."""
    mixture, references = read(track, separator.sample_rate)
    mixture, references = mixture[:1], references[:, :1]
    levels = 10 * np.log10(np.mean(np.square(references), axis=(1, 2)) + 1e-12)
    is_audible = levels > AUDIBLE_DB
    names = [
        name for name, audible in zip(track.sources, is_audible, strict=True) if audible
    ]
    references = references[is_audible]
    hop = round(WINDOW_SECONDS * separator.sample_rate / 4)
    params = Stft(4 * hop, hop, window="sqrt_hann", padding="constant_whole")
    outputs = separator(mixture)
    matched = (
        np.stack([outputs[name] for name in names])
        if set(names) <= set(outputs)
        else in_order(np.stack(list(outputs.values())), references)
    )
    estimates = {
        "mixture": np.broadcast_to(mixture, references.shape),
        "model": matched,
        "ideal_binary": oracle(mixture, references, params, "ideal_binary"),
        "ideal_ratio": oracle(mixture, references, params, "ideal_ratio"),
    }
    scores: Scores = {name: {"sources": len(names)} for name in names}
    for estimator, waves in estimates.items():
        ratios = si_sdr(references[:, 0], np.ascontiguousarray(waves[:, 0])).numpy()
        for name, reference, wave, value in zip(
            names, references[:, 0], waves[:, 0], ratios, strict=True
        ):
            scores[name][estimator] = float(value)
            if stoi and name in spoken:
                rate = separator.sample_rate
                scores[name][f"{estimator} STOI"] = float(stoi(reference, wave, rate))
    return scores


def in_order(estimates: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Choose and order estimates [n, 1, samples] as the references are."""
    pairs = si_sdr(references, estimates[np.newaxis, :, 0])
    _, order = best_permutation(-pairs)
    return estimates[order.numpy()]


def summary(rows: Sequence[Scores]) -> Scores:
    """Average over tracks, by source and over all of them."""
    kept: dict[str, list[Mapping[str, float]]] = {}
    for row in rows:
        for name, values in row.items():
            kept.setdefault(f"of {values['sources']}", []).append(values)
            # A mixture of one source is that source already.
            for group in (name, "all") if values["sources"] > 1 else ():
                kept.setdefault(group, []).append(values)
    return {name: _mean(values) for name, values in sorted(kept.items())}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    keys = {key for row in rows for key in row}
    means = {
        key: float(np.mean([row[key] for row in rows if key in row])) for key in keys
    }
    gains = [row["model"] - row["mixture"] for row in rows]
    return {
        **means,
        "gain": float(np.mean(gains)),
        "worse share": float(np.mean(np.array(gains) < 0)),
        "count": len(rows),
    }


def table(means: Scores, spoken: Sequence[str]) -> Iterator[str]:
    """Write the means as a table of Markdown."""
    yield "| source | mixture | model | gain | ideal binary | ideal ratio | worse |"
    yield "|---|---|---|---|---|---|---|"
    for name, row in means.items():
        keys = "mixture", "model", "gain", "ideal_binary", "ideal_ratio"
        cells = " | ".join(f"{row[key]:.1f} dB" for key in keys)
        yield f"| {name} ({row['count']}) | {cells} | {row['worse share']:.0%} |"
    for name in set(means) & set(spoken):
        keys = "mixture", "model", "ideal_binary", "ideal_ratio"
        row = {key: round(means[name][f"{key} STOI"], 3) for key in keys}
        yield f"STOI of {name}: {json.dumps(row)}"


if __name__ == "__main__":
    tf.random.set_seed(0)
    main()
