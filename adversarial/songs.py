"""Songs of several lists as one bank of sounds of one channel at the working rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from adversarial import lists
from adversarial.config import AdversarialConfig
from adversarial.geometry import solve
from adversarial.lists import ACCOMPANIMENT, MIXTURE, VOCALS
from common.corpora.track import CorpusError, Sound, Track
from common.records.sound_bank import Sounds, open_sounds
from common.training.loop import say

STREAMS = ("paired", "mixtures", "accompaniments", "vocals")
ROLES = {
    "paired": (MIXTURE, ACCOMPANIMENT, VOCALS),
    "mixtures": (MIXTURE,),
    "accompaniments": (ACCOMPANIMENT,),
    "vocals": (VOCALS,),
}
"""Sounds of a song that each stream needs."""
SILENCE = -1


class Songs(NamedTuple):
    """Songs of one stream, ready to be drawn from.

    Attributes:
        sounds: The bank that is read.
        numbers: Number of each sound of each song [songs, roles]; -1 is silence.
        samples: Length of each song [songs], at the working rate.
    """

    sounds: Sounds
    numbers: np.ndarray
    samples: np.ndarray


def open_songs(
    config: AdversarialConfig, split: str, named: Mapping[str, Sequence[Track]]
) -> dict[str, Songs]:
    """Open the songs of several streams as one bank, each sound once.

    Args:
        config: Gives the rate, and folder and encoding of the records.
        split: Name of the part of that folder.
        named: Songs by the name of their stream.

    Raises:
        AudioError: A file cannot be read.
    """
    rate, folder = config.model_config.expected_sr, config.corpora.records
    sounds: dict[str, tuple[Sound, Track]] = {}
    for name, tracks in named.items():
        for track in tracks:
            sounds |= {f"{track.name}/{r}": (s, track) for r, s in _heard(name, track)}
    place = None if folder is None else f"{folder}/{split}"
    bank = open_sounds(
        sounds,
        rate,
        1,
        resample=True,
        downmix=True,
        folder=place,
        encoding=config.corpora.records_encoding,
    )
    numbers = {name: number for number, name in enumerate(sounds)}
    return {name: _songs(bank, numbers, name, tracks) for name, tracks in named.items()}


def long_enough(
    config: AdversarialConfig, tracks: Sequence[Track], name: str
) -> list[Track]:
    """Leave out songs that hold no window, and say how many.

    Args:
        config: Gives the sizes.
        tracks: Songs of a stream.
        name: Its name.

    Raises:
        CorpusError: No song is long enough.
    """
    settings = config.model_config
    frames = solve(settings).output_frames
    samples = (frames - 1) * settings.num_hop + settings.num_fft
    seconds = samples / settings.expected_sr
    kept = [each for each in tracks if each.samples >= seconds * each.sample_rate]
    if len(kept) == len(tracks):
        return kept
    first = next(each for each in tracks if each not in kept)
    told = (
        f"{len(tracks) - len(kept)} of {len(tracks)} songs of the list {name!r} are "
        f"shorter than a window of {seconds:.2f} s, first {first.name!r} with "
        f"{first.samples / first.sample_rate:.2f} s"
    )
    if not kept:
        raise CorpusError(f"{told}; add longer songs, or lower model_config.num_frames")
    say(f"{told}; they are left out of the training")
    return kept


def _heard(name: str, track: Track) -> list[tuple[str, Sound]]:
    """Sounds of a song that a stream needs, by their roles."""
    sounds = {**track.sources}
    if MIXTURE in ROLES[name]:
        sounds[MIXTURE] = lists.mixture(track)
    return [(role, sounds[role]) for role in ROLES[name] if role in sounds]


def _songs(
    bank: Sounds, places: Mapping[str, int], name: str, tracks: Sequence[Track]
) -> Songs:
    rows = [
        [places.get(f"{track.name}/{role}", SILENCE) for role in ROLES[name]]
        for track in tracks
    ]
    numbers = np.array(rows, np.int64)
    endless = np.iinfo(np.int64).max
    lengths = np.where(numbers == SILENCE, endless, bank.samples[numbers])
    return Songs(bank, numbers, lengths.min(axis=1))
