"""Rooms for mixing lists: one for each mixture, with a position for each source.

A room is a folder ``rirs_*`` of impulse responses; those with ``background`` in their
name are for the background, those with ``foreground`` for the foregrounds, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import oaconvolve

from common import audio
from common.corpora import fuss, sound_files
from common.corpora.track import CorpusError
from mixit.augment.mixing_list import ROOMS, Mixture, Recipe, endless

GAIN = 10.0
"""Gain of the responses of FUSS, which are 20 dB too low."""


class Room(NamedTuple):
    """Names of the responses of a room, below the folder of all rooms, sorted."""

    backgrounds: Sequence[str]
    foregrounds: Sequence[str]


def find_rooms(folder: Path, split: str) -> dict[str, Room]:
    """Find the rooms of a split.

    Args:
        folder: The folder of rooms, ``rir_data`` of FUSS.
        split: The split.

    Returns:
        Rooms by name below the folder, sorted.

    Raises:
        CorpusError: There is none.
    """
    rooms = {}
    for room_folder in sorted((folder / split).glob("rirs_*")):
        if not room_folder.is_dir():
            continue
        names = [path.name for path in sound_files.sounds(room_folder, ".wav")]
        prefix = f"{split}/{room_folder.name}"
        rooms[prefix] = Room(
            [f"{prefix}/{name}" for name in names if "background" in name],
            [f"{prefix}/{name}" for name in names if "foreground" in name],
        )
    if not rooms:
        raise CorpusError(
            f"The folder of rooms {folder} has no room {split}/rirs_*; pass rir_data "
            f"of FUSS or one laid out like it, or --{split} 0."
        )
    return rooms


def assign_rooms(
    mixtures: Sequence[Mixture], rooms: Mapping[str, Room], recipe: Recipe, split: str
) -> list[Mixture]:
    """Assign a room to every mixture; none repeats before all are used.

    Args:
        mixtures: A mixing list.
        rooms: Rooms from :func:`find_rooms`.
        recipe: Recipe with the seed.
        split: Split of the list.

    Returns:
        The list with a response at every event.

    Raises:
        CorpusError: A room lacks a response that its mixture needs.
    """
    names = endless(list(rooms), recipe.seed, fuss.SPLITS.index(split), ROOMS)
    return [
        _assign_room(mixture, name, rooms[name])
        for mixture, name in zip(mixtures, names, strict=False)
    ]


def _assign_room(mixture: Mixture, name: str, room: Room) -> Mixture:
    """Assign the responses of a room to the events of a mixture."""
    needed = len(mixture.events) - 1
    for role, required, available in (
        ("background", 1, room.backgrounds),
        ("foreground", needed, room.foregrounds),
    ):
        if len(available) < required:
            raise CorpusError(
                f"The room {name} has {len(available)} {role} responses (*{role}*.wav) "
                f"where {mixture.name} needs {required}; complete or remove the room."
            )
    responses = [room.backgrounds[0], *room.foregrounds[:needed]]
    events = zip(mixture.events, responses, strict=True)
    return mixture._replace(
        events=tuple(event._replace(response=room) for event, room in events)
    )


def mix_info(mixture: Mixture) -> str:
    """Describe a reverberant mixture in the format of FUSS.

    Args:
        mixture: A mixture with responses.

    Returns:
        A line ``mixture = source * response + source * response``.
    """
    whole, *sources = mixture.files
    events = zip(sources, mixture.events, strict=True)
    return f"{whole} = " + " + ".join(
        f"{name} * {event.response}" for name, event in events
    )


def read_response(path: Path, sample_rate: int) -> np.ndarray:
    """Read the first channel of a response.

    Args:
        path: The file.
        sample_rate: Expected rate, in Hz.

    Returns:
        [samples], scaled as by FUSS.

    Raises:
        CorpusError: It has another sample rate.
    """
    waveform, rate = audio.read(path)
    if rate != sample_rate:
        raise CorpusError(
            f"The response {path} has {rate} Hz where the sources have {sample_rate} "
            "Hz; resample the one or the other."
        )
    return GAIN * waveform[0].astype(np.float64)


def reverberate(
    source: np.ndarray, response: np.ndarray, *, align: bool = False
) -> np.ndarray:
    """Convolve a source with a response and keep the length.

    Args:
        source: [samples].
        response: [samples of the response].
        align: Whether to advance the result by the peak of the response, so that it
            is aligned with the source; else it has the delay of the room.

    Returns:
        [samples].

    >>> reverberate(np.array([1.0, 0, 0]), np.array([0, 2.0, 1])).round(9).tolist()
    [0.0, 2.0, 1.0]
    """
    advance = int(np.argmax(np.abs(response))) if align else 0
    full = oaconvolve(source, response)
    return full[advance : advance + len(source)]
