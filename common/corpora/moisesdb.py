"""MoisesDB: 240 songs as files of single instruments in eleven stems.

``<root>/moisesdb_v0.1/<song>/data.json`` lists the stems of a song and their files,
``<song>/<stem>/<id>.<extension>``. A stem may be listed twice, files of one song differ
in length and in channels, some songs have no vocals, and files with bleed are marked.

References:
    Pereira, Araujo, Korzeniowski, Vogl: MoisesDB: a dataset for source separation
    beyond 4-stems, ISMIR 2023 (arXiv 2307.15913).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.corpora import completeness, reading, sound_files
from common.corpora.track import CorpusError, Sum, Track
from common.files import user_path

CORPUS = "MoisesDB"
INDEX = "data.json"
VOCALS = "vocals"
COUNT = 240
"""Songs of the published corpus."""
SPLITS = ("all", *completeness.SPLITS)


class Song(NamedTuple):
    """A song as a track, with the metadata of its description.

    Attributes:
        track: Its stems, the vocals first where there are any; the mixture is the sum.
        artist: Name of the artist.
        bleeding: Stems with a file into which other stems bleed.
    """

    track: Track
    artist: str
    bleeding: frozenset[str]


class _Described(NamedTuple):
    folder: Path
    artist: str
    stems: Mapping[str, Sequence[Path]]
    bleeding: frozenset[str]


def tracks(root: Path | str, split: str = "all", *, skip: bool = False) -> list[Track]:
    """Return songs as tracks of the stems that they have.

    Args:
        root: Folder of the corpus, or one that holds ``moisesdb_v0.1``.
        split: ``"all"``, ``"train"``, ``"valid"`` or ``"test"``. The corpus itself has
            no splits; this function holds out a tenth of the artists for valid and a
            tenth for test.
        skip: Leave out songs that lack a file or cannot be added up, with a warning,
            instead of raising.

    Returns:
        Tracks sorted by the name of their folder, as long as their longest file.

    Raises:
        CorpusError: There is no song, or one lacks a file or its description.
    """
    completeness.expect_split(CORPUS, split, SPLITS)
    all_songs = songs(root, skip=skip)
    if split == "all":
        return [song.track for song in all_songs]
    artists = sorted({song.artist for song in all_songs})
    if len(artists) < 3:
        return [song.track for song in completeness.part_of(CORPUS, all_songs, split)]
    chosen = completeness.part_of(CORPUS, artists, split)
    return [song.track for song in all_songs if song.artist in chosen]


def songs(root: Path | str, *, skip: bool = False) -> list[Song]:
    """Return the songs with their artists and stems with bleed.

    Args:
        root: Folder of the corpus, or one that holds ``moisesdb_v0.1``.
        skip: Leave out faulty songs, with a warning, instead of raising.

    Raises:
        CorpusError: There is no song, or one lacks a file or its description.
    """
    folders = _song_folders(user_path(root))
    described = [_describe(folder) for folder in folders]
    rows = {song.folder.name: song for song in described}
    laid_out = [_row(song) for song in described]
    complete = completeness.complete(CORPUS, laid_out, skip=skip)
    completeness.expect_count(CORPUS, "all", len(complete), (COUNT,))
    made = reading.make_tracks(_one_rate(complete, skip), longest=True)
    return [
        Song(track, rows[track.name].artist, rows[track.name].bleeding)
        for track in made
    ]


def _song_folders(root: Path) -> list[Path]:
    reading.folder_of(CORPUS, root, "moisesdb_v0.1")
    for folder in (root, *reading.subfolders(root)):
        found = [s for s in reading.subfolders(folder) if (s / INDEX).is_file()]
        if found:
            return found
    raise reading.misplaced(CORPUS, root, f"moisesdb_v0.1/<song>/{INDEX}")


def _describe(folder: Path) -> _Described:
    """Read the description of a song."""
    path = folder / INDEX
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stems: dict[str, list[Path]] = {}
        bleeding = set()
        for stem in content["stems"]:
            name = _plain_name(stem["stemName"])
            files = stems.setdefault(name, [])
            files += [_file(folder / name, row) for row in stem["tracks"]]
            if any(row.get("has_bleed", False) for row in stem["tracks"]):
                bleeding.add(name)
        artist = str(content.get("artist") or folder.name)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise CorpusError(
            f"{path} is not the description of a song ({error!r}); expected "
            '{"artist": ..., "stems": [{"stemName": ..., "tracks": [{"id": ..., '
            '"extension": ...}]}]}; unpack the song again.'
        ) from error
    stems = {name: files for name, files in stems.items() if files}
    if not stems:
        raise CorpusError(f"{path} lists no file in any stem; unpack the song again.")
    return _Described(folder, artist, stems, frozenset(bleeding))


def _file(folder: Path, track: Mapping[str, Any]) -> Path:
    name = f"{_plain_name(track['id'])}.{_plain_name(track['extension'])}"
    return sound_files.path_of(folder / name)


def _plain_name(name: object) -> str:
    # A description is untrusted, and must not lead out of its folder.
    if not isinstance(name, str) or name in ("", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file or folder")
    return name


def _row(song: _Described) -> completeness.Row:
    # Vocals first, then as they are listed.
    names = sorted(song.stems, key=lambda name: name != VOCALS)
    sources = {name: _sum(song.stems[name]) for name in names}
    return song.folder.name, sources, None


def _sum(files: Sequence[Path]) -> Path | Sum:
    return files[0] if len(files) == 1 else Sum(tuple(files))


def _one_rate(rows: Sequence[completeness.Row], skip: bool) -> list[completeness.Row]:
    """Return the songs whose files have one rate, so that they can be added up."""
    files = {row[0]: completeness.files_of(row) for row in rows}
    infos = reading.measure(file for paths in files.values() for file in paths)
    kept, faults = [], []
    for row in rows:
        first, *others = files[row[0]]
        rate = infos[first].sample_rate
        other = next((file for file in others if infos[file].sample_rate != rate), None)
        if other is None:
            kept.append(row)
        else:
            odd = infos[other].sample_rate
            faults.append(f"{first} has {rate} Hz and {other} {odd} Hz")
    if faults:
        fault = f"{len(faults)} of {len(rows)} songs have several rates"
        fault = f"{CORPUS}: {fault}, first: {faults[0]}; resample one"
        completeness.report(fault, skip=skip and bool(kept))
    return kept
