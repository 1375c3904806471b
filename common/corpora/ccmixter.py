"""CCMixter: 50 songs, each of a voice, its accompaniment and their mixture.

``<root>/ccmixter_corpus/<song>/{source-01,source-02,mix}.wav``, where 01 is the
accompaniment and 02 the voice.

References:
    Liutkus, Fitzgerald, Rafii, Pardo, Daudet: Kernel additive models for source
    separation, IEEE Transactions on Signal Processing 62(16), 2014.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.track import Track
from common.files import user_path

CORPUS = "CCMixter"
FILES = {"vocals": "source-02.wav", "accompaniment": "source-01.wav"}
MIXTURE = "mix.wav"
COUNT = 50
"""Songs of the published corpus."""
SPLITS = ("all", *completeness.SPLITS)


def tracks(root: Path | str, split: str = "all", *, skip: bool = False) -> list[Track]:
    """Return songs as tracks of vocals and accompaniment with their mixture.

    Args:
        root: Folder of the corpus, or one that holds ``ccmixter_corpus``.
        split: ``"all"``, ``"train"``, ``"valid"`` or ``"test"``. The corpus itself has
            no splits; this function divides it.
        skip: Leave out songs that lack a file, with a warning, instead of raising.

    Returns:
        Tracks sorted by name.

    Raises:
        CorpusError: There is no song, or one lacks a file.
    """
    completeness.expect_split(CORPUS, split, SPLITS)
    rows = [_row(song) for song in _songs(user_path(root))]
    rows = completeness.complete(CORPUS, rows, skip=skip)
    completeness.expect_count(CORPUS, "all", len(rows), (COUNT,))
    if split != "all":
        rows = completeness.part_of(CORPUS, rows, split)
    return reading.make_tracks(rows)


def _songs(root: Path) -> list[Path]:
    reading.folder_of(CORPUS, root, "ccmixter_corpus")
    names = (*FILES.values(), MIXTURE)
    for folder in (root, *reading.subfolders(root)):
        subfolders = reading.subfolders(folder)
        songs = [s for s in subfolders if any(sound_files.find(s / n) for n in names)]
        if songs:
            return songs
    raise reading.misplaced(CORPUS, root, f"ccmixter_corpus/<song>/{MIXTURE}")


def _row(song: Path) -> completeness.Row:
    files = {name: sound_files.path_of(song / file) for name, file in FILES.items()}
    return song.name, files, sound_files.path_of(song / MIXTURE)
