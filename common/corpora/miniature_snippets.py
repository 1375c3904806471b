"""Miniature of snippets: two made-up talkers at once, in the layout of Scaper."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.corpora import scenes, talkers
from common.corpora.building import build
from common.corpora.miniature_music import write_soundscape
from common.corpora.miniature_speech import TALKERS

SPREAD_DB = 2.5
"""Most that one talker lies above the level of both and the other below it."""


def write_snippets(
    folder: Path | str,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    seconds: float = 4.0,
    test: int = 30,
) -> Path:
    """Write short mixtures of two talkers to look at, a test set alone.

    The talkers are those of the test sets of the other miniatures, heard in no
    training. A test set of 3000 snippets, as experiments of nussl have it, would hold
    as many files as it takes minutes to write; what is looked at one by one needs some
    thirty.

    Args:
        folder: Folder to make, with ``test/<8 digits>.{wav,jams}`` and the isolated
            events of each.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every snippet.
        test: Number of snippets.

    Returns:
        The folder.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    parameters = {
        "seed": seed,
        "sample_rate": sample_rate,
        "seconds": seconds,
        "test": test,
    }

    def write(root: Path) -> None:
        for index in range(test):
            rng = np.random.default_rng([seed, 11, index])
            voices = _two_voices(round(seconds * sample_rate), sample_rate, rng)
            write_soundscape(root / "test" / f"{index:08d}", voices, sample_rate)

    return build(Path(folder), "snippets", parameters, write)


def _two_voices(
    samples: int, sample_rate: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw two talkers by their labels, each [samples]."""
    people = rng.permutation(TALKERS["tt"])[:2].tolist()
    more = rng.uniform(0.0, SPREAD_DB)
    voices = {}
    for person, level in zip(people, (more, -more), strict=True):
        voice = talkers.voice(samples, sample_rate, rng, scenes.talker(person))
        voices[f"talker{person}"] = scenes.at_level(voice, scenes.LEVEL_DB + level)
    return voices
