"""DSD100: 100 songs of four stems, the mixtures in a separate folder.

``<root>/Mixtures/{Dev,Test}/<number - Artist - Title>/mixture.wav`` and
``<root>/Sources/{Dev,Test}/<the same>/{bass,drums,other,vocals}.wav``. All of it is
part of MUSDB18, so train on one of the two and do not test on the other.

References:
    Liutkus, Stoter, Rafii, Kitamura, Rivet, Ito, Ono, Fontecave: The 2016 signal
    separation evaluation campaign, LVA/ICA 2017.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.track import Track
from common.files import user_path

CORPUS = "DSD100"
SOURCES = ("vocals", "drums", "bass", "other")
SPLITS = {"train": "Dev", "test": "Test"}
COUNT = 50
"""Songs of each split of the published corpus."""


def tracks(root: Path | str, split: str, *, skip: bool = False) -> list[Track]:
    """Return a split as tracks of four sources and a mixture.

    Args:
        root: Folder of the corpus, or one that holds ``DSD100``.
        split: ``"train"`` (Dev) or ``"test"``.
        skip: Leave out songs that lack a file, with a warning, instead of raising.

    Returns:
        Tracks sorted by name, their sources in the order of :data:`SOURCES`.

    Raises:
        CorpusError: The split is empty, or a song lacks a file.
    """
    completeness.expect_split(CORPUS, split, SPLITS)
    root = _find_root(user_path(root))
    folder = root / "Mixtures" / SPLITS[split]
    songs = reading.subfolders(
        reading.folder_of(CORPUS, folder, "a folder for each song")
    )
    if not songs:
        empty = f"{CORPUS}: the split {split!r} is empty"
        raise reading.misplaced(empty, folder, "a folder for each song")
    rows = [_row(root / "Sources" / SPLITS[split], song) for song in songs]
    rows = completeness.complete(CORPUS, rows, skip=skip)
    completeness.expect_count(CORPUS, split, len(rows), (COUNT,))
    return reading.make_tracks(rows)


def _find_root(folder: Path) -> Path:
    reading.folder_of(CORPUS, folder, "Mixtures and Sources")
    for root in (folder, *reading.subfolders(folder)):
        if (root / "Mixtures").is_dir():
            return root
    raise reading.misplaced(CORPUS, folder, "Mixtures and Sources")


def _row(sources: Path, song: Path) -> completeness.Row:
    folder = sources / song.name
    files = {name: sound_files.path_of(folder / f"{name}.wav") for name in SOURCES}
    return song.name, files, sound_files.path_of(song / "mixture.wav")
