"""Loading of training excerpts beside the original, from wav in MUSDB18-HQ's layout.

``python benchmarks/loading_openunmix.py --python PYTHON``: PYTHON is the interpreter of
an environment with openunmix 1.3.0, torch and musdb, which needs ffmpeg (torchaudio may
be broken there, it is not used). Excerpts of 6 s, mixed from random tracks with both
augmentations, in batches of 16. All load in turn. The table goes to
``loading_openunmix.md``; ``--quick`` takes two turns on short songs and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import turns

RATE, SONGS = 44_100, 6
BATCH = 16
SOURCES = ("vocals", "drums", "bass", "other")
BATCHES = {
    "ours, wav": 32,
    "ours, records": 32,
    "original": 1,
    "original, 2 workers": 2,
}
"""How many each of them loads in its turn, which then lasts some seconds."""
Work = Callable[[], None]


def make(folder: Path, seconds: int) -> Work:
    """Write a corpus of noise."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    for split, count in (("train", SONGS), ("test", 1)):
        for song in range(count):
            track_folder = folder / "hq" / split / f"Artist - Song {song}"
            track_folder.mkdir(parents=True)
            shape = len(SOURCES), seconds * RATE, 2
            sources = rng.integers(-3000, 3000, shape, np.int16)
            for name, source in zip(SOURCES, sources, strict=True):
                soundfile.write(track_folder / f"{name}.wav", source, RATE)
            mixture = sources.sum(0, dtype=np.int16)
            soundfile.write(track_folder / "mixture.wav", mixture, RATE)
    return lambda: None


def ours(folder: Path, name: str) -> Work:
    """Load as our training does."""
    os.environ["SEPARATION_CACHE"] = str(folder / "cache")
    import tensorflow as tf

    from common.training import distribution
    from unmix import data
    from unmix.config import UMXHQ

    records = str(folder / "records") if "records" in name else None
    config = dataclasses.replace(UMXHQ, data_root=str(folder / "hq"), records=records)
    example = data.training_example(config, data.load(config).train)
    strategy = tf.distribute.get_strategy()
    batches = iter(distribution.training_batches(strategy, example, BATCH, 0))

    def work() -> None:
        for _ in range(BATCHES[name]):
            next(batches)["mixture"].numpy()

    return work


def original(folder: Path, name: str) -> Work:
    """Load as the original's training does."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch
    from openunmix import data

    augmentations = data.aug_from_str(["gain", "channelswap"])
    dataset = data.MUSDBDataset(
        root=str(folder / "hq"),
        is_wav=True,
        split="train",
        target="vocals",
        seq_duration=6.0,
        samples_per_track=64,
        source_augmentations=augmentations,
        random_track_mix=True,
    )
    workers = 2 if "workers" in name else 0
    loader: Any = torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, shuffle=True, num_workers=workers
    )

    def work() -> None:
        # Anew, as workers would load ahead while others have their turn.
        batches = iter(loader)
        for _ in range(BATCHES[name]):
            next(batches)

    return work


def work_of(folder: Path, name: str) -> Work:
    """Make what a process does that has this name."""
    if name.startswith("make"):
        return make(folder, int(name.removeprefix("make ")))
    return (ours if name.startswith("ours") else original)(folder, name)


def worker(python: str, folder: Path, name: str) -> turns.Worker:
    """Start a program."""
    words = [python, __file__, "--role", name, "--folder", str(folder)]
    return turns.Worker(words, not name.startswith("original"))


def table(answers: turns.Answers) -> str:
    """Items per second of each, and how many times the original's."""
    turns.record(
        f"Loading of {BATCH} excerpts of 6 s",
        {
            name: [{k: time[k] / BATCHES[name] for k in ("wall", "cpu")} for time in of]
            for name, of in answers.items()
        },
    )
    speeds = {
        name: BATCHES[name] * BATCH / statistics.median(time["wall"] for time in times)
        for name, times in answers.items()
    }
    lines = ["| | items / s | original x |\n|---|---|---|\n"]
    for name, speed in speeds.items():
        ratio = speed / speeds["original"]
        lines.append(f"| {name} | {speed:.1f} | {ratio:.1f} |\n")
    return "".join(lines)


def main() -> int:
    """Write a corpus, then let all load from it in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        turns.serve(work_of(options.folder, options.role))
        return 0
    runs, seconds = (2, 20) if options.quick else (options.runs, 120)
    with tempfile.TemporaryDirectory() as track_folder:
        folder = Path(track_folder)
        worker(sys.executable, folder, f"make {seconds}").end()
        programs = {
            name: worker(
                options.python if name.startswith("original") else sys.executable,
                folder,
                name,
            )
            for name in BATCHES
        }
        answers = turns.compare(programs, runs)
        for program in programs.values():
            program.end()
    text = (
        "# Loading compared with the original, openunmix 1.3.0 with musdb\n\nExcerpts "
        "of 6 s from wav in MUSDB18-HQ's layout, written by `python "
        f"benchmarks/loading_openunmix.py`; {os.cpu_count()} cores of a shared "
        f"machine, medians of {runs} alternating runs. Files are in the system's "
        "cache.\n\n" + table(answers)
    )
    sys.stdout.write(text)
    if not options.quick:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
