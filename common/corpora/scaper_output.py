"""Soundscapes of Scaper 1.3, or of an older fork, with their isolated events.

``<root>/<split>/<name>.{wav,jams}`` with ``<name>_events/foreground0_dog.wav`` (1.3) or
``<name>_sources/foreground/0.wav`` (the fork, whose events may name their file as
``audio_path``, and whose sounds are cut to the shortest). The jams of 1.3 hold absolute
paths of the machine that made them: files beside the jams are preferred, so that a
moved or copied corpus is read as a whole.

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
"""Largest difference between event and soundscape, because resampling rounds."""


def tracks(root: Path | str, split: str | None, *, skip: bool = False) -> list[Track]:
    """Return soundscapes as tracks of their events, ``dog::0``, ``dog::1``, ``car::0``.

    Args:
        root: Folder of the corpus; without folders of splits a tenth of the soundscapes
            is held out for each of valid and test.
        split: ``"train"``, ``"valid"`` or ``"test"``; None takes the root itself.
        skip: Leave out soundscapes that lack a file, with a warning, instead of
            raising.

    Returns:
        Tracks sorted by name, with the soundscape as mixture.

    Raises:
        CorpusError: There is no jams file, one is not of Scaper, or has no isolated
            events.
    """
    folder = completeness.split_folder(CORPUS, root, split, "soundscapes (*.jams)")
    jams_files = sound_files.sounds(folder, ".jams")
    if not jams_files:
        expected = "soundscapes (*.jams, *.wav)"
        raise reading.misplaced(CORPUS, folder, expected, "check the root")
    if split is not None and folder == user_path(root):
        jams_files = completeness.part_of(CORPUS, jams_files, split)
    rows = [_lay_out(jams) for jams in jams_files]
    rows = completeness.complete(CORPUS, rows, skip=skip)
    tracks = reading.make_tracks(rows, allow_cut=True)
    _check_lengths(tracks)
    return tracks


def _lay_out(jams: Path) -> completeness.Row:
    try:
        return _rows(jams, *_annotation(jams))
    except CorpusError:
        raise
    # Whatever another structure lacks, and paths that no disk holds.
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _foreign(jams, error) from error


def _rows(
    jams: Path, events: list[Mapping[str, Any]], recorded: Mapping[str, Any]
) -> completeness.Row:
    paths = recorded.get("isolated_events_audio_path") or []
    if paths:
        files = [_resolve(path, jams) for path in paths]
    else:
        events = [event for event in events if event["role"] == "foreground"]
        files = _of_the_fork(events, jams.with_name(f"{jams.stem}_sources"))
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
    names = grouping.count_labels(str(event["label"]) for event in events)
    return jams.stem, dict(zip(names, files, strict=True)), _soundscape(jams, recorded)


def _annotation(jams: Path) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the events of a soundscape in order, and its paths from Scaper."""
    try:
        content = json.loads(jams.read_text(encoding="utf-8"))
        annotation = next(
            part
            for part in content["annotations"]
            if part["namespace"] in ("scaper", "sound_event")
        )
        events = [event["value"] for event in annotation["data"]]
        if any(not {"label", "role"} <= set(event) for event in events):
            raise KeyError("label, role")
        return events, annotation.get("sandbox", {}).get("scaper", {})
    except (StopIteration, RecursionError) as error:
        raise _foreign(jams, error) from error


def _foreign(jams: Path, error: Exception) -> CorpusError:
    return CorpusError(
        f"{CORPUS}: {jams} holds no annotation of Scaper ({type(error).__name__}); "
        "remove it, or generate the soundscape again."
    )


def _resolve(recorded: str, jams: Path) -> Path:
    """Return the path of an isolated event: beside the jams, or as recorded."""
    # A Windows path reads either kind of slash.
    parts = PureWindowsPath(recorded).parts
    beside = jams.with_name(f"{jams.stem}_events")
    folders = [beside, jams.parent.joinpath(*parts[-2:-1])]
    files = [folder / parts[-1] for folder in folders]
    found = next(filter(None, map(sound_files.find, files)), None)
    return found or (Path(recorded) if Path(recorded).is_file() else files[0])


def _soundscape(jams: Path, recorded: Mapping[str, Any]) -> Path:
    named = PureWindowsPath(recorded.get("soundscape_audio_path") or "").name
    default = jams.with_name(named or f"{jams.stem}{SUFFIXES[0]}")
    beside = sound_files.find(default) if named else None
    return beside or sound_files.find(jams.with_name(jams.stem), *SUFFIXES) or default


def _check_lengths(tracks: Sequence[Track]) -> None:
    """Raise an error for events of Scaper 1.3 that are not padded."""
    tracks = [track for track in tracks if not _is_of_the_fork(track)]
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


def _is_of_the_fork(track: Track) -> bool:
    files = [file for file in track.sources.values() if isinstance(file, Path)]
    return any(f"{track.name}_sources" in file.parts for file in files)


def _of_the_fork(events: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """List the files that events name, else those in the order of their numbers."""
    named = [event.get("audio_path") for event in events]
    if not any(named):
        return _numbered(folder / "foreground")
    missing = [event["label"] for event in events if not event.get("audio_path")]
    if missing:
        raise CorpusError(
            f"{CORPUS}: the events {', '.join(map(str, missing))} of {folder} have no "
            "audio_path, which others have; generate the soundscape again."
        )
    paths = [folder.joinpath(*PureWindowsPath(str(name)).parts) for name in named]
    return [sound_files.path_of(path, *SUFFIXES) for path in paths]


def _numbered(folder: Path) -> list[Path]:
    """Return the files 0.wav, 1.wav, ... 10.wav in the order of their numbers."""
    if not folder.is_dir():
        return []
    files = sound_files.sounds(folder, SUFFIXES)
    return sorted(files, key=lambda file: (len(file.stem), file.stem))
