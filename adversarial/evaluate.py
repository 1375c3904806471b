"""Scores of a run on its test songs: ``python -m adversarial.evaluate RUN``.

A row for each song goes to ``scores.csv`` and ``scores.json``, mean and median of every
corpus to ``summary.json`` and ``summary.md``. Scores are at the working rate, in
mono, as in the original: sound above half that rate has no effect on them. After an
interruption the same command continues after the last scored song.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adversarial import phases
from adversarial.config import AdversarialConfig
from adversarial.separate import load
from adversarial.songs.corpus import list_songs, mixture_of
from adversarial.songs.song_lists import MIXTURE
from common.audio import resample
from common.corpora import waveforms
from common.corpora.track import CorpusError, Sound, Track
from common.evaluation import bss_eval, command, score_key
from common.evaluation.command import Evaluation, each
from common.evaluation.table import Row, Rows, markdown
from common.files import write_json, write_text
from common.separation.separator import Separator
from common.training.loop import say

DATABASES = {
    "musdb": "MUSDB18",
    "dsd100": "DSD100",
    "ccmixter": "CCMixter",
    "moisesdb": "MoisesDB",
    "mir1k": "MIR-1K",
    "track_folders": "folders",
    "function": "Unknown",
}
"""Names of the corpora in the tables."""

ORIGINAL = "SDR", "SIR", "SAR", "NSDR", "NSIR", "SNR", "NSNR"
"""Measures of the whole song; N: the improvement over the mixture."""
MUSEVAL = tuple(f"museval_{name}" for name in bss_eval.WINDOWED)
"""Medians over the seconds of the song."""
MEASURES = (*ORIGINAL, *MUSEVAL)

TABLE_MEASURES = "SDR", "SIR", "SAR", "NSDR", "museval_SDR"
"""Measures of the Markdown table; the files hold all."""
ALL = "all"
"""Name of the summary over all corpora."""

LEAST = 1e-10
"""Amplitude of the noise that replaces silence, which has no projection."""


def evaluate(
    separator: Separator,
    tracks: Sequence[Track],
    output: str | Path,
    database: str = "musdb",
    jobs: int = 1,
) -> Evaluation:
    """Score the separation of songs and write all results.

    Args:
        separator: Separator of mono sound into ``vocals`` and ``accompaniment``.
        tracks: Songs with these sources; one that a song lacks is silent.
        output: Folder of the results.
        database: Corpus of the songs whose names do not begin with one.
        jobs: Number of songs to score at once.

    Returns:
        One row for each song, and the summary: by corpus, source and measure ``mean``,
        ``median`` and ``count``.

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
    pending = [track for track in tracks if track.name not in rows]
    for row in each(partial(_row, separator, database), pending, jobs, "song"):
        rows[row["Song"]] = row
    databases = summary([rows[name] for name in names], separator.sources)
    result = {"bandwidth_hz": separator.sample_rate / 2, "databases": databases}
    songs = [nested(rows[name], separator.sources) for name in names]
    write_json(songs, output / "scores.json")
    write_json(result, output / "summary.json")
    write_text(output / "summary.md", table(result))
    # Last, because the table of all songs marks a finished evaluation.
    rows.finish(names)
    return Evaluation([rows[name] for name in names], result)


def scores(
    references: np.ndarray,
    estimates: np.ndarray,
    mixture: np.ndarray,
    sample_rate: int,
) -> dict[str, np.ndarray]:
    """Compute the measures of a song, without permutation of the sources.

    A song with a silent source has no measures relative to the mixture, as in the
    original. The silent source itself has no scores; the original replaces it by faint
    random noise and scores that. A silent estimate is scored as the faintest noise.

    Args:
        references: Float [sources, samples].
        estimates: Float of the same shape.
        mixture: Float [samples].
        sample_rate: In Hz.

    Returns:
        Each of :data:`MEASURES` in dB, float64 [sources], NaN if there is none.
    """
    is_silent = ~references.any(axis=1)
    references, estimates = _with_noise(references, 1), _with_noise(estimates, 2)
    mixtures = _with_noise(np.stack([mixture] * len(references)), 3)
    values = bss_eval.whole(references, estimates)
    baseline = bss_eval.whole(references, mixtures)
    values["SNR"], baseline["SNR"] = (
        snr(references, estimates),
        snr(references, mixtures),
    )
    for name in ("SDR", "SIR", "SNR"):
        # The difference of two infinite ratios is NaN.
        with np.errstate(invalid="ignore"):
            values[f"N{name}"] = values[name] - baseline[name]
    if is_silent.any():
        for name in ("NSDR", "NSIR", "SNR", "NSNR"):
            values[name] = np.full(len(references), np.nan)
    windowed = bss_eval.seconds(references, estimates, sample_rate)
    for name, seconds in windowed.items():
        values[f"museval_{name}"] = np.array([_median(second) for second in seconds])
    return {name: np.where(is_silent, np.nan, values[name]) for name in MEASURES}


def snr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Compute the signal-to-noise ratio of estimates at their best gain.

    Args:
        references: Float [..., samples].
        estimates: Float of the same shape, none of them silent.

    Returns:
        Float64 [...] in dB.

    >>> float(snr(np.array([2.0, 0.0]), np.array([0.5, 0.5])).round(3))
    3.01
    """
    references, estimates = (
        sound.astype(np.float64) for sound in (references, estimates)
    )
    energy = np.square(estimates).sum(-1, keepdims=True)
    gain = (references * estimates).sum(-1, keepdims=True) / energy
    noise = np.square(references - gain * estimates).sum(-1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.square(references).sum(-1) / noise)


def summary(rows: Sequence[Row], sources: Sequence[str]) -> dict[str, Any]:
    """Compute mean and median over the songs of each corpus, and over all songs.

    Args:
        rows: Rows of songs.
        sources: Names of the sources.

    Returns:
        By corpus, source and measure: ``mean``, ``median`` and ``count`` of songs.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["Database"], []).append(row)
    if len(groups) > 1:
        groups[ALL] = list(rows)
    return {
        group: {
            source: {
                measure: _statistics(row[f"{source}_{measure}"] for row in group_rows)
                for measure in MEASURES
            }
            for source in sources
        }
        for group, group_rows in groups.items()
    }


def table(result: Mapping[str, Any]) -> str:
    """Format a summary as a Markdown table, medians before means."""
    band = f"{result['bandwidth_hz'] / 1000:.1f} kHz"
    rows = []
    for group, sources in result["databases"].items():
        for source, statistics in sources.items():
            cells = (_cell(statistics[name]) for name in TABLE_MEASURES)
            rows.append([group, source, str(statistics["SDR"]["count"]), band, *cells])
    text = markdown(["corpus", "source", "songs", "bandwidth", *TABLE_MEASURES], rows)
    return f"{text}\nMedians (means in brackets) over songs in dB.\n"


def nested(row: Row, sources: Sequence[str]) -> dict[str, Any]:
    """Arrange a row as the original does, each measure by source.

    Args:
        row: Row of a song.
        sources: Names of the sources.

    Returns:
        Values for JSON; None where there is no score.
    """
    facts = "Title", "Database", "Bandwidth_Hz", "Seconds"
    values: dict[str, Any] = {name: row[name] for name in facts}
    values["Silent"] = row["Silent"].split(", ") if row["Silent"] else []
    for measure in MEASURES:
        by_source = {source: row[f"{source}_{measure}"] for source in sources}
        values[measure] = {
            source: value if math.isfinite(value) else None
            for source, value in by_source.items()
        }
    return values


def read(track: Track, sources: Iterable[str], rate: int) -> dict[str, np.ndarray]:
    """Read a song in mono, mixture and sources padded to one length.

    Args:
        track: The song.
        sources: Names of the sources; one that the song lacks is silent.
        rate: Sample rate of the result in Hz.

    Returns:
        Float32 [samples] of ``mixture`` and each source.
    """
    sounds: dict[str, Sound] = {MIXTURE: mixture_of(track), **track.sources}
    waves = {
        name: _read_mono(sound, track.sample_rate, rate)
        for name, sound in sounds.items()
    }
    longest = max(map(len, waves.values()))
    silence = np.zeros(longest, np.float32)
    padded = {n: np.pad(wave, [0, longest - len(wave)]) for n, wave in waves.items()}
    return {name: padded.get(name, silence) for name in (MIXTURE, *sources)}


def silent(sounds: Mapping[str, np.ndarray]) -> list[str]:
    """List the names of sounds that are silent throughout.

    >>> silent({"vocals": np.zeros(3), "accompaniment": np.ones(3)})
    ['vocals']
    """
    return [name for name, sound in sounds.items() if not sound.any()]


def _row(separator: Separator, database: str, track: Track) -> Row:
    rate, sources = separator.sample_rate, separator.sources
    sounds = read(track, sources, rate)
    mixture = sounds.pop(MIXTURE)
    estimates = {n: wave[0] for n, wave in separator(mixture[np.newaxis]).items()}
    values = scores(
        np.stack([sounds[name] for name in sources]),
        np.stack([estimates[name] for name in sources]),
        mixture,
        rate,
    )
    silence = silent(sounds) + [f"estimated {name}" for name in silent(estimates)]
    corpus, _, title = track.name.partition("/")
    if corpus not in DATABASES:
        corpus, title = database, track.name
    return {
        "Song": track.name,
        "Title": title,
        "Database": DATABASES.get(corpus, corpus),
        "Silent": ", ".join(silence),
        "Bandwidth_Hz": rate / 2,
        "Seconds": len(mixture) / rate,
    } | {
        f"{source}_{measure}": round(float(by_source[number]), 5)
        for measure, by_source in values.items()
        for number, source in enumerate(sources)
    }


def _read_mono(sound: Sound, array_rate: int, rate: int) -> np.ndarray:
    wave, sound_rate = waveforms.read(sound, array_rate)
    mono = wave.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    return resample.resample(mono, sound_rate, rate)[0]


def _with_noise(sounds: np.ndarray, seed: int) -> np.ndarray:
    """Replace silence by faint noise, always the same."""
    noise = np.random.default_rng(seed).uniform(-LEAST, LEAST, sounds.shape)
    is_silent = ~sounds.any(axis=1, keepdims=True)
    return np.where(is_silent, noise, sounds.astype(np.float64))


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def _statistics(values: Iterable[float]) -> dict[str, float | int | None]:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return {"mean": None, "median": None, "count": 0}
    mean, median = float(np.mean(finite)), float(np.median(finite))
    return {"mean": round(mean, 5), "median": round(median, 5), "count": len(finite)}


def _cell(statistics: Mapping[str, float | None]) -> str:
    if statistics["median"] is None:
        return "none"
    return f"{statistics['median']:.2f} ({statistics['mean']:.2f})"


def _check_names(tracks: Sequence[Track]) -> None:
    if not tracks:
        raise CorpusError("there are 0 songs to score; choose another split or corpus")
    names = [track.name for track in tracks]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise CorpusError(f"two songs are named {repeated[0]!r}; rename one of them")


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run on its test songs."""
    splits = {"valid": "valid", "test": "test"}
    parser = command.parser("adversarial.evaluate", main.__doc__, splits=splits)
    return command.command(parser, _main, argv)


def _main(options: argparse.Namespace) -> int:
    if options.model is None:
        raise CorpusError(
            "no model is named; give a run folder, a checkpoint or singing"
        )
    location = phases.locate(options.model)
    config = _test_config(phases.read_config(location.path), options.data)
    separator = load(location.path, checkpoint=options.checkpoint)
    tracks = getattr(list_songs(config), options.split)[: options.limit]
    output = command.results_folder(options, location.own)
    result = evaluate(separator, tracks, output, database_of(config), options.jobs)
    sys.stdout.write(table(result.summary))
    say(f"results: {output}")
    return 0


def database_of(config: AdversarialConfig) -> str:
    """Name the corpus of the songs whose names do not begin with one."""
    return "function" if config.corpora.function else config.corpora.paired


def _test_config(config: AdversarialConfig, root: str | None) -> AdversarialConfig:
    """Remove the unpaired corpus if it has no test songs, so that it may be missing."""
    if root and config.corpora.function:
        raise CorpusError(
            f"--data is {root}, but the songs of this run are those of "
            f"corpora.function={config.corpora.function}; leave --data out"
        )
    corpora = replace(config.corpora, data_root=root or config.corpora.data_root)
    if not corpora.thirds:
        corpora = replace(corpora, unpaired=None)
    return replace(config, corpora=corpora)


if __name__ == "__main__":
    sys.exit(main())
