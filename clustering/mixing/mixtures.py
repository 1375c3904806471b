"""Mixtures of clean sounds: drawn by a seed, described so as to be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from clustering.mixing.clean_sounds import Clean, Pool
from common import audio
from common.audio.resample import resample
from common.corpora.track import Channel, CorpusError, Sum
from common.corpora.writing import HEADROOM
from common.synthetic.synthesis import ramps

LEVEL_DB = -25.0
"""Level of the first source where levels are drawn, relative to full scale."""
SILENCE_DB = -60.0
"""A source below this level makes the mixture be drawn again."""
PAUSE_SECONDS = 0.1
FADES_PER_SECOND = 200
TRIES = 20

Annotation = dict[str, Any]
"""What a mixture is made of, ready for JSON."""


@dataclass(frozen=True)
class Recipe:
    """How mixtures are made.

    Attributes:
        sources: How many sound at once.
        labels: ``"speakers"``: sources of so many labels, drawn for each mixture.
            ``"classes"``: always the same labels, the first ones by name.
        coherent: Whether all sources are those of one name, from one place.
        seconds: Shortest and longest mixture; none: one sound for each source, cut to
            the shortest of them.
        snr_db: Lowest and highest level of each source against the first, in dB; none:
            levels as they are.
        sample_rate: Rate of the mixtures in Hz.
        seed: Equal seeds, recipes and sounds give equal mixtures.
    """

    sources: int = 2
    labels: Literal["speakers", "classes"] = "speakers"
    coherent: bool = False
    seconds: tuple[float, float] | None = None
    snr_db: tuple[float, float] | None = None
    sample_rate: int = 8000
    seed: int = 0


class Part(NamedTuple):
    """An excerpt of a sound, in samples of its own, and its place in the mixture."""

    clean: Clean
    start: int
    samples: int
    offset: int


def draw(
    pool: Pool, recipe: Recipe, rng: np.random.Generator
) -> tuple[Annotation, np.ndarray]:
    """Draw a mixture in which every source is heard.

    Args:
        pool: What to draw from.
        recipe: How.
        rng: Seeded generator.

    Returns:
        Its description, and the sources, int16 [sources, samples], whose sum is the
        mixture.

    Raises:
        CorpusError: There are too few labels, no name is common to them, or 20 draws
            had a silent source.
    """
    for _ in range(TRIES):
        labels = _labels(pool, recipe, rng)
        choose = _one_place if recipe.coherent else _places_of_their_own
        samples, rows = choose([pool[label] for label in labels], recipe, rng)
        fade = 0 if recipe.coherent else recipe.sample_rate // FADES_PER_SECOND
        waves = [_render(parts, samples, recipe.sample_rate, fade) for parts in rows]
        levels = [_level_db(wave) for wave in waves]
        if min(levels) > SILENCE_DB:
            break
    else:
        raise CorpusError(
            f"no mixture of {', '.join(labels)} in which every source is heard, in "
            f"{TRIES} draws; leave silent sounds out with --exclude, or lengthen "
            "--seconds."
        )
    gains = _gains(levels, recipe.snr_db, rng)
    levelled = np.stack(waves) * np.array(gains)[:, np.newaxis]
    peak = max(np.abs(levelled).max(), np.abs(levelled.sum(axis=0)).max())
    told: Annotation = {
        "sample_rate": recipe.sample_rate,
        "samples": samples,
        "fade": fade,
        "gain": float(min(1.0, HEADROOM / peak)),
        "sources": [
            {"label": label, "gain": gain, "parts": [_told(part) for part in parts]}
            for label, gain, parts in zip(labels, gains, rows, strict=True)
        ],
    }
    return told, _quantised(levelled, told["gain"])


def remake(told: Annotation) -> np.ndarray:
    """Make the sources of a mixture again from its description, bit for bit.

    Args:
        told: What :func:`draw` gave, or the JSON of it.

    Returns:
        int16 [sources, samples].

    Raises:
        AudioError: A file is gone or has become another.
    """
    waves, gains = [], []
    for source in told["sources"]:
        parts = [_heard(part) for part in source["parts"]]
        rate, samples = told["sample_rate"], told["samples"]
        waves.append(_render(parts, samples, rate, told["fade"]))
        gains.append(source["gain"])
    return _quantised(np.stack(waves) * np.array(gains)[:, np.newaxis], told["gain"])


def _labels(pool: Pool, recipe: Recipe, rng: np.random.Generator) -> list[str]:
    if len(pool) < recipe.sources:
        raise CorpusError(
            f"mixtures of {recipe.sources} sources need as many labels; there are "
            f"{len(pool)}: {', '.join(sorted(pool))}; add sounds, or lower --sources."
        )
    names = sorted(pool)
    if recipe.labels == "classes":
        return names[: recipe.sources]
    drawn = rng.choice(len(names), recipe.sources, replace=False)
    return [names[index] for index in drawn]


def _one_place(
    rows: Sequence[Mapping[str, Clean]], recipe: Recipe, rng: np.random.Generator
) -> tuple[int, list[list[Part]]]:
    """The same excerpt of sounds of one name; all of it where it is shorter."""
    common = sorted(set.intersection(*(set(row) for row in rows)))
    if not common:
        raise CorpusError(
            "coherent mixtures need sounds of equal names under every label, such as "
            "drums/song.wav and vocals/song.wav; rename them, or mix incoherently."
        )
    name = common[rng.integers(len(common))]
    cleans = [row[name] for row in rows]
    whole = min(each.samples / each.sample_rate for each in cleans)
    seconds = min(whole, rng.uniform(*recipe.seconds)) if recipe.seconds else whole
    place = rng.uniform(0.0, whole - seconds)
    parts = [
        Part(each, int(place * each.sample_rate), int(seconds * each.sample_rate), 0)
        for each in cleans
    ]
    return int(seconds * recipe.sample_rate), [[part] for part in parts]


def _places_of_their_own(
    rows: Sequence[Mapping[str, Clean]], recipe: Recipe, rng: np.random.Generator
) -> tuple[int, list[list[Part]]]:
    """One sound for each source, or as many as fill the time."""
    if recipe.seconds:
        samples = round(rng.uniform(*recipe.seconds) * recipe.sample_rate)
        return samples, [_joined(row, samples, recipe, rng) for row in rows]
    cleans = [row[sorted(row)[rng.integers(len(row))]] for row in rows]
    seconds = min(each.samples / each.sample_rate for each in cleans)
    parts = [Part(each, 0, int(seconds * each.sample_rate), 0) for each in cleans]
    return int(seconds * recipe.sample_rate), [[part] for part in parts]


def _joined(
    row: Mapping[str, Clean], samples: int, recipe: Recipe, rng: np.random.Generator
) -> list[Part]:
    """Sounds of one label one after another, from anywhere where they are longer."""
    parts: list[Part] = []
    names, offset = sorted(row), 0
    order: list[int] = []
    while offset < samples:
        order = order or rng.permutation(len(names)).tolist()
        clean = row[names[order.pop()]]
        wanted = -(-(samples - offset) * clean.sample_rate // recipe.sample_rate)
        whole = -(-samples * clean.sample_rate // recipe.sample_rate)
        start = int(rng.integers(max(0, clean.samples - whole) + 1))
        parts.append(Part(clean, start, min(wanted, clean.samples), offset))
        heard = -(-parts[-1].samples * recipe.sample_rate // clean.sample_rate)
        offset += heard + round(rng.uniform(0, PAUSE_SECONDS) * recipe.sample_rate)
    return parts


def _render(
    parts: Sequence[Part], samples: int, sample_rate: int, fade: int
) -> np.ndarray:
    """Put excerpts in their places, [samples], mono."""
    wave = np.zeros(samples)
    for clean, start, length, offset in parts:
        heard = _excerpt(clean.sound, start, length).mean(axis=0, keepdims=True)
        mono = resample(heard, clean.sample_rate, sample_rate)[0, : samples - offset]
        shape = ramps(len(mono), fade, fade) if fade else 1.0
        wave[offset : offset + len(mono)] += mono * shape
    return wave


def _excerpt(sound: Path | Channel | Sum, start: int, samples: int) -> np.ndarray:
    if isinstance(sound, Channel):
        whole = audio.read(sound.file, start, samples)[0]
        return whole[sound.channel : sound.channel + 1]
    if isinstance(sound, Path):
        return audio.read(sound, start, samples)[0]
    parts = [
        _excerpt(part, start, samples).mean(axis=0, keepdims=True)
        for part in sound.parts
        if not isinstance(part, np.ndarray)
    ]
    whole = np.zeros((1, samples), np.float32)
    for part in parts:
        whole[:, : part.shape[1]] += part
    return whole


def _gains(
    levels: Sequence[float],
    snr_db: tuple[float, float] | None,
    rng: np.random.Generator,
) -> list[float]:
    if snr_db is None:
        return [1.0] * len(levels)
    wanted = [LEVEL_DB]
    wanted += [LEVEL_DB + rng.uniform(*snr_db) for _ in levels[1:]]
    return [
        float(10 ** ((want - level) / 20))
        for want, level in zip(wanted, levels, strict=True)
    ]


def _level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave)) + 1e-12))


def _quantised(levelled: np.ndarray, gain: float) -> np.ndarray:
    return np.round(levelled * (gain * 32767)).astype(np.int16)


def _told(part: Part) -> Annotation:
    clean = part.clean
    sounds = clean.sound.parts if isinstance(clean.sound, Sum) else (clean.sound,)
    files = [
        {"file": str(each.file), "channel": each.channel}
        if isinstance(each, Channel)
        else {"file": str(each)}
        for each in sounds
    ]
    rest = {"start": part.start, "samples": part.samples, "offset": part.offset}
    return {"files": files, "sample_rate": clean.sample_rate, **rest}


def _heard(told: Mapping[str, Any]) -> Part:
    """The part that a description means."""
    sounds = [
        Channel(Path(each["file"]), each["channel"])
        if "channel" in each
        else Path(each["file"])
        for each in told["files"]
    ]
    sound = sounds[0] if len(sounds) == 1 else Sum(tuple(sounds))
    clean = Clean(sound, told["sample_rate"], told["start"] + told["samples"])
    return Part(clean, told["start"], told["samples"], told["offset"])
