"""Scores of the small presets on two speakers after minutes of training.

``python benchmarks/two_speakers.py --digits RECORDINGS --output DIR`` takes the
recordings of the Free Spoken Digit Dataset, strings some together for each speaker and
mixes two of them. In ``seen`` the test has the speakers of the training and new takes.
In ``FIRST and SECOND`` only the test mixes these two speakers with each other; training
has all other pairs. Without ``--digits`` the miniature is the only set, and its test
has its own speakers. Ideal masks stand beside the scores as an upper bound. After an
interruption the same command continues.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from commands import call

PRESETS = ("tiny", "tiny_chimera", "tiny_mask_inference")
SPEAKERS = ("jackson", "nicolas", "theo", "yweweler")
"""Those who spoke first; the dataset has grown since."""
MIXED = ["--seconds", "2", "4", "--snr", "-2.5", "2.5", "--speaker", "_([a-z]+)_"]
LAYOUT = Path("2speakers", "wav8k", "min")
HELD = {"test": r"_[0-4]\.wav$", "valid": r"_[56]\.wav$"}
COUNTS = {"train": 2000, "valid": 100, "test": 200}
IDEAL = ("ideal_binary", "ideal_ratio")
WORDS = {"seen": ("mixing=random", "snr_db=-2.5,2.5", "train.epochs=30")}
"""Keys that differ from the presets, by set: speakers meet anew in each excerpt."""
AND = " and "
"""Between the speakers in the name of a set of a pair."""


class Run(NamedTuple):
    """A network to train and to measure."""

    folder: Path
    name: str
    words: tuple[str, ...]


def main() -> None:
    """Train and measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--digits", type=Path, help="folder of the recordings")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time")
    options = parser.parse_args()
    output = options.output.absolute()
    roots: dict[str, Path | None] = {"miniature": None}
    if options.digits:
        roots |= sets(options.digits, output / "sets")
    runs = {name: plan(output / name, root, options) for name, root in roots.items()}
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(measure, itertools.chain(*runs.values())))
    for name, group in runs.items():
        say(*table(name, group))
    pairs = [gain(means(runs[name][0])["all"]) for name in runs if AND in name]
    if pairs:
        say("", f"Pairs: mean {statistics.mean(pairs):.2f}, worst {min(pairs):.2f} dB")


def plan(folder: Path, root: Path | None, options: argparse.Namespace) -> list[Run]:
    """List the runs on a set; a pair has the first preset and one seed only."""
    corpus = WORDS.get(folder.name, ())
    corpus += () if root is None else ("dataset=wsj0_2mix", f"data_root={root}")
    presets, seeds = options.presets, options.seeds
    runs = []
    for preset, seed in itertools.product(presets, seeds):
        words = (preset, f"train.seed={seed}", *corpus)
        runs.append(Run(folder / f"{preset}, seed {seed}", preset, words))
    if AND in folder.name:
        return runs[:1]
    for preset in presets:
        still = "lr=0.0", "train.epochs=1", "train.steps_per_epoch=1"
        name = f"{preset}, untrained"
        runs.append(Run(folder / name, name, (preset, *corpus, *still)))
    return runs


def sets(digits: Path, output: Path) -> dict[str, Path | None]:
    """Mix the sets of digits that are missing; return their folders."""
    roots: dict[str, Path | None] = {"seen": output / "seen"}
    mix(digits, output / "seen", 1.0)
    pairs = list(itertools.combinations(SPEAKERS, 2))
    for pair in pairs:
        mix(digits, output / "-".join(pair), 1 / (len(pairs) - 1), "|".join(pair))
    for pair in pairs:
        name = AND.join(pair)
        roots[name] = output / name
        if not (output / name).exists():
            join(output, pair, [other for other in pairs if other != pair])
    return roots


def mix(digits: Path, output: Path, share: float, match: str = "") -> None:
    """Mix a set, with a share of the training and validation mixtures."""
    words = [str(digits.absolute()), "--output", str(output), *MIXED]
    for split, count in COUNTS.items():
        number = count if split == "test" else round(share * count)
        words += [f"--{split}", str(number)]
    for split, pattern in HELD.items():
        words += [f"--{split}-files", pattern]
    call("clustering.mix", *words, *(("--match", match) if match else ()))


def join(output: Path, pair: Sequence[str], others: Sequence[Sequence[str]]) -> None:
    """Link the test of a pair and the training of the other pairs into one set."""
    part = output / "joined.part"
    shutil.rmtree(part, ignore_errors=True)
    for split, pairs in {"tr": others, "cv": others, "tt": [pair]}.items():
        for name in ("mix", "s1", "s2"):
            folder = part / LAYOUT / split / name
            folder.mkdir(parents=True)
            for mixture in pairs:
                for file in (
                    output / "-".join(mixture) / LAYOUT / split / name
                ).iterdir():
                    (folder / file.name).symlink_to(file)
    part.rename(output / AND.join(pair))


def measure(run: Run) -> None:
    """Train a network and measure it on the test."""
    call("clustering.train", "with", *run.words, f"output={run.folder}")
    call("clustering.evaluate", str(run.folder), "--oracle")


def means(run: Run) -> dict[str, dict[str, float]]:
    """Read the mean scores of a network and of the ideal masks."""
    file = run.folder / "evaluation" / "summary.json"
    return json.loads(file.read_text(encoding="utf-8"))


def table(name: str, runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of a table of SI-SDR improvements on a set, in dB."""
    yield from ("", f"## {name}", "", "| network | each seed | mean |", "|---|---|---|")
    for network, group in itertools.groupby(runs, lambda run: run.name):
        gains = [gain(means(run)["all"]) for run in group]
        each = ", ".join(f"{value:.2f}" for value in gains)
        yield f"| {network} | {each} | {statistics.mean(gains):.2f} dB |"
    ideal = means(runs[0])
    for mask in IDEAL:
        yield f"| {mask.replace('_', ' ')} mask | | {gain(ideal[mask]):.2f} dB |"


def gain(row: Mapping[str, float]) -> float:
    """Improvement over the mixture, in dB."""
    return row["si_sdr_improvement"]


def say(*lines: str) -> None:
    """Write lines of the report."""
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
