"""Miniature of snippets: seconds of music to look at, in the layout of Scaper."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.synthetic import scenes
from common.synthetic.building import layout
from common.synthetic.miniature_music import write_soundscape


@layout("snippets")
def write_snippets(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    test: int = 30,
) -> None:
    """Write snippets of four stems to look at, a test set alone.

    A test set of 3000 snippets, as experiments of nussl have it, would hold as many
    files as it takes minutes to write; what is looked at one by one needs some thirty.

    Args:
        folder: Folder to make, with ``test/<8 digits>.{wav,jams}`` and the isolated
            events of each.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every snippet.
        test: Number of snippets.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    for index in range(test):
        rng = np.random.default_rng([seed, 11, index])
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        mono = {name: wave.mean(axis=0) for name, wave in stems.items()}
        write_soundscape(folder / "test" / f"{index:08d}", mono, sample_rate)
