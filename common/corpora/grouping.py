"""Targets out of the sources of a corpus: groups of sources added up, under new names.

A source is meant by its whole name, or by its label where several of one label are
numbered: ``piano`` means ``piano``, ``piano::0`` and ``piano::1``.
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
    tracks: Iterable[Track],
    groups: Mapping[str, Sequence[str]],
    *,
    rest: str | None = None,
    complete: bool = False,
) -> list[Track]:
    """Add up the sources of tracks in named groups.

    A mixture stays where every source is in a group. Where some are left out they
    leave the mixture too, which is then the sum of the groups.

    Args:
        tracks: The tracks.
        groups: Names or labels of the sources of each group, by the group's name.
        rest: Name of the group of all other sources, or None to leave those out.
        complete: Leave out tracks that lack a group and say how many; otherwise only
            those without any, and the others have the groups that they have.

    Returns:
        Tracks whose sources are the groups, in the order given.

    Raises:
        CorpusError: No track has a source of a group, a source is in two groups, or no
            track is left.

    >>> stems = {name: Path(name) for name in ("vocals", "drums", "bass")}
    >>> song = Track("a", 8000, 9, stems)
    >>> (grouped,) = group([song], {"voice": ["vocals"]}, rest="band")
    >>> list(grouped.sources), len(grouped.sources["band"].parts)
    (['voice', 'band'], 2)
    """
    tracks = list(tracks)
    owners = _owners(tracks, groups, rest)
    names = [*groups, *([rest] if rest is not None else [])]
    grouped = [_group(track, owners, names, rest) for track in tracks]
    needed = len(names) if complete else 1
    kept = [track for track in grouped if len(track.sources) >= needed]
    if not kept:
        raise CorpusError(
            f"None of {len(tracks)} tracks has {'all' if complete else 'any'} of "
            f"{', '.join(names)}; choose other groups."
        )
    if len(kept) < len(tracks):
        LOG.warning(
            "%d of %d tracks lack one of %s and are left out",
            len(tracks) - len(kept),
            len(tracks),
            ", ".join(names),
        )
    return kept


def against_rest(
    tracks: Iterable[Track], target: str, rest: str = "accompaniment"
) -> list[Track]:
    """Add up all sources but one, such as everything but the vocals.

    Args:
        tracks: The tracks.
        target: Name or label of the one.
        rest: Name of the sum.

    Raises:
        CorpusError: No track has the target.
    """
    return group(tracks, {target: [target]}, rest=rest)


def by_label(tracks: Iterable[Track]) -> list[Track]:
    """Add up the sources of each label: ``piano::0`` and ``piano::1`` are ``piano``."""
    tracks = list(tracks)
    labels = dict.fromkeys(label(name) for track in tracks for name in track.sources)
    return group(tracks, {each: [each] for each in labels})


def numbered(tracks: Iterable[Track]) -> list[Track]:
    """Name sources by their order, ``source0``, ``source1``, where labels differ.

    >>> numbered([Track("a", 8000, 9, {"yes": Path("y"), "no": Path("n")})])[0].sources
    {'source0': PosixPath('y'), 'source1': PosixPath('n')}
    """
    return [
        replace(
            track,
            sources={
                f"source{place}": sound
                for place, sound in enumerate(track.sources.values())
            },
        )
        for track in tracks
    ]


def count_labels(labels: Iterable[str]) -> list[str]:
    """Tell sources of one label apart.

    >>> count_labels(["dog", "car", "dog"])
    ['dog::0', 'car::0', 'dog::1']
    """
    seen: dict[str, int] = {}
    named = []
    for each in labels:
        named.append(f"{each}{COUNT}{seen.get(each, 0)}")
        seen[each] = seen.get(each, 0) + 1
    return named


def label(source: str) -> str:
    """Give the label of a numbered source.

    >>> label("dog::1"), label("vocals")
    ('dog', 'vocals')
    """
    return source.partition(COUNT)[0]


def added(sounds: Sequence[Sound]) -> Sound:
    """Make one sound of several, of which any may be a sum already.

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
    """Group of each name or label."""
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
            known = sorted({label(each) for each in present})
            raise CorpusError(
                f"The group {name!r} ({', '.join(members)}) is in none of "
                f"{len(tracks)} tracks; their sources are {', '.join(known)}."
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
