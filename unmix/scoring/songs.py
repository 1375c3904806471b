"""The songs of an evaluation, opened one by one so that a bad one stops no other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.corpora import musdb, reading, sound_files
from common.corpora.track import CorpusError
from unmix.corpus import COMPOUND

PARTS = {**{name: (name,) for name in musdb.SOURCES}, **COMPOUND}
"""What has a reference, and the sources that it is the sum of, in museval's order."""
MIXTURE = "mixture.wav"


class Song(NamedTuple):
    """A song of MUSDB18.

    Attributes:
        name: ``Artist - Title``.
        place: Folder of its wav files, or its stem file.
    """

    name: str
    place: Path


def find(root: Path | str, subset: str, *, is_wav: bool = False) -> list[Song]:
    """List the songs of a folder of MUSDB18 by name, without looking into them.

    Args:
        root: Folder of the corpus.
        subset: ``"test"`` or ``"train"``, which has those held out for validation too.
        is_wav: Leave stem files out.

    Raises:
        CorpusError: There is no song.
    """
    place = reading.folder_of("MUSDB18", musdb.find_root(root) / subset, "songs")
    found = musdb.songs(place, is_wav=is_wav)
    if not found:
        raise CorpusError(
            f"MUSDB18: {place} holds no song but {reading.contents(place)}; unpack the "
            "corpus there" + (", or leave out --is-wav" if is_wav else "")
        )
    return [Song(name, found[name]) for name in sorted(found)]


def opened(song: Song, work: Path) -> Path:
    """Find the folder of a song's wav files; stem files are decoded.

    Args:
        song: The song.
        work: Folder to decode into.

    Raises:
        CorpusError: The stem file cannot be decoded.
    """
    return song.place if song.place.is_dir() else musdb.decode(song.place, work)


def references(folder: Path, targets: Iterable[str]) -> dict[str, list[Path]]:
    """Name the files that the references of targets are the sums of.

    Args:
        folder: Of :func:`opened`.
        targets: Names in :data:`PARTS`.

    Raises:
        CorpusError: A file, or the mixture, is not there.
    """
    files = {
        target: [_file(folder / f"{part}.wav") for part in PARTS[target]]
        for target in targets
    }
    wanted = [mixture(folder), *(file for each in files.values() for file in each)]
    missing = dict.fromkeys(file.name for file in wanted if not file.is_file())
    if missing:
        raise CorpusError(
            f"{folder} lacks {', '.join(missing)}; it holds "
            f"{reading.contents(folder)}: unpack it again"
        )
    return files


def mixture(folder: Path) -> Path:
    """Name the file of the mixture of a song."""
    return _file(folder / MIXTURE)


def _file(path: Path) -> Path:
    return sound_files.find(path) or path


def scored(sources: Sequence[str]) -> list[str]:
    """Name the sources that museval scores, in its order.

    Raises:
        CorpusError: They are fewer than the two that it needs.

    >>> scored(["drums", "vocals", "residual"])
    ['vocals', 'drums']
    """
    targets = [target for target in PARTS if target in sources]
    if len(targets) < 2:
        raise CorpusError(
            f"the model makes {', '.join(sources)}, and museval needs at least two of "
            f"{', '.join(PARTS)}: give --residual accompaniment for vocals alone, or "
            "--aggregate"
        )
    return targets
