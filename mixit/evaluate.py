"""The paper's measures on a split: ``python -m mixit.evaluate --model RUN``.

One row for each example goes to ``scores.csv``, the means to ``summary.json`` and, as
a table, to ``summary.md``. The measures are those of the FUSS baseline: SI-SNR of
single sources (1S), improvement of SI-SNR by number of sources (2Si, 3Si, 4Si) and for
all mixtures of several (MSi), each a mean over sources, and how often fewer, as many or
more estimates than references are active.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from common import audio, plots
from common.config import load as load_config
from common.config import write_json
from common.corpora import fuss
from common.corpora.track import CorpusError, Track
from common.errors import exit_code
from common.resample import resample
from common.separation import Separator
from mixit import data
from mixit.config import MixitConfig
from mixit.metrics import score
from mixit.separate import load

SILENT_RMS = 1e-8


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the evaluation; returns the exit code."""
    parser = argparse.ArgumentParser(
        "mixit.evaluate",
        description="Measure a model on a corpus in the layout of FUSS.",
    )
    parser.add_argument("--model", required=True, help="run folder or TF1 checkpoint")
    parser.add_argument("--data", help="corpus folder; default: that of the run")
    parser.add_argument("--split", default="eval", choices=fuss.SPLITS)
    parser.add_argument(
        "--output", help="folder of the results; default: RUN/evaluation"
    )
    parser.add_argument("--limit", type=int, help="number of examples, default all")
    parser.add_argument(
        "--draw", type=int, default=0, help="examples to write as sound and picture"
    )
    options = parser.parse_args(argv)
    return exit_code("mixit.evaluate", lambda: _main(options))


def evaluate(
    separator: Separator, tracks: Sequence[Track]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Measure a separator on tracks.

    Args:
        separator: What separates.
        tracks: Mixtures with their sources; the mixture is the sum of the sources.

    Returns:
        One row of measures for each track that is not silent, and their summary.
    """
    rows = []
    for track in tqdm(tracks, desc="evaluate", unit="mixture", disable=None):
        sources = read_sources(track, separator.sample_rate)
        if np.sqrt(np.mean(np.square(sources))) > SILENT_RMS:
            rows.append(_row(separator, track.name, sources))
    return rows, summarise(rows)


def read_sources(track: Track, sample_rate: int) -> np.ndarray:
    """Read a track's sources as one channel at a rate; [sources, samples]."""
    sources = []
    for sound in track.sources.values():
        waveform, rate = audio.read(Path(str(sound)), samples=None)
        mono = waveform.mean(axis=0, keepdims=True)[:, : track.samples]
        missing = track.samples - mono.shape[1]
        padded = np.pad(mono, [(0, 0), (0, missing)])
        sources.append(resample(padded, rate, sample_rate)[0])
    return np.stack(sources)


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pool the active sources of all examples by number of sources.

    Args:
        rows: As :func:`evaluate` returns them.

    Returns:
        ``1S``, ``2Si``, ``3Si``, ``4Si`` and ``MSi`` with mean and population deviation
        in dB and the number of sources; ``under``, ``equal``, ``over`` as shares.
    """
    summary: dict[str, Any] = {"examples": len(rows)}
    groups = {"1S": [1], "2Si": [2], "3Si": [3], "4Si": [4], "MSi": [2, 3, 4]}
    for name, counts in groups.items():
        measure = "si_snr" if name == "1S" else "si_snr_improvement"
        chosen = [row for row in rows if row["references"] in counts]
        values = [v for row in chosen for v in row[measure]]
        summary[name] = _moments(values)
    for name in ("under", "equal", "over"):
        summary[name] = _share([row[name] for row in rows])
    return summary


def table(summary: dict[str, Any]) -> str:
    """Write a summary as a Markdown table."""
    lines = ["| measure | mean | deviation | sources |", "|---|---|---|---|"]
    for name in ("1S", "2Si", "3Si", "4Si", "MSi"):
        cell = summary[name]
        if cell["sources"]:
            numbers = f"{cell['mean']:.1f} dB | {cell['deviation']:.1f} dB"
        else:
            numbers = "none in this set | "
        lines.append(f"| {name} | {numbers} | {cell['sources']} |")
    count = summary["examples"]
    lines += [
        f"| {name}-separation | {summary[name]:.2f} | | {count} examples |"
        for name in ("under", "equal", "over")
    ]
    return "\n".join(lines) + "\n"


def _main(options: argparse.Namespace) -> int:
    separator = load(options.model)
    place = _data(options)
    tracks = fuss.tracks(place, options.split)[: options.limit]
    output = Path(options.output or Path(options.model) / "evaluation")
    output.mkdir(parents=True, exist_ok=True)
    rows, summary = evaluate(separator, tracks)
    if not rows:
        raise CorpusError(f"every example of {options.split} in {place} is silent")
    summary = {"model": str(options.model), "data": str(place), **summary}
    _write_rows(rows, output / "scores.csv")
    write_json(summary, output / "summary.json")
    (output / "summary.md").write_text(table(summary), encoding="utf-8")
    sys.stdout.write(f"{options.split} split of {place}\n{table(summary)}")
    for track in _richest(tracks)[: options.draw]:
        draw(separator, track, output / track.name)
    sys.stdout.write(f"results: {output}\n")
    return 0


def draw(separator: Separator, track: Track, folder: Path) -> None:
    """Write a mixture, its sources and the estimates as sounds and as one picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rate = separator.sample_rate
    waveforms = read_sources(track, rate)
    sources = dict(zip(track.sources, waveforms[:, np.newaxis], strict=True))
    mixture = waveforms.sum(axis=0, keepdims=True)
    estimates = separator(mixture)
    for name, sound in {"mixture": mixture, **sources, **estimates}.items():
        audio.write(folder / f"{name}.wav", sound, rate)
    figure = plots.separation(mixture, sources, estimates, rate)
    plots.save(figure, folder / "picture.png")


def _data(options: argparse.Namespace) -> Path:
    """Find the corpus: as asked, else that of the run."""
    if options.data:
        return fuss.find_root(options.data)
    path = Path(options.model) / "config.json"
    if not path.exists():
        raise CorpusError(
            f"{options.model} is no run folder, so it names no corpus; give --data"
        )
    return data.root(load_config(MixitConfig, path))


def _row(separator: Separator, name: str, sources: np.ndarray) -> dict[str, Any]:
    mixture = sources.sum(axis=0, keepdims=True)
    estimates = np.concatenate(list(separator(mixture).values()))
    missing = len(sources) - len(estimates)
    estimates = np.pad(estimates, [(0, max(0, missing)), (0, 0)])
    batch = [tf.constant(each[np.newaxis]) for each in (sources, estimates, mixture[0])]
    scores = score(batch[0], batch[1], batch[2])
    references = scores.active_references.numpy()[0]
    found = scores.active_estimates.numpy()[0]
    pairs = references & found
    count, active = int(references.sum()), int(found.sum())
    return {
        "example": name,
        "references": count,
        "estimates": active,
        "si_snr": scores.separated.numpy()[0][pairs].tolist(),
        "si_snr_mixture": scores.mixture.numpy()[0][pairs].tolist(),
        "si_snr_improvement": scores.improvement.numpy()[0][pairs].tolist(),
        "under": active < count,
        "equal": active == count,
        "over": active > count,
    }


def _write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write one line for each example, lists separated by blanks."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})
    part.replace(path)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(f"{number:.4f}" for number in value)
    return int(value) if isinstance(value, bool) else value


def _richest(tracks: Sequence[Track]) -> list[Track]:
    """Order tracks by number of sources, the most first, else as they come."""
    return sorted(tracks, key=lambda track: -len(track.sources))


def _moments(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, "deviation": None, "sources": 0}
    mean, deviation = float(np.mean(values)), float(np.std(values))
    return {"mean": mean, "deviation": deviation, "sources": len(values)}


def _share(flags: Sequence[bool]) -> float:
    return float(np.mean(flags)) if flags else 0.0


if __name__ == "__main__":
    sys.exit(main())
