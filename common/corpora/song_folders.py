"""Songs in folders of their own: a mixture, vocals and whatever else is heard.

``<root>/<split>/<song>/{mixture,vocals,accompaniment}.*`` in any of wav, flac, mp3 and
ogg. ``mix`` is a mixture as well, every other file is a source, and a song may lack
any: one that is only a mixture, or only vocals, is good for learning without pairs.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.mix_folders import SUFFIXES
from common.corpora.track import CorpusError, Track
from common.files import user_path

CORPUS = "track folders"
MIXTURES = ("mixture", "mix")


def is_divided(root: Path | str) -> bool:
    """Tell whether a corpus has folders of splits."""
    root = user_path(root)
    return any((root / split).is_dir() for split in completeness.SPLITS)


def tracks(root: Path | str, split: str | None = None) -> list[Track]:
    """Turn folders into tracks, whose sources are named for their files.

    Args:
        root: Folder of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``; None: the songs lie in the root.

    Returns:
        Tracks by name; one without a mixture is the sum of its sources.

    Raises:
        CorpusError: There is no song, one holds no sound, or two of one name.
        AudioError: A file cannot be read.
    """
    place = user_path(root)
    if split is not None:
        completeness.expect_split(CORPUS, split)
        place = place / split
    songs = reading.subfolders(reading.folder_of(CORPUS, place, "a folder a song"))
    if not songs:
        raise CorpusError(
            f"{CORPUS}: {place} should hold a folder for each song and holds "
            f"{reading.contents(place)}; check the root."
        )
    return reading.make_tracks(_row(song) for song in songs)


def _row(song: Path) -> completeness.Row:
    files: dict[str, Path] = {}
    for file in sound_files.sounds(song, SUFFIXES):
        name = "mixture" if file.stem in MIXTURES else file.stem
        if files.setdefault(name, file) != file:
            raise CorpusError(
                f"{CORPUS}: {files[name]} and {file} are both the {name} of a song; "
                "remove one of them."
            )
    if not files:
        raise CorpusError(
            f"{CORPUS}: the song {song} holds no sound ({', '.join(SUFFIXES)}) but "
            f"{reading.contents(song)}; add some, or remove the folder."
        )
    mixture = files.pop("mixture", None)
    return song.name, files, mixture
