"""How well unseen speakers are separated after training on few or many speakers.

``python benchmarks/speakers.py --root SPEECH --output DIR`` trains networks of
``clustering`` on 3, 12, 50 and 201 speakers for equally many steps, each on mixtures of
two that are drawn anew. It measures them on mixtures of 25 other speakers; 25 more
choose the best epoch. SPEECH holds utterances as ``<speaker>-<anything>.flac``,
as LibriSpeech does, whose ``SPEAKERS.TXT`` after ``--genders`` divides the scores by
gender. After an interruption the same command continues. ``DIR/speakers.md`` is the
page of all trainings that have been measured so far, ``--report`` copies it and its
picture; ``--page`` only writes it again, ``--quick`` takes 20 steps.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import commands
import numpy as np

from common import audio, plots
from common.audio.resample import resample
from common.corpora.speaker_mixtures import speakers_of
from common.corpora.writing import quantise, write_wav
from common.files import write_text

COUNTS = (3, 12, 50, 201)
"""Speakers of a training; the smaller sets are parts of the larger ones."""
RATE = 8000
PICTURE = "growth.png"
SPEEDS = (0.9, 1.0, 1.1)
"""Speeds of the utterances of the training, which change pitch and voice."""
MIXED = ["--seconds", "4", "--snr", "-5", "5"]
MIXTURES = {"train": 1200, "valid": 60, "test": 500}
AIM = 8.0
"""Improvement in dB that was aimed at for the best network."""
IDEAL = {"ideal_binary": "ideal binary mask", "ideal_ratio": "ideal ratio mask"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
GROUPS = {"all": "all", "same": "same gender", "different": "different gender"}


class Network(NamedTuple):
    """A network to train: what the page calls it, its preset and keys of its own."""

    about: str
    words: tuple[str, ...]
    steps: int


EPOCH = 250
"""Steps between two validations."""
COMMON = {
    "dataset": "wsj0_2mix",
    "mixing": "random",
    "snr_db": "-5,5",
    "train.steps_per_epoch": EPOCH,
    "train.checkpoint_steps": EPOCH,
    "train.log_steps": 50,
}
NETWORKS = {
    "deep_clustering": Network("deep clustering (`tiny`)", ("tiny",), 1500),
    "mask_inference": Network(
        "mask inference (`tiny_mask_inference`)", ("tiny_mask_inference",), 1500
    ),
}
BUNDLED = "speech2"
"""Bundled model that was trained on the same 201 speakers."""


class Run(NamedTuple):
    """A training: network, number of speakers and seed."""

    network: str
    speakers: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.network}-{self.speakers}-{self.seed}"


def main() -> None:
    """Train and measure what is missing, and write the page."""
    options = _options()
    output = options.output.absolute()
    if not options.page:
        prepare(options, output)
        for seed, network in itertools.product(options.seeds, options.networks):
            for count in options.speakers:
                measure(Run(network, count, seed), output, options.quick)
                write(output, options.genders)
        if not options.quick:
            evaluate(BUNDLED, output / "scores" / BUNDLED, output)
    text = write(output, options.genders)
    commands.publish(text, output / "speakers" / PICTURE, options.report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--root", type=Path, help="folder of the utterances")
    add("--genders", type=Path, help="SPEAKERS.TXT of LibriSpeech")
    commands.add_page_options(parser)
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    add("--speakers", type=int, nargs="+", default=list(COUNTS))
    options = parser.parse_args()
    if options.root is None and not options.page:
        parser.error("name the folder of the utterances by --root")
    return options


def prepare(options: argparse.Namespace, output: Path) -> None:
    """Write the sounds, and mixtures of each number of speakers and of the test."""
    splits = split(options.root.rglob("*.flac"))
    sounds(splits, output / "sounds")
    numbers = dict.fromkeys(MIXTURES, 10) if options.quick else MIXTURES
    for count in options.speakers:
        chosen = [*training(splits["train"], count), *splits["valid"]]
        mix(chosen, output, str(count), {**numbers, "test": 0})
    mix(splits["test"], output, "test", {"test": numbers["test"]})


def split(files: Iterable[Path]) -> dict[str, dict[str, list[Path]]]:
    """Divide utterances by speaker: one of ten is for validation, one for the test.

    Speakers count in numerical order, as in ``run_train_bundled_speech2.sh``.
    """
    speakers: dict[str, list[Path]] = {}
    for file in sorted(files):
        speakers.setdefault(file.stem.partition("-")[0], []).append(file)
    if len(speakers) < max(COUNTS):
        sys.exit(f"{len(speakers)} speakers; expected at least {max(COUNTS)} and more")
    parts = {4: "valid", 9: "test"}
    splits: dict[str, dict[str, list[Path]]] = {"train": {}, "valid": {}, "test": {}}
    for number, speaker in enumerate(sorted(speakers, key=int)):
        splits[parts.get(number % 10, "train")][speaker] = speakers[speaker]
    return splits


def training(speakers: Iterable[str], count: int) -> list[str]:
    """Draw speakers; a smaller count draws a part of them.

    >>> set(training("abcdefgh", 2)) < set(training("abcdefgh", 5))
    True
    """
    names = list(speakers)
    order = np.random.default_rng(0).permutation(len(names))
    return [names[index] for index in order[:count]]


def sounds(splits: Mapping[str, Mapping[str, list[Path]]], folder: Path) -> None:
    """Write the utterances at 8 kHz, those of the training at three speeds."""
    for part, speakers in splits.items():
        for speaker, files in speakers.items():
            for file in files:
                for speed in SPEEDS if part == "train" else (1.0,):
                    target = folder / part / speaker / f"{file.stem}-{speed:g}.wav"
                    if not target.exists():
                        _convert(file, speed, target)


def _convert(file: Path, speed: float, target: Path) -> None:
    waveform, rate = audio.read(file)
    mono = waveform.mean(axis=0, keepdims=True)
    changed = resample(mono, round(rate * speed), RATE)
    draft = target.with_suffix(".part")
    write_wav(draft, quantise(changed), RATE)
    draft.replace(target)


def mix(
    speakers: Iterable[str], output: Path, name: str, numbers: Mapping[str, int]
) -> None:
    """Mix the sounds of speakers by the command of the package."""
    target = output / "mixtures" / name
    if target.exists():
        return
    kept = set(speakers)
    folder = output / "sounds"
    files = sorted(folder.glob("*/*/*.wav"))
    paths = [file.relative_to(folder).as_posix() for file in files]
    listed = output / "lists" / f"{name}.txt"
    listed.parent.mkdir(exist_ok=True)
    lines = [path for path in paths if path.split("/")[1] in kept]
    write_text(listed, "".join(f"{line}\n" for line in lines))
    words = [str(folder), "--output", str(target), *MIXED, "--match", f"@{listed}"]
    for part in MIXTURES:
        words += [f"--{part}", str(numbers.get(part, 0))]
    commands.call("clustering.mix", *words)


def measure(run: Run, output: Path, quick: bool) -> None:
    """Train a network and measure it on the test."""
    network = NETWORKS[run.network]
    keys: dict[str, Any] = {
        **COMMON,
        "data_root": output / "mixtures" / str(run.speakers),
        "train.epochs": network.steps // EPOCH,
        "train.seed": run.seed,
        "output": output / "runs" / run.name,
    }
    if quick:
        keys |= {"train.epochs": 1, "train.steps_per_epoch": 20, "train.log_steps": 5}
    words = [*network.words, *(f"{key}={value}" for key, value in keys.items())]
    commands.train("clustering", ["with", *words], keys["output"])
    evaluate(str(keys["output"]), output / "scores" / run.name, output)


def evaluate(model: str, scores: Path, output: Path) -> None:
    """Measure a model on the test; with the first one ideal masks are measured."""
    if (scores / "summary.json").exists():
        return
    words = [model, "--data", str(output / "mixtures" / "test")]
    words += ["--output", str(scores)]
    has_ideal = any((output / "scores").glob("*/ideal_ratio.csv"))
    commands.call("clustering.evaluate", *words, *([] if has_ideal else ["--oracle"]))


def write(output: Path, genders: Path | None) -> str:
    """Write the page and its picture from the files of scores; return the page."""
    known = read_genders(genders) if genders else {}
    names = {path.parent.name for path in output.glob("scores/*/summary.json")}
    runs = [run for run in listed_runs() if run.name in names]
    scores = {run: gains(output / "scores" / run.name / "scores.csv") for run in runs}
    text = "\n".join(page(scores, output, known)) + "\n"
    write_text(output / "speakers.md", text)
    if scores:
        (output / "speakers").mkdir(exist_ok=True)
        draw(scores, output, known)
    return text


def listed_runs() -> Iterator[Run]:
    """Yield all trainings that there may be, in the order of the page."""
    for network, count, seed in itertools.product(NETWORKS, COUNTS, range(10)):
        yield Run(network, count, seed)


def gains(file: Path) -> dict[str, float]:
    """Return the improvement of each mixture, the mean over its two speakers, in dB."""
    rows: dict[str, list[float]] = {}
    with file.open(encoding="utf-8", newline="") as opened:
        for row in csv.DictReader(opened):
            name = row["name"].rpartition("/")[0]
            rows.setdefault(name, []).append(float(row["si_sdr_improvement"]))
    return {name: statistics.mean(values) for name, values in rows.items()}


def read_genders(file: Path) -> dict[str, str]:
    """Read F or M of each speaker of LibriSpeech."""
    lines = file.read_text(encoding="utf-8").splitlines()
    cells = [line.split("|") for line in lines if not line.startswith(";")]
    return {row[0].strip(): row[1].strip() for row in cells if len(row) > 1}


def group(
    scores: Mapping[str, float], genders: Mapping[str, str]
) -> dict[str, list[float]]:
    """Divide mixtures by whether both speakers have the same gender.

    >>> group({"00000_1_0.00_2_1.00": 3.0}, {"1": "F", "2": "M"})["different"]
    [3.0]
    """
    groups: dict[str, list[float]] = {name: [] for name in GROUPS}
    for name, value in scores.items():
        groups["all"].append(value)
        pair = {genders.get(speaker) for speaker in speakers_of(name).values()}
        if None not in pair:
            groups["same" if len(pair) == 1 else "different"].append(value)
    return groups


Scores = Mapping[Run, Mapping[str, float]]


def page(scores: Scores, output: Path, genders: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Unseen speakers\n"
    if not scores:
        yield "No training has been measured yet."
        return
    yield from about(scores, genders)
    yield from table(scores, output, genders)
    yield ""
    yield from findings(scores, output)
    yield f"\n![Improvement by speakers, and loss by steps](speakers/{PICTURE})\n"
    yield "The first training, and how the others differ; DIR is --output:\n"
    runs = {run.name: output / "runs" / run.name for run in scores}
    yield from commands.listed(runs, output)


def about(scores: Scores, genders: Mapping[str, str]) -> Iterator[str]:
    """Describe what was done."""
    tested = next(iter(scores.values()))
    groups = group(tested, genders)
    sizes = (
        f"{len(groups['same'])} of the same gender, {len(groups['different'])} of "
        "different ones"
    )
    yield (
        "Written by `python benchmarks/speakers.py --root SPEECH --genders "
        "SPEAKERS.TXT --output DIR`. SPEECH has one utterance of each of 251 speakers "
        "(LibriSpeech train-clean-100, CC BY 4.0), here at 8 kHz: 201 speakers for "
        "training, 25 for validation, 25 for the test. Trainings use 3, 12, 50 or all "
        "of the 201, at 0.9, 1.0 and 1.1 times their speed, two at a time within 5 dB, "
        "with random pairs and excerpts. All trainings of a network have the same "
        "number of steps. The table shows the improvement of SI-SDR over the mixture "
        f"in dB, means over both speakers of {len(tested)} mixtures of 4 s of the test "
        f"speakers{f' ({sizes})' if groups['same'] else ''}; with several seeds, "
        "minimum and maximum in brackets.\n"
    )
    if groups["same"]:
        yield "LibriSpeech's SPEAKERS.TXT states the genders.\n"


def table(scores: Scores, output: Path, genders: Mapping[str, str]) -> Iterator[str]:
    """Yield the table: the trainings, the bundled model and the ideal masks."""
    yield (
        f"| network | speakers | {' | '.join(GROUPS.values())} | made worse | seeds "
        "| steps | CPU minutes |"
    )
    yield f"|{'---|' * 9}"
    for (network, count), group_ in by_point(scores).items():
        rows = [group(scores[run], genders) for run in group_]
        cost = [_cost(output, run) for run in group_]
        minutes = [60 * each["cpu_hours"] for each in cost if not each.get("resumed")]
        cells = [*_cells(rows), str(len(rows)), str(_steps(output, group_[0]))]
        cells.append(f"{statistics.mean(minutes):.1f}" if minutes else "")
        heard = women(output, count, genders)
        yield f"| {NETWORKS[network].about} | {heard} | {' | '.join(cells)} |"
    bundled = output / "scores" / BUNDLED / "scores.csv"
    if bundled.exists():
        cells = _cells([group(gains(bundled), genders)])
        card = f"[`{BUNDLED}`](../clustering/bundled/{BUNDLED}/README.md)"
        about_ = f"the bundled {card}, trained for hours"
        yield f"| {about_} | {max(COUNTS)} | {' | '.join(cells)} | | | |"
    for mask, name in IDEAL.items():
        for file in sorted(output.glob(f"scores/*/{mask}.csv"))[:1]:
            cells = _cells([group(gains(file), genders)])
            yield f"| {name} | | {' | '.join(cells)} | | | |"


def women(output: Path, count: int, genders: Mapping[str, str]) -> str:
    """Write the number of speakers of a training, and how many of them are female."""
    lines = (output / "lists" / f"{count}.txt").read_text("utf-8").splitlines()
    paths = [line.split("/") for line in lines]
    female = {name for part, name, _ in paths if part == "train"} & {
        name for name, gender in genders.items() if gender == "F"
    }
    return f"{count} ({len(female)} female)" if genders else str(count)


def by_point(scores: Scores) -> dict[tuple[str, int], list[Run]]:
    """Sort trainings by network and number of speakers."""
    points: dict[tuple[str, int], list[Run]] = {}
    for run in scores:
        points.setdefault((run.network, run.speakers), []).append(run)
    return points


def _cells(seeds: Sequence[Mapping[str, Sequence[float]]]) -> list[str]:
    """Write the means of the groups, and the share of mixtures made worse."""
    cells = []
    for name in GROUPS:
        means = [statistics.mean(row[name]) for row in seeds if row[name]]
        cells.append(_spread(means) if means else "")
    worse = [float(np.mean(np.array(row["all"]) < 0)) for row in seeds]
    return [*cells, f"{statistics.mean(worse):.0%}"]


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.2f} to {max(values):.2f})"


def findings(scores: Scores, output: Path) -> Iterator[str]:
    """Say how the scores grow, and whether the aim was reached."""
    points = {
        point: statistics.mean(statistics.mean(scores[run].values()) for run in runs)
        for point, runs in by_point(scores).items()
    }
    for network, named in NETWORKS.items():
        counts = [count for name, count in points if name == network]
        if len(counts) > 1:
            first, last = (points[network, count] for count in (counts[0], counts[-1]))
            yield (
                f"- {named.about}: {last - first:+.2f} dB from {counts[0]} to "
                f"{counts[-1]} speakers. {_gap(scores, output, network, counts)}"
            )
        missing = [str(count) for count in COUNTS if count not in counts]
        if missing:
            yield f"- Not trained: {named.about} on {', '.join(missing)} speakers."
    bundled = output / "scores" / BUNDLED / "scores.csv"
    best = max(points.values())
    if bundled.exists():
        best = max(best, statistics.mean(gains(bundled).values()))
    reached = "is reached" if best >= AIM else "is not reached"
    yield (
        f"- The aim of {AIM:g} dB for unseen speakers {reached}: the best row has "
        f"{best:.2f} dB."
    )


def _gap(scores: Scores, output: Path, network: str, counts: Sequence[int]) -> str:
    """Compare the losses of training and validation at the end."""
    gaps = []
    for count in counts:
        run = next(run for run in scores if run[:2] == (network, count))
        curves = losses(output / "runs" / run.name)
        gap = round(curves["valid"][-1][1] - curves["train"][-1][1], 3)
        gaps.append(f"{gap + 0.0:+.3f}")
    return f"Validation minus training loss at the end: {', '.join(gaps)}."


def losses(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the losses of the epochs of a training, of ``train`` and ``valid``."""
    curves: dict[str, list[tuple[int, float]]] = {"train": [], "valid": []}
    for line in (run / "scalars.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        if "loss" in record and "epoch" in record:
            split_ = "train" if record["split"] == "train" else "valid"
            curves[split_].append((record["step"], record["loss"]))
    return curves


def _cost(output: Path, run: Run) -> dict[str, Any]:
    return json.loads((output / "runs" / run.name / "done").read_text("utf-8"))


def _steps(output: Path, run: Run) -> int:
    return losses(output / "runs" / run.name)["train"][-1][0]


def draw(scores: Scores, output: Path, genders: Mapping[str, str]) -> None:
    """Plot the improvement over the speakers, and the losses over the steps."""
    networks = list(dict.fromkeys(run.network for run in scores))
    figure = plots.new_figure(9.0, 3.4 * len(networks))
    grid = figure.subplots(len(networks), 2, squeeze=False)
    for (left, right), network in zip(grid, networks, strict=True):
        runs = [run for run in scores if run.network == network]
        counts = sorted({run.speakers for run in runs})
        for name, colour in zip(GROUPS, COLOURS, strict=False):
            values = [_mean(scores, runs, count, name, genders) for count in counts]
            if None not in values:
                left.plot(counts, values, "o-", color=colour, label=GROUPS[name])
        left.set_xscale("log")
        left.set_xticks(counts, [str(count) for count in counts])
        left.minorticks_off()
        left.set_xlabel("speakers in the training")
        left.set_ylabel("improvement of SI-SDR (dB)")
        left.set_title(NETWORKS[network].about.replace("`", ""))
        left.legend()
        for count, colour in zip(counts, COLOURS, strict=False):
            run = next(run for run in runs if run.speakers == count)
            curves = losses(output / "runs" / run.name)
            for part, style in {"train": ":", "valid": "-"}.items():
                label = f"{count} speakers" if part == "valid" else None
                steps, values = zip(*curves[part], strict=True)
                right.plot(steps, values, style, color=colour, label=label)
        right.set_xlabel("step")
        right.set_ylabel("loss")
        right.set_title("loss: validation (lines), training (dots)")
        right.legend()
    plots.save(figure, output / "speakers" / PICTURE)


def _mean(
    scores: Scores,
    runs: Sequence[Run],
    count: int,
    name: str,
    genders: Mapping[str, str],
) -> float | None:
    rows = [group(scores[run], genders)[name] for run in runs if run.speakers == count]
    values = [value for row in rows for value in row]
    return statistics.mean(values) if values else None


if __name__ == "__main__":
    main()
