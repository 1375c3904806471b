"""Scenes of the miniature corpus: sources, their onsets and their levels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from common.synthetic import sounds, voices

LEVEL_DB = -25.0
"""Level of the first source, root mean square relative to full scale."""
SNR_DB = (-5.0, 5.0)
"""Level of a foreground over the background."""
STEMS_DB = {"vocals": -20.0, "drums": -22.0, "bass": -22.0, "other": -23.0}


def universal_mixture(
    shape: tuple[int, int], sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a random background with events of different kinds.

    Args:
        shape: Number of sources and of samples.
        sample_rate: In Hz.
        rng: Seeded generator.

    Returns:
        [sources, samples], full scale +-1, the background first.
    """
    count, samples = shape
    sources = np.zeros(shape)
    background = list(sounds.SUSTAINED.values())[rng.integers(len(sounds.SUSTAINED))]
    sources[0] = at_level(background(samples, sample_rate, rng), LEVEL_DB)
    events = list(sounds.EVENTS.values())
    for row, event_index in enumerate(rng.permutation(len(events))[: count - 1], 1):
        length = max(1, round(samples * rng.uniform(0.5, 1.0)))
        offset = int(rng.integers(samples - length + 1))
        event = events[event_index](length, sample_rate, rng)
        level = LEVEL_DB + rng.uniform(*SNR_DB)
        sources[row, offset : offset + length] = at_level(event, level)
    return sources


def song(
    samples: int, sample_rate: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return a random song of four stereo stems.

    Args:
        samples: Length.
        sample_rate: In Hz.
        rng: Seeded generator.

    Returns:
        vocals, drums, bass and other, each [2, samples].
    """
    strings = partial(sounds.bowed_string, pitch_hz=(196.0, 660.0))
    other = [strings, sounds.struck_bar, sounds.plucked_string]
    players: dict[str, list[Callable[..., np.ndarray]]] = {
        "vocals": [voices.voice],
        "drums": [sounds.drums],
        "bass": [partial(sounds.plucked_string, pitch_hz=(41.0, 110.0))],
        "other": [other[index] for index in rng.permutation(3)[:2]],
    }
    stems = {}
    for name, instruments in players.items():
        width = 0.6 if len(instruments) > 1 else 0.25
        stem = np.zeros((2, samples))
        for side, play in zip((1, -1), instruments, strict=False):
            angle = np.pi / 4 + side * rng.uniform(0.0, width)
            pan = np.array([[np.cos(angle)], [np.sin(angle)]])
            stem += pan * play(samples, sample_rate, rng)
        stems[name] = at_level(stem, STEMS_DB[name] + rng.uniform(-3, 3))
    return stems


def dialogue(
    numbers: range,
    take: int,
    sample_rate: int,
    rng: np.random.Generator,
    count: int = 2,
) -> tuple[str, dict[str, np.ndarray]]:
    """Return utterances of two or three random speakers.

    Args:
        numbers: Numbers of the speakers to choose from.
        take: Number of the utterances, part of the name.
        sample_rate: In Hz.
        rng: Seeded generator.
        count: Number of speakers; the level of the third is the mean of the others.

    Returns:
        The name in the style of WSJ0-2mix, ``<utterance>_<dB>_<utterance>_<dB>``, and
        the sources s1, s2 and so on, each [samples].
    """
    chosen = rng.permutation(numbers)[:count]
    offset_db = rng.uniform(0.0, 2.5)
    lengths = rng.uniform(2.0, 5.0, count) * sample_rate
    samples = int(lengths.min())
    parts, sources = [], {}
    levels = (offset_db, -offset_db, 0.0)[:count]
    for number, (person, snr_db) in enumerate(zip(chosen, levels, strict=True), 1):
        speech = voices.voice(samples, sample_rate, rng, speaker(person))
        sources[f"s{number}"] = at_level(speech, LEVEL_DB + snr_db)
        code = f"{person + 1:02d}{'abcd'[person % 4]}o{take:04d}"
        parts.append(f"{code}_{snr_db:.4f}")
    return "_".join(parts), sources


def speaker(number: int) -> voices.Speaker:
    """Return the speaker of a number; even ones have low voices, odd ones high."""
    register = ("low", "high")[number % 2]
    return voices.draw_speaker(np.random.default_rng([4, number]), register)


def num_sources(
    split: str, index: int, max_sources: int, rng: np.random.Generator
) -> int:
    """Return a random number of sources; the first of each split has the most.

    Args:
        split: ``"train"``, ``"validation"`` or ``"eval"``.
        index: Number of the example.
        max_sources: Most sources of an example.
        rng: Seeded generator.

    Returns:
        1 to max_sources.
    """
    if index == 0 or max_sources == 1:
        return max_sources
    if split == "train":
        single = rng.random() < 0.1
        return 1 if single else int(rng.integers(2, max_sources + 1))
    if index % 4 == 3:
        return 1
    many = max_sources > 2 and index % 5 == 0
    return int(rng.integers(3, max_sources + 1)) if many else 2


def at_level(wave: np.ndarray, level_db: float) -> np.ndarray:
    """Scale a wave to a level (RMS) in dB relative to full scale; silence stays."""
    # In double precision all versions of numpy round to the same 16 bits.
    wave = wave.astype(np.float64)
    level = np.sqrt(np.mean(wave**2))
    scaled: np.ndarray = wave * (10 ** (level_db / 20) / max(level, 1e-9))
    return scaled
