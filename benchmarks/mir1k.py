"""The table of MIR-1K: separators of all packages beside the published numbers.

``python benchmarks/mir1k.py --root MIR-1K --output DIR`` trains the separators of
``mir1k_rows.py`` on the 171 clips of Huang et al., chooses by their 4 clips, and
measures on the 825 of all other singers: voice and accompaniment mixed at 0 dB, BSS
Eval 3, means weighted by length (``mir1k_scores.py``). The root is their copy, in
folders train, dev and test, or the corpus as published, undivided.

``--rows`` and ``--seeds`` choose what is trained, ``--models unmix:mini`` measures
existing models, and words after ``--train`` go to each training. After an interruption
the same command continues. Each separator has a file of scores in ``DIR/scores``;
``DIR/mir1k.md`` and ``DIR/mir1k.csv`` hold the table of all of them, ``DIR/curves`` a
plot of each training. ``--report benchmarks/mir1k.md`` adds the rows to the page, whose
earlier ones stay in ``benchmarks/mir1k/rows.csv``.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import commands
import numpy as np
from mir1k_rows import ROWS, TIMES, words
from mir1k_scores import GLOBAL, Clip, ordered, shared_out
from mir1k_table import publish, write

from clustering.evaluate import IdealMask, oracle
from common.audio.resample import resample
from common.corpora import mir1k, waveforms, writing
from common.corpora.track import Track
from common.errors import exit_code
from common.evaluation import score_key, table
from common.files import replacing_folder, write_text
from common.separation.separator import Separator
from common.signal.stft import Stft
from common.synthetic import miniature

SOURCES = ("vocals", "accompaniment")
DEV = ("abjones_5_08", "abjones_5_09", "amy_9_08", "amy_9_09")
"""The clips of the training singers that Huang et al. choose their network by."""
IDEAL = Stft(1024, 256, window="sqrt_hann", padding="constant_whole")
IDEAL_MASKS: tuple[IdealMask, ...] = ("ideal_binary", "ideal_ratio")
COLUMNS = [f"{source}_{name}" for source in SOURCES for name in ("SDR", *GLOBAL)]
SMALL = {"train": 6, "test": 4}
"""Songs of the miniature that ``--tiny`` makes."""


class Estimator(NamedTuple):
    """Something to measure.

    Attributes:
        name: Name of its file of scores.
        identity: Text that changes with its estimates.
        estimate: From the sources [2, samples] of a clip to their estimates.
    """

    name: str
    identity: str
    estimate: Callable[[Clip], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure what is missing, and write the table; return the exit code."""
    options = _options(argv)
    return exit_code("run_table.sh", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    output = options.output.absolute()
    root = options.root or _miniature(output)
    corpus = prepare(root, output / "corpus")
    runs = [(row, seed) for seed in options.seeds for row in options.rows]
    if "--check" in options.train:
        return _check(runs, corpus, output, options)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda run: train(*run, corpus, output, options), runs))
    tracks = mir1k.tracks(root, "test")
    for estimator in (*bounds(), *trained(runs, output), *models(options.models)):
        measure(estimator, tracks, options.limit, output)
    text = write(output)
    if options.report:
        text = publish(output, options.report)
    sys.stdout.write(f"{text}\ntable: {options.report or output / 'mir1k.md'}\n")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run_table.sh mir1k")
    add = parser.add_argument
    add("--root", type=Path, help="folder of MIR-1K")
    add("--output", type=Path, required=True)
    add("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    add("--seeds", type=int, nargs="+", default=[0])
    add("--models", nargs="*", default=[], metavar="PACKAGE:MODEL")
    add(
        "--report",
        type=Path,
        help="page to add the rows to, with a folder of rows and learning curves",
    )
    add("--limit", type=int, help="clips to measure, default all")
    add("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    add(
        "--tiny",
        action="store_true",
        help="a few steps; without a root, on synthetic songs",
    )
    add(
        "--train",
        nargs=argparse.REMAINDER,
        default=[],
        help="the last option: all words after it go to each training; with --check "
        "among them, only dry runs of the trainings are made and nothing is measured",
    )
    options = parser.parse_args(argv)
    if options.root is None and not options.tiny:
        parser.error("name the folder of MIR-1K by --root, or try --tiny")
    return options


def _miniature(output: Path) -> Path:
    sys.stdout.write(
        "no root: synthetic songs, whose scores say nothing about real ones\n"
    )
    return miniature.write_mir1k(output / "miniature", **SMALL)


def prepare(root: Path, corpus: Path) -> Path:
    """Write the training clips with both sources equally loud.

    The test folder holds the validation clips again, because the training commands of
    the packages read it; the test clips are measured by this program.
    """
    if corpus.exists():
        return corpus
    training = mir1k.tracks(root, "train") + mir1k.tracks(root, "valid")
    held_out = [track for track in training if track.name in DEV]
    held_out = held_out or mir1k.tracks(root, "valid")
    names = {track.name for track in held_out}
    train = [track for track in training if track.name not in names]
    parts = {"train": train, "dev": held_out, "test": held_out}
    with replacing_folder(corpus) as draft:
        for folder, track in ((name, part) for name in parts for part in parts[name]):
            file = draft / "Wavfile" / folder / f"{track.name}.wav"
            stereo = writing.quantise(sources(track)[::-1])
            writing.write_wav(file, stereo, track.sample_rate)
    return corpus


def sources(track: Track) -> np.ndarray:
    """Voice and accompaniment at 0 dB at their mean level, float32 [2, samples]."""
    waves = [waveforms.read(track.sources[name], 0)[0][0] for name in SOURCES]
    levels = np.sqrt(np.mean(np.square(waves), axis=1, keepdims=True))
    return (np.stack(waves) * np.sqrt(np.prod(levels)) / levels).astype(np.float32)


def train(
    name: str, seed: int, corpus: Path, output: Path, options: argparse.Namespace
) -> None:
    """Train a row by its command, and record its cost."""
    run = output / f"{name}-{seed}"
    row = ROWS[name]
    command = [*words(row, corpus, run, seed, options.tiny), *options.train]
    _check_words(run, options.train)
    commands.train(row.pillar, command, run)


def _check(
    runs: Sequence[tuple[str, int]],
    corpus: Path,
    output: Path,
    options: argparse.Namespace,
) -> int:
    """Run the dry runs of the trainings; return the exit code of the first failure."""
    for name, seed in runs:
        row, run = ROWS[name], output / f"{name}-{seed}"
        command = [*words(row, corpus, run, seed, options.tiny), *options.train]
        program = [sys.executable, "-m", f"{row.pillar}.train", *command]
        if code := subprocess.run(program, cwd=commands.ROOT, check=False).returncode:
            return code
    return 0


def _check_words(run: Path, added: Sequence[str]) -> None:
    """Refuse words for a training that has ended with others."""
    done = run / "done"
    if not (added and done.exists()):
        return
    command = json.loads(done.read_text("utf-8"))["command"]
    if not command.endswith(" ".join(added)):
        raise ValueError(
            f"{run} was trained without {' '.join(added)}; name another output"
        )


def bounds() -> Iterator[Estimator]:
    """Estimators without a network: the mixture itself and ideal masks."""
    yield Estimator("mixture", "mixture", lambda clip: clip.mixture.repeat(2, axis=0))
    for mask in IDEAL_MASKS:
        yield Estimator(mask, f"{mask} {IDEAL}", functools.partial(_ideal, mask))


def _ideal(mask: IdealMask, clip: Clip) -> np.ndarray:
    waves = clip.sources.astype(np.float32)[:, np.newaxis]
    return oracle(waves.sum(axis=0), waves, IDEAL, mask)[:, 0]


def trained(runs: Sequence[tuple[str, int]], output: Path) -> Iterator[Estimator]:
    """Separators of the rows, some of them with several settings."""
    for name, seed in runs:
        pillar = ROWS[name].pillar
        for suffix, keys in TIMES.get(name, {"": {}}).items():
            run = str(output / f"{name}-{seed}")
            separator = importlib.import_module(pillar).load(run, **keys)
            yield _estimator(f"{name}{suffix}-{seed}", separator)


def models(named: Sequence[str]) -> Iterator[Estimator]:
    """Separators of models that are named, or of run folders."""
    for model_name in named:
        pillar, _, model = model_name.partition(":")
        separator = importlib.import_module(pillar).load(model)
        yield _estimator(f"{pillar}_{Path(model).name}", separator)


def _estimator(name: str, separator: Separator) -> Estimator:
    identity = score_key.digest(separator)
    return Estimator(name, identity, lambda clip: estimate(separator, clip))


def estimate(separator: Separator, clip: Clip) -> np.ndarray:
    """Separate a clip into voice and accompaniment.

    Unnamed outputs are put in the order of the best BSS Eval, as by Huang et al.; more
    than two are first divided between both sources for the best fit.
    """
    mixture = clip.mixture.astype(np.float32)
    rates = clip.sample_rate, separator.sample_rate
    outputs = separator(resample(mixture, *rates))
    waves = {
        name: resample(wave.mean(axis=0, keepdims=True), *rates[::-1])[0]
        for name, wave in outputs.items()
    }
    waves = {name: _as_long(wave, clip.samples) for name, wave in waves.items()}
    if "vocals" in waves:
        voice = waves.pop("vocals")
        rest = sum(waves.values()) if waves else mixture[0] - voice
        return np.stack([voice, rest])
    estimates = np.stack(list(waves.values()))
    return ordered(
        clip, shared_out(clip, estimates) if len(estimates) > 2 else estimates
    )


def _as_long(wave: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(wave[:samples], [0, max(0, samples - len(wave))])


def measure(
    estimator: Estimator, tracks: Sequence[Track], limit: int | None, output: Path
) -> None:
    """Measure every clip; write the scores and a digest of model and clips."""
    path = output / "scores" / f"{estimator.name}.csv"
    chosen = tracks[:limit]
    key = score_key.key(estimator.identity, chosen)
    digest_file = path.with_suffix(".sha256")
    digest = hashlib.sha256(key.encode()).hexdigest()
    if (
        path.exists()
        and digest_file.exists()
        and digest_file.read_text("utf-8") == digest
    ):
        return
    rows = table.Rows(path, ["clip", "samples", *COLUMNS], key)
    for track in chosen:
        if track.name not in rows:
            clip = Clip(sources(track), track.sample_rate)
            cells = scores(clip, estimator.estimate(clip))
            rows[track.name] = {"clip": track.name, "samples": track.samples, **cells}
    rows.finish(track.name for track in chosen)
    write_text(digest_file, digest)


def scores(clip: Clip, estimates: np.ndarray) -> dict[str, float]:
    """Measure both estimates of a clip, and their gain over the mixture."""
    measured, before = clip.measure(estimates), clip.measure(clip.mixture)
    cells = {}
    for index, source in enumerate(SOURCES):
        sdr = measured["SDR"][index, index]
        cells[f"{source}_SDR"] = float(sdr)
        cells[f"{source}_NSDR"] = float(sdr - before["SDR"][0, index])
        cells[f"{source}_SIR"] = float(measured["SIR"][index, index])
        cells[f"{source}_SAR"] = float(measured["SAR"][index, index])
    return cells


if __name__ == "__main__":
    sys.exit(main())
