"""One folder for each song: a mixture, vocals and any other sources.

``<root>/<split>/<song>/{mixture,vocals,accompaniment}.*`` in any of wav, flac, mp3 and
ogg. ``mix`` is a mixture as well, every other file is a source, and a song may lack
any: a mixture alone, or vocals alone, serve training on unpaired data.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.mix_folders import SUFFIXES
from common.corpora.track import CorpusError, Track
from common.files import user_path

CORPUS = "song_folders"
MIXTURES = ("mixture", "mix")


def tracks(root: Path | str, split: str | None = None) -> list[Track]:
    """Return folders as tracks, whose sources are named after their files.

    Args:
        root: Folder of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``; None takes the songs of
            the root.

    Returns:
        Tracks sorted by name; without a mixture it is the sum of the sources.

    Raises:
        CorpusError: There is no song, one holds no sound, or two files have one name.
        AudioError: A file cannot be read.
    """
    folder = user_path(root)
    if split is not None:
        completeness.expect_split(CORPUS, split)
        folder = folder / split
    expected = "a folder for each song"
    songs = reading.subfolders(reading.folder_of(CORPUS, folder, expected))
    if not songs:
        raise reading.misplaced(CORPUS, folder, expected, "check the root")
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
