"""Draw mixtures of clean sounds, describe them, and write them in a layout.

A mixture is a function of the sounds, the configuration and a seed. Its annotation
names every file, start and gain, so that :func:`remake` reproduces it exactly.

All sources are equal here: none is a background, each lasts as long as the mixture, and
a draw with a silent source is repeated as a whole. :mod:`common.corpora.mixing` draws
backgrounds and foregrounds in the layout of FUSS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np

from common import audio, files
from common.audio.resample import resample
from common.corpora import speaker_mixtures, writing
from common.corpora.track import Channel, CorpusError, Sum
from common.synthetic.synthesis import ramps

Layout = Literal["wsj0_2mix", "mix_folders", "scaper"]

LEVEL_DB = -25.0
"""Level of the first source if levels are drawn, relative to full scale."""
SILENCE_DB = -60.0
"""Lowest level of a source; quieter mixtures are drawn again."""
PAUSE_SECONDS = 0.1
FADES_PER_SECOND = 200
TRIES = 20


class Clean(NamedTuple):
    """A sound with its rate in Hz and its length in samples."""

    sound: Path | Channel | Sum
    sample_rate: int
    samples: int


Pool = Mapping[str, Mapping[str, Clean]]
"""Clean sounds by label and by name."""


@dataclass(frozen=True)
class MixtureConfig:
    """Parameters of mixtures.

    Attributes:
        sources: Number of sources.
        labels: ``"speakers"``: sources of as many labels, drawn for each mixture.
            ``"classes"``: always the first labels by name.
        coherent: Whether all sources are the same excerpt of sounds of one name.
        seconds: Shortest and longest mixture; none: one sound for each source, trimmed
            to the shortest of them.
        snr_db: Lowest and highest level of each source against the first, in dB; none:
            levels are kept.
        sample_rate: Rate of the mixtures in Hz.
        seed: Equal seeds, configurations and sounds give equal mixtures.
    """

    sources: int = 2
    labels: Literal["speakers", "classes"] = "speakers"
    coherent: bool = False
    seconds: tuple[float, float] | None = None
    snr_db: tuple[float, float] | None = None
    sample_rate: int = 8000
    seed: int = 0


class FileEntry(TypedDict, total=False):
    """A file of an annotation, with its channel if only one is used."""

    file: str
    channel: int


class PartEntry(TypedDict):
    """An excerpt in an annotation: files to sum, in samples of their own rate."""

    files: list[FileEntry]
    sample_rate: int
    start: int
    samples: int
    offset: int


class SourceEntry(TypedDict):
    """A source in an annotation: its excerpts and their gain."""

    label: str
    gain: float
    parts: list[PartEntry]


class Annotation(TypedDict):
    """Complete description of a mixture, as values of JSON."""

    sample_rate: int
    samples: int
    fade: int
    gain: float
    sources: list[SourceEntry]


class Part(NamedTuple):
    """An excerpt of a sound, in its own samples, and its offset in the mixture."""

    clean: Clean
    start: int
    samples: int
    offset: int


class Mixture(NamedTuple):
    """A mixture to write.

    Attributes:
        split: ``"train"``, ``"valid"`` or ``"test"``.
        number: Its number within the split.
        annotation: Its description.
        sources: int16 [sources, samples].
        by_label: Whether folders are named by the labels, and not s1, s2.
        home: Absolute folder of the complete set, for files that record it.
    """

    split: str
    number: int
    annotation: Annotation
    sources: np.ndarray
    by_label: bool
    home: Path


def draw(
    pool: Pool, config: MixtureConfig, rng: np.random.Generator
) -> tuple[Annotation, np.ndarray]:
    """Draw a mixture in which every source is audible.

    Args:
        pool: Sounds to draw from.
        config: Parameters of the mixture.
        rng: Seeded generator.

    Returns:
        Its annotation, and the sources, int16 [sources, samples], whose sum is the
        mixture.

    Raises:
        CorpusError: There are too few labels, no name is common to them, or 20 draws
            had a silent source.
    """
    for _ in range(TRIES):
        labels = _draw_labels(pool, config, rng)
        excerpts = _coherent_excerpts if config.coherent else _independent_excerpts
        samples, rows = excerpts([pool[label] for label in labels], config, rng)
        fade = 0 if config.coherent else config.sample_rate // FADES_PER_SECOND
        waves = [_render(parts, samples, config.sample_rate, fade) for parts in rows]
        levels = [_level_db(wave) for wave in waves]
        if min(levels) > SILENCE_DB:
            break
    else:
        raise CorpusError(
            f"no mixture of {', '.join(labels)} in which every source is audible, in "
            f"{TRIES} draws; leave silent sounds out with --exclude, or lengthen "
            "--seconds."
        )
    gains = _draw_gains(levels, config.snr_db, rng)
    scaled = np.stack(waves) * np.array(gains)[:, np.newaxis]
    annotation: Annotation = {
        "sample_rate": config.sample_rate,
        "samples": samples,
        "fade": fade,
        "gain": writing.headroom_gain(scaled),
        "sources": [
            {"label": label, "gain": gain, "parts": [_describe(part) for part in parts]}
            for label, gain, parts in zip(labels, gains, rows, strict=True)
        ],
    }
    return annotation, writing.to_int16(scaled, annotation["gain"])


def remake(annotation: Annotation) -> np.ndarray:
    """Reproduce the sources of a mixture from its annotation, bit for bit.

    Args:
        annotation: From :func:`draw`, or its JSON.

    Returns:
        int16 [sources, samples].

    Raises:
        AudioError: A file is missing or has changed.
    """
    rate, samples = annotation["sample_rate"], annotation["samples"]
    waves, gains = [], []
    for source in annotation["sources"]:
        parts = [_parse(part) for part in source["parts"]]
        waves.append(_render(parts, samples, rate, annotation["fade"]))
        gains.append(source["gain"])
    scaled = np.stack(waves) * np.array(gains)[:, np.newaxis]
    return writing.to_int16(scaled, annotation["gain"])


def mixture_name(mixture: Mixture) -> str:
    """Name a mixture by its number, its labels and their levels against the first."""
    levels = [_level_db(wave) for wave in mixture.sources]
    parts = [
        f"{label}_{level - levels[0]:.2f}"
        for label, level in zip(_labels(mixture), levels, strict=True)
    ]
    return "_".join([f"{mixture.number:05d}", *parts])


def write_wsj0_mix(root: Path, mixture: Mixture) -> str:
    """Write ``2speakers/wav8k/min/tr/{mix,s1,s2}/<name>.wav``."""
    count, rate = len(mixture.sources), mixture.annotation["sample_rate"]
    folder = root / f"{count}speakers" / f"wav{rate // 1000}k" / "min"
    folder /= speaker_mixtures.SPLITS[mixture.split]
    return _write_folders(folder, mixture, _numbered(mixture))


def write_mix_folders(root: Path, mixture: Mixture) -> str:
    """Write ``<split>/mix/<name>.wav`` and a folder beside for each source."""
    labels = [source["label"] for source in mixture.annotation["sources"]]
    folders = labels if mixture.by_label else _numbered(mixture)
    return _write_folders(root / mixture.split, mixture, folders)


def write_scaper(root: Path, mixture: Mixture) -> str:
    """Write ``<split>/<8 digits>.{wav,jams}`` and the isolated events beside."""
    folder, stem = root / mixture.split, f"{mixture.number:08d}"
    rate = mixture.annotation["sample_rate"]
    events = [
        f"{stem}_events/foreground{number}_{label}.wav"
        for number, label in enumerate(_labels(mixture))
    ]
    for event, wave in zip(events, mixture.sources, strict=True):
        writing.write_wav(folder / event, wave, rate)
    writing.write_wav(folder / f"{stem}.wav", mixture.sources.sum(axis=0), rate)
    jams = json.dumps(_jams(stem, events, mixture), indent=1)
    files.write_text(folder / f"{stem}.jams", jams)
    return stem


LAYOUTS: Mapping[Layout, Callable[[Path, Mixture], str]] = {
    "wsj0_2mix": write_wsj0_mix,
    "mix_folders": write_mix_folders,
    "scaper": write_scaper,
}
"""Functions that write a mixture below a folder and return its name."""


def _draw_labels(
    pool: Pool, config: MixtureConfig, rng: np.random.Generator
) -> list[str]:
    if len(pool) < config.sources:
        raise CorpusError(
            f"mixtures of {config.sources} sources need as many labels; there are "
            f"{len(pool)}: {', '.join(sorted(pool))}; add sounds, or lower --sources."
        )
    names = sorted(pool)
    if config.labels == "classes":
        return names[: config.sources]
    drawn = rng.choice(len(names), config.sources, replace=False)
    return [names[index] for index in drawn]


def _coherent_excerpts(
    rows: Sequence[Mapping[str, Clean]],
    config: MixtureConfig,
    rng: np.random.Generator,
) -> tuple[int, list[list[Part]]]:
    """Return the same excerpt of sounds of one name, or all of shorter ones."""
    shared = sorted(set.intersection(*(set(row) for row in rows)))
    if not shared:
        raise CorpusError(
            "coherent mixtures need sounds of equal names under every label, such as "
            "drums/song.wav and vocals/song.wav; rename them, or mix incoherently."
        )
    name = shared[rng.integers(len(shared))]
    cleans = [row[name] for row in rows]
    longest = min(clean.samples / clean.sample_rate for clean in cleans)
    seconds = min(longest, rng.uniform(*config.seconds)) if config.seconds else longest
    start = rng.uniform(0.0, longest - seconds)
    parts = [
        Part(clean, int(start * clean.sample_rate), int(seconds * clean.sample_rate), 0)
        for clean in cleans
    ]
    return int(seconds * config.sample_rate), [[part] for part in parts]


def _independent_excerpts(
    rows: Sequence[Mapping[str, Clean]],
    config: MixtureConfig,
    rng: np.random.Generator,
) -> tuple[int, list[list[Part]]]:
    """Return one sound for each source, or as many as fill the time."""
    if config.seconds:
        samples = round(rng.uniform(*config.seconds) * config.sample_rate)
        return samples, [_chain(row, samples, config, rng) for row in rows]
    cleans = [row[sorted(row)[rng.integers(len(row))]] for row in rows]
    seconds = min(clean.samples / clean.sample_rate for clean in cleans)
    parts = [Part(clean, 0, int(seconds * clean.sample_rate), 0) for clean in cleans]
    return int(seconds * config.sample_rate), [[part] for part in parts]


def _chain(
    row: Mapping[str, Clean],
    samples: int,
    config: MixtureConfig,
    rng: np.random.Generator,
) -> list[Part]:
    """Join sounds of one label, with random excerpts of longer ones."""
    parts: list[Part] = []
    names, offset = sorted(row), 0
    order: list[int] = []
    while offset < samples:
        order = order or rng.permutation(len(names)).tolist()
        clean = row[names[order.pop()]]
        missing = -(-(samples - offset) * clean.sample_rate // config.sample_rate)
        total = -(-samples * clean.sample_rate // config.sample_rate)
        start = int(rng.integers(max(0, clean.samples - total) + 1))
        parts.append(Part(clean, start, min(missing, clean.samples), offset))
        length = -(-parts[-1].samples * config.sample_rate // clean.sample_rate)
        offset += length + round(rng.uniform(0, PAUSE_SECONDS) * config.sample_rate)
    return parts


def _draw_gains(
    levels: Sequence[float],
    snr_db: tuple[float, float] | None,
    rng: np.random.Generator,
) -> list[float]:
    if snr_db is None:
        return [1.0] * len(levels)
    targets = [LEVEL_DB, *(LEVEL_DB + rng.uniform(*snr_db) for _ in levels[1:])]
    return [
        float(10 ** ((target - level) / 20))
        for target, level in zip(targets, levels, strict=True)
    ]


def _render(
    parts: Sequence[Part], samples: int, sample_rate: int, fade: int
) -> np.ndarray:
    """Sum excerpts at their offsets, [samples], mono."""
    wave = np.zeros(samples)
    for clean, start, length, offset in parts:
        excerpt = _read(clean.sound, start, length).mean(axis=0, keepdims=True)
        mono = resample(excerpt, clean.sample_rate, sample_rate)[0, : samples - offset]
        envelope = ramps(len(mono), fade, fade) if fade else 1.0
        wave[offset : offset + len(mono)] += mono * envelope
    return wave


def _read(sound: Path | Channel | Sum, start: int, samples: int) -> np.ndarray:
    if isinstance(sound, Path):
        return audio.read(sound, start, samples)[0]
    if isinstance(sound, Channel):
        channels = audio.read(sound.file, start, samples)[0]
        return channels[sound.channel : sound.channel + 1]
    total = np.zeros((1, samples), np.float32)
    for part in sound.parts:
        if isinstance(part, np.ndarray):
            raise CorpusError(
                "a source is a sum with an array, which the list of a mixture cannot "
                "name; expected sums of files"
            )
        mono = _read(part, start, samples).mean(axis=0, keepdims=True)
        total[:, : mono.shape[1]] += mono
    return total


def _describe(part: Part) -> PartEntry:
    clean = part.clean
    sounds = clean.sound.parts if isinstance(clean.sound, Sum) else (clean.sound,)
    entries: list[FileEntry] = [
        {"file": str(sound.file), "channel": sound.channel}
        if isinstance(sound, Channel)
        else {"file": str(sound)}
        for sound in sounds
    ]
    return {
        "files": entries,
        "sample_rate": clean.sample_rate,
        "start": part.start,
        "samples": part.samples,
        "offset": part.offset,
    }


def _parse(entry: PartEntry) -> Part:
    sounds = [
        Channel(Path(file["file"]), file["channel"])
        if "channel" in file
        else Path(file["file"])
        for file in entry["files"]
    ]
    sound = sounds[0] if len(sounds) == 1 else Sum(tuple(sounds))
    start, samples = entry["start"], entry["samples"]
    clean = Clean(sound, entry["sample_rate"], start + samples)
    return Part(clean, start, samples, entry["offset"])


def _level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-12))


def _numbered(mixture: Mixture) -> list[str]:
    return [f"s{number + 1}" for number in range(len(mixture.sources))]


def _labels(mixture: Mixture) -> list[str]:
    """Return the labels of the sources, as parts of file names."""
    entries = mixture.annotation["sources"]
    return [source["label"].replace("/", "-") for source in entries]


def _write_folders(folder: Path, mixture: Mixture, names: Sequence[str]) -> str:
    name, rate = mixture_name(mixture), mixture.annotation["sample_rate"]
    for source, wave in zip(names, mixture.sources, strict=True):
        writing.write_wav(folder / source / f"{name}.wav", wave, rate)
    total = mixture.sources.sum(axis=0)
    writing.write_wav(folder / "mix" / f"{name}.wav", total, rate)
    return name


def _jams(stem: str, events: Sequence[str], mixture: Mixture) -> dict[str, Any]:
    """Return the annotation of Scaper with absolute paths, as nussl expects."""
    annotation, home = mixture.annotation, mixture.home / mixture.split
    first, *_ = levels = [_level_db(wave) for wave in mixture.sources]
    listed = []
    for label, level, source in zip(
        _labels(mixture), levels, annotation["sources"], strict=True
    ):
        part = source["parts"][0]
        start = part["start"] / part["sample_rate"]
        file = part["files"][0]["file"]
        listed.append(writing.Event(label, file, start, level - first))
    paths = {
        "soundscape_audio_path": str(home / f"{stem}.wav"),
        "isolated_events_audio_path": [str(home / event) for event in events],
    }
    seconds = annotation["samples"] / annotation["sample_rate"]
    return writing.jams(listed, seconds, paths)
