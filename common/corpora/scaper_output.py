"""Soundscapes of Scaper with their isolated events, of 1.3 and of an older fork.

``<root>/<split>/<name>.{wav,jams}`` with ``<name>_events/foreground0_dog.wav`` (1.3) or
``<name>_sources/foreground/0.wav`` (the fork). The jams of 1.3 name the files by the
absolute paths of the machine that made them: where these are gone the same names are
looked for beside the jams.

References:
    Salamon, MacConnell, Cartwright, Li, Bello: Scaper: a library for soundscape
    synthesis and augmentation, WASPAA 2017.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from common.corpora import completeness, grouping, reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path

CORPUS = "Scaper"
SUFFIXES = (".wav", ".flac", ".ogg")
TOLERANCE_SECONDS = 0.1
"""How much shorter an event may be, because resampling rounds."""


def tracks(
    root: Path | str,
    split: str | None,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    rest: str | None = None,
    complete: bool = False,
    skip: bool = False,
) -> list[Track]:
    """Turn soundscapes into tracks of their events.

    Args:
        root: Folder of the corpus; without folders of splits a tenth of the soundscapes
            is held out for each of valid and test.
        split: ``"train"``, ``"valid"`` or ``"test"``; None takes all that lies in the
            root itself.
        groups: Labels of the events of each source, by its name; None makes every event
            a source, ``dog::0``, ``dog::1``, ``car::0``.
        rest: Name of the group of all other labels.
        complete: Leave out soundscapes that lack a group, as :func:`grouping.group`.
        skip: Leave out soundscapes that lack a file and say how many, not refuse.

    Returns:
        Tracks by name, with the soundscape as mixture.

    Raises:
        CorpusError: There is no jams file, one is not of Scaper, or it was made without
            isolated events.
    """
    place = completeness.place_of(CORPUS, root, split, "soundscapes (*.jams)")
    found = sound_files.sounds(place, ".jams")
    if not found:
        raise CorpusError(
            f"{CORPUS}: {place} should hold soundscapes (*.jams, *.wav) and holds "
            f"{reading.contents(place)}; check the root."
        )
    if split is not None and place == user_path(root):
        found = completeness.part_of(CORPUS, found, split)
    rows = [_lay_out(jams) for jams in found]
    whole = completeness.complete(CORPUS, rows, skip=skip)
    heard = reading.make_tracks(whole, allow_cut=True)
    _check_lengths(heard)
    if groups is None:
        return heard
    return grouping.group(heard, groups, rest=rest, complete=complete)


def _lay_out(jams: Path) -> completeness.Row:
    events, recorded = _annotation(jams)
    paths = recorded.get("isolated_events_audio_path") or []
    if paths:
        files = [_resolve(path, jams) for path in paths]
    else:
        events = [each for each in events if each["role"] == "foreground"]
        files = _numbered(jams.with_name(f"{jams.stem}_sources") / "foreground")
    if not files:
        raise CorpusError(
            f"{CORPUS}: {jams} names no isolated events and there is no folder "
            f"{jams.stem}_sources/foreground beside it; generate the soundscapes with "
            "save_isolated_events=True."
        )
    if len(files) != len(events):
        raise CorpusError(
            f"{CORPUS}: {jams} describes {len(events)} events and has {len(files)} "
            "isolated files; generate the soundscape again."
        )
    names = grouping.count_labels(str(each["label"]) for each in events)
    return jams.stem, dict(zip(names, files, strict=True)), _soundscape(jams, recorded)


def _annotation(jams: Path) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Events of a soundscape in order, and what Scaper wrote of its files."""
    try:
        content = json.loads(jams.read_text(encoding="utf-8"))
        annotation = next(
            each
            for each in content["annotations"]
            if each["namespace"] in ("scaper", "sound_event")
        )
        events = [each["value"] for each in annotation["data"]]
        if any(not {"label", "role"} <= set(each) for each in events):
            raise KeyError("label, role")
        return events, annotation.get("sandbox", {}).get("scaper", {})
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise CorpusError(
            f"{CORPUS}: {jams} holds no annotation of Scaper ({type(error).__name__}); "
            "remove it, or generate the soundscape again."
        ) from error


def _resolve(recorded: str, jams: Path) -> Path:
    """Where an isolated event lies now: as recorded, or beside the jams by its name."""
    if Path(recorded).is_file():
        return Path(recorded)
    # A Windows path reads either kind of slash.
    parts = PureWindowsPath(recorded).parts
    beside = jams.with_name(f"{jams.stem}_events")
    places = [beside, jams.parent.joinpath(*parts[-2:-1])]
    files = [place / parts[-1] for place in places]
    return next(filter(None, map(sound_files.find, files)), files[0])


def _soundscape(jams: Path, recorded: Mapping[str, Any]) -> Path:
    named = PureWindowsPath(recorded.get("soundscape_audio_path") or "").name
    plain = jams.with_name(named or f"{jams.stem}{SUFFIXES[0]}")
    beside = sound_files.find(plain) if named else None
    return beside or sound_files.find(jams.with_name(jams.stem), *SUFFIXES) or plain


def _check_lengths(tracks: Sequence[Track]) -> None:
    """See that events are padded to their soundscape, or they would be out of place."""
    mixtures = [track.mixture for track in tracks if isinstance(track.mixture, Path)]
    infos = reading.measure(mixtures)
    for track, mixture in zip(tracks, mixtures, strict=True):
        seconds = infos[mixture].samples / infos[mixture].sample_rate
        shortest = track.samples / track.sample_rate
        if seconds - shortest > TOLERANCE_SECONDS:
            raise CorpusError(
                f"{CORPUS}: {mixture} lasts {seconds:.2f} s and an isolated event of "
                f"it {shortest:.2f} s; expected events padded to the soundscape; "
                "generate it again with save_isolated_events=True."
            )


def _numbered(folder: Path) -> list[Path]:
    """Files 0.wav, 1.wav, ... 10.wav in the order of their numbers."""
    if not folder.is_dir():
        return []
    files = sound_files.sounds(folder, SUFFIXES)
    return sorted(files, key=lambda file: (len(file.stem), file.stem))
