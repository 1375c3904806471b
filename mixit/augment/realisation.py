"""Mixing lists made into sounds: excerpts levelled, placed, reverberated and summed.

The levels are root mean squares where FUSS has the loudness of BS.1770, because a gated
and weighted meter is a program of its own. Most sounds come within 1 dB of it; a rumble
comes fainter than there, a sound with long pauses louder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import audio
from common.corpora.track import CorpusError
from common.corpora.writing import quantise, write_wav
from common.files import replacing
from common.synthetic.synthesis import ramps
from mixit.augment.mixing_list import Event, Mixture, Recipe
from mixit.augment.reverberation import read_response, reverberate

LEVEL_DB = -55.0
"""Level of a dry background, root mean square relative to full scale."""
SILENCE_DB = -70.0
"""What is fainter counts as this loud, so that silence stays silence."""
FADE_SECONDS = 0.01
"""Rise and fall of a foreground."""
DRY, REVERBERANT = "ssdata", "ssdata_reverb"
HEADER_BYTES = 44


@dataclass(frozen=True)
class Folders:
    """What a set is made from and where, as folders.

    Attributes:
        sources: The single sources.
        rooms: The responses; None makes a dry set alone.
        output: Where the sets and lists go.
    """

    sources: Path
    rooms: Path | None
    output: Path

    @property
    def sets(self) -> list[Path]:
        """Roots of the dry and the reverberant set."""
        return [
            self.output / name for name in (DRY, REVERBERANT)[: 1 + bool(self.rooms)]
        ]


def realise(folders: Folders, recipe: Recipe, mixture: Mixture) -> int | None:
    """Write the files of a mixture, unless they are there.

    The reverberant sources are made of the dry ones as written. Either mixture is the
    sum of its sources to the bit: where it would clip, all its files are scaled down.

    Args:
        folders: Those of the sources, the rooms and the sets.
        recipe: Of the list.
        mixture: One of the list.

    Returns:
        How many of its dry sources are silent, or None where all files were there.

    Raises:
        CorpusError: A source became shorter, or a response has another sample rate.
    """
    if all(is_whole(r / name, recipe) for r in folders.sets for name in mixture.files):
        return None
    sounds = [render(folders.sources, each, recipe) for each in mixture.events]
    dry = quantise(np.stack(sounds))
    _write(folders.sets[0], mixture, dry, recipe)
    if folders.rooms:
        wet = [
            reverberate(
                source / 32768,
                read_response(folders.rooms / str(event.response), recipe.sample_rate),
                align=recipe.align_sources,
            )
            for event, source in zip(mixture.events, dry, strict=True)
        ]
        _write(folders.sets[1], mixture, quantise(np.stack(wet)), recipe)
    return int(np.sum(~dry.any(axis=1)))


def render(folder: Path, event: Event, recipe: Recipe) -> np.ndarray:
    """Put an event at its place and level, a foreground with a short rise and fall.

    Args:
        folder: The folder of sources.
        event: What to render; all channels are averaged.
        recipe: States the length.

    Returns:
        [samples].

    Raises:
        CorpusError: The file has become shorter.
    """
    waveform, _ = audio.read(folder / event.file, event.start, event.samples)
    sound = waveform.mean(axis=0, dtype=np.float64)
    if len(sound) < event.samples:
        raise CorpusError(
            f"{folder / event.file} ends before sample {event.start + event.samples}, "
            "which it had when the list was drawn; restore it."
        )
    power = max(float(np.mean(sound**2)), 10 ** (SILENCE_DB / 10))
    level_db = LEVEL_DB + (event.snr_db or 0.0)
    sound *= 10 ** (level_db / 20) / math.sqrt(power)
    if event.snr_db is not None:
        fade = round(FADE_SECONDS * recipe.sample_rate)
        sound *= ramps(len(sound), fade, fade)
    return np.pad(sound, (event.offset, recipe.samples - event.offset - len(sound)))


def is_whole(path: Path, recipe: Recipe) -> bool:
    """Tell whether a sound was written before.

    Args:
        path: The file.
        recipe: States the length.

    Returns:
        Whether it is there and as long as it must be.
    """
    return path.is_file() and path.stat().st_size == HEADER_BYTES + 2 * recipe.samples


def _write(root: Path, mixture: Mixture, sources: np.ndarray, recipe: Recipe) -> None:
    """Write the files of a mixture, each whole or not at all, the sum last."""
    waves = [*sources, sources.sum(axis=0)]
    names = [*mixture.files[1:], mixture.files[0]]
    for name, wave in zip(names, waves, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(root / name) as draft:
            write_wav(draft, wave, recipe.sample_rate)
