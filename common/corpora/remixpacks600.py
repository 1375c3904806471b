"""RemixPacks600: stems of about 600 songs, collected by the authors of nussl.

``organized_{train,valid,test}/<song>/{vocals,bass,drums,other}.*`` in any of wav, flac,
mp3 and ogg; ``{train,valid,test}/<song>/`` are accepted as well. The collection was
never published, and its authors tested on MUSDB18.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.mix_folders import SUFFIXES
from common.corpora.track import Track
from common.files import user_path

CORPUS = "RemixPacks600"
SOURCES = ("vocals", "drums", "bass", "other")


def tracks(root: Path | str, split: str, *, skip: bool = False) -> list[Track]:
    """Return songs as tracks of four sources, whose mixture is their sum.

    Without a folder for valid a fixed tenth of the training songs is held out.

    Args:
        root: Folder of the corpus, or one that holds ``remixpacks600``.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        skip: Leave out songs that lack a file, with a warning, instead of raising.

    Returns:
        Tracks sorted by name.

    Raises:
        CorpusError: The split is empty, or a song lacks a file.
    """
    completeness.expect_split(CORPUS, split)
    songs = _songs(user_path(root), split)
    rows = [
        (song.name, {name: _file(song, name) for name in SOURCES}, None)
        for song in songs
    ]
    return reading.make_tracks(completeness.complete(CORPUS, rows, skip=skip))


def _songs(root: Path, split: str) -> list[Path]:
    reading.folder_of(CORPUS, root, "organized_train")
    folder = _folder(root, split)
    if folder is not None:
        songs = reading.subfolders(folder)
        if split == "train" and _folder(root, "valid") is None:
            songs = completeness.training_part(songs, split)
    else:
        folder = _folder(root, "train") if split == "valid" else None
        songs = reading.subfolders(folder) if folder else []
        songs = completeness.training_part(songs, split)
    if not songs:
        raise reading.misplaced(
            f"{CORPUS}: the split {split!r} is empty",
            folder or root,
            "a folder for each song" if folder else f"organized_{split}",
            "those who made the collection tested on MUSDB18",
        )
    return songs


def _folder(root: Path, split: str) -> Path | None:
    """Return the folder of a split in the root or its subfolders, if there is one."""
    for folder in (root, *reading.subfolders(root)):
        for name in (f"organized_{split}", split):
            if (folder / name).is_dir():
                return folder / name
    return None


def _file(song: Path, name: str) -> Path:
    # A missing file is named by its stem, because any suffix would do.
    return sound_files.find(song / name, *SUFFIXES) or song / f"{name}.*"
