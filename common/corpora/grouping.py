"""Group the sources of tracks: each target is the sum of a group of sources.

A group lists full names of sources, or labels of sources that are numbered: ``piano``
selects ``piano``, ``piano::0`` and ``piano::1``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.corpora.track import Channel, CorpusError, Sound, Sum, Track

LOG = logging.getLogger(__name__)
COUNT = "::"


def group(
    tracks: Sequence[Track],
    groups: Mapping[str, Sequence[str]],
    *,
    rest: str | None = None,
) -> list[Track]:
    """Return tracks whose sources are sums of groups of their sources.

    Tracks that lack a group are left out, with a warning. A track keeps its mixture if
    every source is in a group. Otherwise its mixture is the sum of the groups.

    Args:
        tracks: The tracks.
        groups: Names or labels of the sources of each group, by the group's name.
        rest: Name of the group of all other sources, or None to leave those out.

    Returns:
        Tracks whose sources are the groups, in the order of ``groups``.

    Raises:
        CorpusError: No track has a source of a group, a source is in two groups, or
            every track lacks a group.

    >>> stems = {name: Path(name) for name in ("vocals", "drums", "bass")}
    >>> song = Track("a", 8000, 9, stems)
    >>> (grouped,) = group([song], {"voice": ["vocals"]}, rest="band")
    >>> list(grouped.sources), len(grouped.sources["band"].parts)
    (['voice', 'band'], 2)
    """
    owners = _owners(tracks, groups, rest)
    names = [*groups, *([rest] if rest is not None else [])]
    grouped = [_group(track, owners, names, rest) for track in tracks]
    kept = [track for track in grouped if len(track.sources) == len(names)]
    if not kept:
        raise CorpusError(
            f"None of {len(tracks)} tracks has all of {', '.join(names)}; choose other "
            "groups."
        )
    if len(kept) < len(tracks):
        LOG.warning(
            "%d of %d tracks lack one of %s and are left out",
            len(tracks) - len(kept),
            len(tracks),
            ", ".join(names),
        )
    return kept


def numbered(tracks: Iterable[Track]) -> list[Track]:
    """Return tracks whose sources are named by position: ``source0``, ``source1``.

    >>> numbered([Track("a", 8000, 9, {"yes": Path("y"), "no": Path("n")})])[0].sources
    {'source0': PosixPath('y'), 'source1': PosixPath('n')}
    """
    return [
        replace(
            track,
            sources={
                f"source{position}": sound
                for position, sound in enumerate(track.sources.values())
            },
        )
        for track in tracks
    ]


def count_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels with the number of each among its equals.

    >>> count_labels(["dog", "car", "dog"])
    ['dog::0', 'car::0', 'dog::1']
    """
    seen: dict[str, int] = {}
    named = []
    for name in labels:
        named.append(f"{name}{COUNT}{seen.get(name, 0)}")
        seen[name] = seen.get(name, 0) + 1
    return named


def label(source: str) -> str:
    """Return the label of a numbered source.

    >>> label("dog::1"), label("vocals")
    ('dog', 'vocals')
    """
    return source.partition(COUNT)[0]


def added(sounds: Sequence[Sound]) -> Sound:
    """Return the sum of sounds, any of which may be a sum itself.

    Args:
        sounds: At least one.
    """
    if len(sounds) == 1:
        return sounds[0]
    flat: list[Path | np.ndarray | Channel] = []
    for sound in sounds:
        flat += sound.parts if isinstance(sound, Sum) else [sound]
    return Sum(tuple(flat))


def _owners(
    tracks: Sequence[Track], groups: Mapping[str, Sequence[str]], rest: str | None
) -> dict[str, str]:
    """Return the group of each name or label."""
    if rest is not None and rest in groups:
        raise CorpusError(f"rest={rest!r} is the name of a group; choose another.")
    present = {name for track in tracks for name in track.sources}
    present |= {label(name) for name in present}
    owners: dict[str, str] = {}
    for name, members in groups.items():
        for member in members:
            if owners.setdefault(member, name) != name:
                raise CorpusError(
                    f"The source {member!r} is in the groups {owners[member]!r} and "
                    f"{name!r}; expected one."
                )
        if not present.intersection(members):
            labels = sorted({label(source) for source in present})
            raise CorpusError(
                f"The group {name!r} ({', '.join(members)}) is in none of "
                f"{len(tracks)} tracks; their sources are {', '.join(labels)}."
            )
    return owners


def _group(
    track: Track, owners: Mapping[str, str], names: Sequence[str], rest: str | None
) -> Track:
    parts: dict[str, list[Sound]] = {name: [] for name in names}
    left_out = False
    for source, sound in track.sources.items():
        owner = owners.get(source, owners.get(label(source), rest))
        if owner is None:
            left_out = True
        else:
            parts[owner].append(sound)
    sources = {name: added(sounds) for name, sounds in parts.items() if sounds}
    return replace(track, sources=sources, mixture=None if left_out else track.mixture)
