"""Scores of a run on its test songs: ``python -m adversarial.evaluate RUN``.

A row for each song goes to ``scores.csv`` and ``scores.json``, mean and median of every
corpus to ``summary.json`` and ``summary.md``. All is measured at the working rate, in
mono, as in the original: what is above half that rate has no part in any number.
Stopped at any time, the same command goes on after the last song that it measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from adversarial import corpus, lists, results, runs
from adversarial.config import AdversarialConfig
from adversarial.scores import MEASURES, scores, silent
from adversarial.separate import load
from common.audio import resample
from common.corpora import waveforms
from common.corpora.track import CorpusError, Sound, Track
from common.errors import exit_code
from common.evaluation import score_key
from common.evaluation.table import Row, Rows
from common.files import write_json, write_text
from common.separation.command import add_checkpoint
from common.separation.separator import Separator
from common.training.checkpoint import scores_folder
from common.training.loop import say
from common.weights import bundled as embedded

DATABASES = {
    "musdb": "MUSDB18",
    "dsd100": "DSD100",
    "ccmixter": "CCMixter",
    "moisesdb": "MoisesDB",
    "mir1k": "MIR-1K",
    "track_folders": "folders",
}
"""Names of the corpora by their kinds."""


def score(
    separator: Separator,
    tracks: Sequence[Track],
    output: str | Path,
    database: str = "musdb",
) -> dict[str, Any]:
    """Measure the separation of songs and write all results.

    Args:
        separator: Of mono sound into ``vocals`` and ``accompaniment``.
        tracks: Songs with these sources; one that a song lacks is silent.
        output: Folder of the results.
        database: Kind of the corpus of songs whose names tell no other.

    Returns:
        The summary: by corpus, source and measure ``mean``, ``median`` and ``count``.

    Raises:
        CorpusError: There is no song, or two have one name.
        AudioError: A file cannot be read.
    """
    _check_names(tracks)
    output, names = Path(output), [track.name for track in tracks]
    columns = ["Song", "Title", "Database", "Silent", "Bandwidth_Hz", "Seconds"]
    columns += [f"{source}_{m}" for source in separator.sources for m in MEASURES]
    key = score_key.key(score_key.digest(separator), tracks, database=database)
    rows = Rows(output / "scores.csv", columns, key, texts=4)
    for track in tqdm(tracks, desc="evaluate", disable=None, leave=False):
        if track.name not in rows:
            rows[track.name] = _row(separator, track, database)
    found = results.summary([rows[name] for name in names], separator.sources)
    whole = {"bandwidth_hz": separator.sample_rate / 2, "databases": found}
    songs = [results.nested(rows[name], separator.sources) for name in names]
    write_json(songs, output / "scores.json")
    write_json(whole, output / "summary.json")
    write_text(output / "summary.md", results.table(whole))
    # It is the table of all songs, so its name stands for a finished evaluation.
    rows.finish(names)
    return whole


def read(track: Track, sources: Iterable[str], rate: int) -> dict[str, np.ndarray]:
    """Read a song in mono, its mixture and sources equally long.

    Args:
        track: The song.
        sources: Names of the sources; one that it lacks is silent.
        rate: Sample rate to read at, in Hz.

    Returns:
        Float32 [samples] of ``mixture`` and each source.
    """
    sounds: dict[str, Sound] = {"mixture": lists.mixture(track), **track.sources}
    waves = {
        name: _mono(sound, track.sample_rate, rate) for name, sound in sounds.items()
    }
    longest = max(map(len, waves.values()))
    silence = np.zeros(longest, np.float32)
    padded = {n: np.pad(wave, [0, longest - len(wave)]) for n, wave in waves.items()}
    return {name: padded.get(name, silence) for name in ("mixture", *sources)}


def _row(separator: Separator, track: Track, database: str) -> Row:
    rate, sources = separator.sample_rate, separator.sources
    sounds = read(track, sources, rate)
    mixture = sounds.pop("mixture")
    estimates = {n: wave[0] for n, wave in separator(mixture[np.newaxis]).items()}
    pairs = ([sounds[n], estimates[n]] for n in sources)
    truth, heard = np.stack(list(pairs), axis=1)
    found = scores(truth, heard, mixture, rate)
    quiet = silent(sounds) + [f"estimated {name}" for name in silent(estimates)]
    kind, _, title = track.name.partition("/")
    if kind not in DATABASES:
        kind, title = database, track.name
    return {
        "Song": track.name,
        "Title": title,
        "Database": DATABASES.get(kind, kind),
        "Silent": ", ".join(quiet),
        "Bandwidth_Hz": rate / 2,
        "Seconds": len(mixture) / rate,
    } | {
        f"{source}_{measure}": round(float(values[place]), 5)
        for measure, values in found.items()
        for place, source in enumerate(sources)
    }


def _mono(sound: Sound, given: int, rate: int) -> np.ndarray:
    wave, given = waveforms.read(sound, given)
    mono = wave.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    return resample.resample(mono, given, rate)[0]


def _check_names(tracks: Sequence[Track]) -> None:
    if not tracks:
        raise CorpusError(
            "there are 0 songs to measure; choose another split or corpus"
        )
    names = [track.name for track in tracks]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise CorpusError(f"two songs are named {twice[0]!r}; rename one of them")


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; returns the exit code."""
    parser = argparse.ArgumentParser("adversarial.evaluate", description=main.__doc__)
    add = parser.add_argument
    add("run", help="run folder, that of a phase, prefix of a checkpoint, or mini")
    add_checkpoint(parser)
    add("--output", type=Path, help="default: the folder evaluation of the phase")
    add("--root", help="folder of the paired corpus (default: the run's)")
    add("--split", default="test", choices=["test", "valid"])
    add("--limit", type=int, metavar="SONGS", help="score no more than so many")
    options = parser.parse_args(argv)
    return exit_code("adversarial.evaluate", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    if options.limit is not None and options.limit < 1:
        raise CorpusError(f"--limit is {options.limit}; expected at least 1 song")
    place = runs.locate(options.run)
    separator = load(place, checkpoint=options.checkpoint)
    config = _corpora(runs.config(place), options.root)
    tracks = getattr(corpus.read(config), options.split)[: options.limit]
    output = options.output or _usual_place(options, place)
    whole = score(separator, tracks, output, config.corpora.paired)
    sys.stdout.write(results.table(whole))
    say(f"results: {output}")
    return 0


def _corpora(config: AdversarialConfig, root: str | None) -> AdversarialConfig:
    """Leave out what the test does not need, so that it need not be there."""
    corpora = replace(config.corpora, root=root or config.corpora.root)
    if not corpora.thirds:
        corpora = replace(corpora, unpaired=None)
    return replace(config, corpora=corpora)


def _usual_place(options: argparse.Namespace, place: Path) -> Path:
    split = options.split
    name = "evaluation" if split == "test" else f"evaluation-{split}"
    if embedded.find(runs.MODELS, options.run):
        return Path(name, options.run)
    folder = place if place.is_dir() else place.parent.parent
    return folder / scores_folder(place, options.checkpoint, name)


if __name__ == "__main__":
    sys.exit(main())
