"""Universal sound separation without labels, with some and with all of them.

``python benchmarks/unlabelled.py --root SOUNDS --output DIR`` trains one small network
of ``mixit`` for equally many steps without labels (MixIT), with a sparsity loss, with
labels of a tenth and of half of the mixtures, and with all labels (PIT). It measures
each on held-out recordings, and on a class of sound and a speaker that no training
heard. SOUNDS has the folders ``speech`` (an utterance of each speaker),
``environment`` (a folder for each class), ``spoken_digits`` (one for each speaker) and
``recordings``. After an interruption the same command continues. ``DIR/unlabelled.md``
is the page of all trainings that have been measured so far, ``--report`` copies it and
its picture; ``--page`` only writes it again, ``--quick`` takes 20 steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import commands

from common import plots
from common.files import replacing_folder, write_text
from mixit.published import RATES
from mixit.train import MSI, ONE_SOURCE

UNHEARD, UNHEARD_SPEAKER = "rooster", "yweweler"
"""Class of sound and speaker of digits that only a test has."""
SPEECH_FOLDERS = 5
"""Kinds of sound that speech counts as, so that mixtures have two speakers too."""
READER = re.compile(r"\d+-\d+-\d+")
"""Name of an utterance of LibriSpeech, which is speech and no other recording."""
RATE, SECONDS = 16000, 4
MIXTURES = {"train": 1200, "validation": 60, "eval": 200}
UNHEARD_MIXTURES = {"train": 1, "validation": 1, "eval": 60}
PICTURE = "learning.png"
AIM, GAP = 6.0, 1.5
"""Aims in dB: MSi of MixIT, and how far its 2Si may lie below that of PIT."""
MEASURES = "1S", "MSi", "2Si", "3Si"
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00")
NETWORK = {
    "model.num_sources": 4,
    "model.basis": "stft",
    "model.window_samples": 512,
    "model.hop_samples": 256,
    "model.bottleneck": 64,
    "model.conv_channels": 128,
    "model.num_dilations": 6,
    "model.num_repeats": 2,
}
EPOCH, EPOCHS = 100, 20
SCHEDULE = {
    "segment_seconds": 2,
    "batch_size": 16,
    "clip_norm": 5,
    "lr": 2e-3,
    "lr_decay_steps": 600,
    "validation_examples": 60,
    "train.epochs": EPOCHS,
    "train.steps_per_epoch": EPOCH,
    "train.checkpoint_steps": EPOCH,
    "train.log_steps": 25,
}


class Row(NamedTuple):
    """A training: what the page calls it, and its keys."""

    about: str
    keys: Mapping[str, object]


ROWS = {
    "mixit": Row("MixIT, no labels", {"labelled": 0.0}),
    "sparse": Row(
        "MixIT, no labels, sparsity loss",
        {"labelled": 0.0, "sparsity": "l1_l2", "sparsity_weight": 10.0},
    ),
    "labelled_10": Row("10 % labelled", {"labelled": 0.1}),
    "labelled_50": Row("50 % labelled", {"labelled": 0.5}),
    "pit": Row("PIT, all labelled", {"labelled": 1.0}),
}
TESTS = {
    "mixtures": "Held-out recordings",
    "unheard": "An unseen class of sound and an unseen speaker",
}


def main() -> None:
    """Train and measure what is missing, and write the page."""
    options = _options()
    output = options.output.absolute()
    if not options.page:
        prepare(options.root, output, options.quick)
        for seed, name in itertools.product(options.seeds, options.rows):
            measure(name, seed, output, options.quick)
            write(output)
    text = write(output)
    commands.publish(text, output / "unlabelled" / PICTURE, options.report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--root", type=Path, help="folder of the folders of sounds")
    commands.add_page_options(parser)
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args()
    if options.root is None and not options.page:
        parser.error("name the folder of the sounds by --root")
    return options


def prepare(root: Path, output: Path, quick: bool) -> None:
    """Mix the sets: one of held-out recordings, one of what is never heard."""
    sounds = output / "sounds"
    if not sounds.exists():
        link(root.absolute(), sounds)
    kinds = sorted(sounds.iterdir())
    environment = sorted((root.absolute() / "environment").iterdir())
    kinds += [each for each in environment if each.is_dir() and each.name != UNHEARD]
    held = [
        root / "environment" / UNHEARD,
        root / "spoken_digits" / UNHEARD_SPEAKER,
    ]
    numbers = dict.fromkeys(MIXTURES, 10) if quick else MIXTURES
    mix(kinds, output / "mixtures", 3, numbers)
    few = {**UNHEARD_MIXTURES, "eval": 5} if quick else UNHEARD_MIXTURES
    mix([each.absolute() for each in held], output / "unheard", 2, few)


def link(root: Path, sounds: Path) -> None:
    """Link the files of speech, digits and other recordings, a folder for each kind."""
    speech = sorted((root / "speech").glob("*.flac"), key=_number)
    digits = sorted((root / "spoken_digits").glob("*/*.wav"))
    other = sorted((root / "recordings").glob("*.ogg"))
    with replacing_folder(sounds) as draft:
        for number, file in enumerate(speech):
            _link(file, draft / f"speech_{number % SPEECH_FOLDERS}")
        for file in digits:
            if file.parent.name != UNHEARD_SPEAKER:
                _link(file, draft / "digits")
        for file in other:
            if not READER.fullmatch(file.stem):
                _link(file, draft / "recordings")


def _number(file: Path) -> int:
    return int(file.stem.partition("-")[0])


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).symlink_to(file)


def mix(
    kinds: Iterable[Path], target: Path, most: int, numbers: Mapping[str, int]
) -> None:
    """Mix kinds of sound by the command of the suite."""
    if target.exists():
        return
    words = [*map(str, kinds), "--output", str(target), "--max-sources", str(most)]
    words += ["--seconds", str(SECONDS), "--rate", str(RATE), "--by-time"]
    for split, number in numbers.items():
        words += [f"--{split}", str(number)]
    commands.call("common.corpora.mixing", *words)


def measure(name: str, seed: int, output: Path, quick: bool) -> None:
    """Train a row, and measure it on both tests."""
    run = output / "runs" / f"{name}-{seed}"
    keys: dict[str, object] = {
        "data_root": output / "mixtures",
        "records": output / "records",
        **NETWORK,
        **SCHEDULE,
        **ROWS[name].keys,
        "train.seed": seed,
        "output": run,
    }
    if quick:
        keys |= {"train.epochs": 1, "train.steps_per_epoch": 20, "train.log_steps": 5}
    words = ["with", "fuss", *(f"{key}={value}" for key, value in keys.items())]
    commands.train("mixit", words, run)
    for test in TESTS:
        scores = output / "scores" / run.name / test
        if not (scores / "summary.json").exists():
            words = ["--model", str(run), "--data", str(output / test)]
            words += ["--split", "eval", "--output", str(scores)]
            commands.call("mixit.evaluate", *words)


def write(output: Path) -> str:
    """Write the page and its picture from the files of scores; return the page."""
    runs = measured(output)
    text = "\n".join(page(runs, output)) + "\n"
    write_text(output / "unlabelled.md", text)
    if runs:
        (output / "unlabelled").mkdir(exist_ok=True)
        draw(runs, output)
    return text


Runs = Mapping[str, Sequence[str]]
"""Names of the run folders of each row that has been measured."""


def measured(output: Path) -> dict[str, list[str]]:
    """List the trainings that were measured on all tests, in the order of the page."""
    runs: dict[str, list[str]] = {}
    for name, seed in itertools.product(ROWS, range(10)):
        folder = output / "scores" / f"{name}-{seed}"
        if all((folder / test / "summary.json").exists() for test in TESTS):
            runs.setdefault(name, []).append(folder.name)
    return runs


def page(runs: Runs, output: Path) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Universal sound without labels\n"
    if not runs:
        yield "No training has been measured yet."
        return
    yield (
        "Written by `python benchmarks/unlabelled.py --root SOUNDS --output DIR`. "
        "Mixtures of one to three sources within 5 dB of each other, 4 s at 16 kHz, of "
        "speech (LibriSpeech), nine classes of environmental sound (ESC-10), spoken "
        "digits (Free Spoken Digit Dataset), music and animals. A fifth of the "
        "recordings of each class is for the test, a tenth for validation; classes of "
        f"few recordings are divided in time. The class {UNHEARD} and the speaker "
        f"{UNHEARD_SPEAKER} are only in the second test. All rows have the same "
        "network with four outputs and the same number of steps. Without labels, a "
        "training example is a mixture of two mixtures, that is of up to six sources; "
        "with labels it is one mixture.\n"
    )
    yield (
        "Scores by `python -m mixit.evaluate`, in dB: 1S is the SI-SNR of single "
        "sources; MSi, 2Si and 3Si are the SI-SNR improvement of the active estimates "
        "in mixtures of several, two and three sources. Under- and over-separation are "
        "the fractions of mixtures with fewer and with more active estimates than "
        "sources. With several seeds: mean, minimum and maximum."
    )
    for test, title in TESTS.items():
        yield from ("", f"## {title}", "")
        yield from table(runs, output, test)
    yield ""
    yield from findings(runs, output)
    yield f"\n![Improvement on the validation by steps](unlabelled/{PICTURE})\n"
    yield "The first training, and how the others differ; DIR is --output:\n"
    names = itertools.chain(*runs.values())
    yield from commands.listed({name: output / "runs" / name for name in names}, output)


def table(runs: Runs, output: Path, test: str) -> Iterator[str]:
    """Yield the table of a test."""
    heads = [*MEASURES, *(f"{rate}-separation" for rate in RATES)]
    yield f"| training | {' | '.join(heads)} | seeds | steps | CPU minutes |"
    yield f"|{'---|' * (4 + len(heads))}"
    for row, names in runs.items():
        summaries = [summary(output, name, test) for name in names]
        cells = [_spread([each[measure] for each in summaries]) for measure in MEASURES]
        shares = {
            rate: statistics.mean(each[rate] for each in summaries) for rate in RATES
        }
        cells += [f"{share:.0%}" for share in shares.values()]
        costs = [cost(output, name) for name in names]
        minutes = [60 * each["cpu_hours"] for each in costs if not each["resumed"]]
        cells += [str(len(names)), str(curve(output, names[0], MSI)[-1][0])]
        cells.append(f"{statistics.mean(minutes):.1f}" if minutes else "")
        yield f"| {ROWS[row].about} | {' | '.join(cells)} |"


def summary(output: Path, name: str, test: str) -> dict[str, float]:
    """Read the measures of a training on a test; NaN where there are no sources."""
    file = output / "scores" / name / test / "summary.json"
    read = json.loads(file.read_text("utf-8"))
    values = {measure: read[measure]["mean"] for measure in MEASURES}
    means = {key: float("nan") if v is None else v for key, v in values.items()}
    return means | {rate: read[rate] for rate in RATES}


def _spread(values: Sequence[float]) -> str:
    mean = statistics.mean(values)
    if math.isnan(mean):
        return ""
    if len(values) == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})"


def findings(runs: Runs, output: Path) -> Iterator[str]:
    """Say which aims were reached, and what the sparsity loss changes."""
    means = {
        row: {
            key: statistics.mean(summary(output, n, "mixtures")[key] for n in names)
            for key in (*MEASURES, *RATES)
        }
        for row, names in runs.items()
    }
    missing = [row.about for name, row in ROWS.items() if name not in means]
    if missing:
        yield f"- Not trained: {'; '.join(missing)}."
    without = [row for row in ("mixit", "sparse") if row in means]
    if without:
        best = max(without, key=lambda row: means[row]["MSi"])
        value = means[best]["MSi"]
        yield (
            f"- The aim of {AIM:g} dB MSi without labels is {_reached(value >= AIM)}: "
            f"{value:.1f} dB ({ROWS[best].about})."
        )
    if without and "pit" in means:
        best = max(without, key=lambda row: means[row]["2Si"])
        pit = means["pit"]
        gap = pit["2Si"] - means[best]["2Si"]
        yield (
            f"- The aim of a 2Si within {GAP:g} dB of PIT is {_reached(gap <= GAP)}: "
            f"{ROWS[best].about} is {abs(gap):.1f} dB "
            f"{'below' if gap > 0 else 'above'} PIT."
        )
        if gap < 0:
            yield (
                "- PIT is behind, so that this aim says little: these are the first "
                "steps of a training. The loss with labels counts the outputs that "
                "must be silent as well, and PIT leads in single sources, with a 1S of "
                f"{pit['1S']:.1f} dB against {means[best]['1S']:.1f} dB. "
                "[`universal`](../mixit/bundled/universal/README.md) has learned from "
                "all labels for longer."
            )
    if len(without) == len(("mixit", "sparse")):
        plain, sparse = means["mixit"], means["sparse"]
        yield (
            f"- The sparsity loss changes over-separation from {plain['over']:.0%} to "
            f"{sparse['over']:.0%}, 1S by {sparse['1S'] - plain['1S']:+.1f} dB and MSi "
            f"by {sparse['MSi'] - plain['MSi']:+.1f} dB."
        )


def _reached(is_reached: bool) -> str:
    return "reached" if is_reached else "not reached"


def cost(output: Path, name: str) -> dict[str, Any]:
    """Read the command of a training and what it took."""
    return json.loads((output / "runs" / name / "done").read_text("utf-8"))


def curve(output: Path, name: str, tag: str) -> list[tuple[int, float]]:
    """Read a measure of the validation after each epoch of a training."""
    lines = (output / "runs" / name / "scalars.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [
        (record["step"], record[tag])
        for record in records
        if record["split"] != "train" and tag in record
    ]


def draw(runs: Runs, output: Path) -> None:
    """Plot the measures of the validation over the steps, by row."""
    titles = {
        MSI: "mixtures of several sources: improvement",
        ONE_SOURCE: "single sources",
    }
    figure = plots.new_figure(11.0, 3.6)
    for axes, (tag, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for (row, named), colour in zip(ROWS.items(), COLOURS, strict=True):
            for index, name in enumerate(runs.get(row, ())):
                steps, values = zip(*curve(output, name, tag), strict=True)
                label = None if index else named.about
                axes.plot(steps, values, "o-", color=colour, label=label, markersize=3)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.set_ylabel("SI-SNR on the validation (dB)")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plots.save(figure, output / "unlabelled" / PICTURE)


if __name__ == "__main__":
    main()
