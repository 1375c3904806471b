"""The gain of the second phase with few paired and many unpaired songs.

``python benchmarks/second_phase.py --output DIR`` trains supervised controls and
semi-supervised separators on synthetic music, with the same limit of separator steps,
the same early stopping and the same number of settings. The first seed chooses the
setting by the median SDR of the vocals of the validation songs; all seeds train with
it. The comparison on the test songs bootstraps songs and seeds 10,000 times, for the
medians of both and for the median of the differences of the same songs. After an
interruption the same command continues.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from commands import call

SONGS = {"--train": 64, "--test": 96, "--seconds": 8, "--sample-rate": 8192}
COMMON = {
    "corpora.unpaired": "none",
    "model_config.log_dir": "none",
    "head": "mask",
    "num_layers": 3,
    "num_frames": 32,
    "initial_filters": 8,
    "disc_filters": 8,
    "num_disc": 5,
    "batch_size": 8,
    "epoch_it": 100,
    "patience": 5,
    "excerpts_reused": "false",
    "gain_low": 1.0,
    "gain_high": 1.0,
    "train.epochs": 20,
    "train.checkpoint_steps": 1000,
    "train.log_steps": 50,
}
CONTROL = {f"rate {rate:g}": {"init_sup_sep_lr": rate} for rate in (3e-3, 1e-3, 3e-4)}
SECOND = {
    f"alpha {alpha:g}": {"alpha": alpha, "init_unsup_sep_lr": 1e-3, "beta": 0.0}
    for alpha in (1e-3, 3e-3, 1e-2)
}
PHASES = {"sup": CONTROL, "semisup": SECOND}
SOURCES = ("vocals", "accompaniment")
RESAMPLED = 10_000


def main() -> None:
    """Train and measure what is missing, and print the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--paired-tracks", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time")
    options = parser.parse_args()
    output = options.output.absolute()
    songs = [str(word) for pair in SONGS.items() for word in pair]
    call("common.synthetic.miniature", "musdb", str(output / "songs"), *songs)
    common = {**COMMON, "corpora.paired_tracks": options.paired_tracks}
    common["corpora.data_root"] = output / "songs"
    first, *others = options.seeds
    sweep = [
        (output, first, phase, name, {**common, **keys})
        for phase, settings in PHASES.items()
        for name, keys in settings.items()
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda run: train(*run), sweep))
        best = {phase: choose(output, first, phase) for phase in PHASES}
        runs = [
            (output, seed, phase, best[phase], {**common, **PHASES[phase][best[phase]]})
            for seed in others
            for phase in PHASES
        ]
        list(pool.map(lambda run: train(*run), runs))
    report(output, options.seeds, best)


def train(
    output: Path, seed: int, phase: str, name: str, settings: Mapping[str, object]
) -> None:
    """Train a separator and score it on the validation songs."""
    run = output / f"{phase}, {name}, seed {seed}"
    words = [f"{key}={value}" for key, value in settings.items()]
    words += [f"phases={phase}", f"train.seed={seed}", f"output={run}"]
    call("adversarial.train", "with", "tiny", *words)
    scores_folder = run / phase / "validation"
    call(
        "adversarial.evaluate",
        str(run),
        "--split",
        "valid",
        "--output",
        str(scores_folder),
    )


def choose(output: Path, seed: int, phase: str) -> str:
    """Choose a setting by the validation songs, and print the score of each."""
    medians = {
        name: float(np.median(scores(output / f"{phase}, {name}, seed {seed}", phase)))
        for name in PHASES[phase]
    }
    listed = ", ".join(f"{name}: {value:.2f} dB" for name, value in medians.items())
    say(f"{phase}, validation: {listed}")
    return max(medians, key=lambda name: medians[name])


def report(output: Path, seeds: Sequence[int], best: Mapping[str, str]) -> None:
    """Print the comparison on the test songs."""
    say("\n| source | separator | setting | seed | median SDR |", f"|{'---|' * 5}")
    ends = [compare(output, seeds, best, source) for source in SOURCES]
    say("", *ends)


def compare(
    output: Path, seeds: Sequence[int], best: Mapping[str, str], source: str
) -> str:
    """Print the scores of a source for each seed; describe the differences."""
    tests = {}
    for phase, name in best.items():
        runs = [output / f"{phase}, {name}, seed {seed}" for seed in seeds]
        by_seed = [scores(run, phase, "evaluation", source) for run in runs]
        for seed, test in zip(seeds, by_seed, strict=True):
            say(f"| {source} | {phase} | {name} | {seed} | {np.median(test):.2f} dB |")
        tests[phase] = np.stack(by_seed)
    control, second = tests["sup"], tests["semisup"]
    (medians, paired), (low, high) = gains(control, second), interval(control, second)
    return (
        f"{source}, {control.shape[1]} test songs, {len(seeds)} seeds: "
        f"{np.median(control):.2f} dB supervised, {np.median(second):.2f} dB "
        f"semi-supervised; medians {medians:+.2f} dB, 95 % interval {low[0]:+.2f} to "
        f"{high[0]:+.2f} dB; song by song {paired:+.2f} dB, {low[1]:+.2f} to "
        f"{high[1]:+.2f} dB; better in {(second > control).mean():.0%}"
    )


def say(*lines: str) -> None:
    """Write lines of the report."""
    sys.stdout.write("\n".join(lines) + "\n")


def scores(
    run: Path, phase: str, part: str = "validation", source: str = "vocals"
) -> np.ndarray:
    """SDR of a source of every song, in the order of their titles."""
    file = run / phase / part / "scores.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    rows.sort(key=lambda row: row["Title"])
    return np.array([row["SDR"][source] for row in rows], np.float64)


def gains(control: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Difference of the medians, and median of the differences of the same songs."""
    pair = np.median(second) - np.median(control), np.median(second - control)
    return np.array(pair, np.float64)


def interval(control: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Bootstrap seeds and songs together: the 95 % interval of the gains."""
    rng, resampled = np.random.default_rng(0), []
    seeds, songs = control.shape
    for _ in range(RESAMPLED):
        pick = np.ix_(rng.integers(seeds, size=seeds), rng.integers(songs, size=songs))
        resampled.append(gains(control[pick], second[pick]))
    return np.percentile(resampled, [2.5, 97.5], axis=0)


if __name__ == "__main__":
    main()
