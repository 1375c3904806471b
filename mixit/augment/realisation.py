"""Render mixing lists: excerpts are scaled, placed, reverberated and summed.

Levels are root mean squares, while FUSS uses the loudness of BS.1770, whose meter is
gated and weighted. Most sounds differ by less than 1 dB; a rumble is fainter than in
FUSS, a sound with long pauses louder.
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
"""Lowest level for scaling, so that silence stays silent."""
FADE_SECONDS = 0.01
"""Rise and fall of a foreground."""
DRY, REVERBERANT = "ssdata", "ssdata_reverb"
HEADER_BYTES = 44


@dataclass(frozen=True)
class Folders:
    """Folders of the sources and the output of a set.

    Attributes:
        sources: The single sources.
        rooms: The room impulse responses; None makes only a dry set.
        output: Folder of the sets and lists.
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
    """Write the files of a mixture, unless they exist.

    The reverberant sources are made from the written dry ones. Each mixture is exactly
    the sum of its sources: if it would clip, all its files are scaled down.

    Args:
        folders: Folders of the sources, the rooms and the sets.
        recipe: Recipe of the list.
        mixture: A mixture of the list.

    Returns:
        Number of silent dry sources, or None if all files existed.

    Raises:
        CorpusError: A source became shorter, or a response has another sample rate.
    """
    if all(_is_whole(r / name, recipe) for r in folders.sets for name in mixture.files):
        return None
    sounds = [render(folders.sources, source, recipe) for source in mixture.events]
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
    """Render an event at its offset and level, a foreground with short fades.

    Args:
        folder: The folder of sources.
        event: The event; all channels are averaged.
        recipe: Recipe with the length.

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


def _is_whole(path: Path, recipe: Recipe) -> bool:
    """Return whether a sound was already written, with the length of the recipe."""
    return path.is_file() and path.stat().st_size == HEADER_BYTES + 2 * recipe.samples


def _write(root: Path, mixture: Mixture, sources: np.ndarray, recipe: Recipe) -> None:
    """Write the files of a mixture, each whole or not at all, the sum last."""
    waves = [*sources, sources.sum(axis=0)]
    names = [*mixture.files[1:], mixture.files[0]]
    for name, wave in zip(names, waves, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(root / name) as draft:
            write_wav(draft, wave, recipe.sample_rate)
