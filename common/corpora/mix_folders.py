"""Folders of mixtures and of their sources, matched by equal file names.

``<root>/<split>/mix/<name>`` and ``<root>/<split>/<source>/<name>``. Without a folder
``mix`` the mixture is the sum of the sources; without folders of splits a tenth of the
names is held out for valid and a tenth for test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path

CORPUS = "mix folders"
MIX = "mix"
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")


def tracks(
    root: Path | str,
    split: str | None,
    *,
    sources: Sequence[str] | None = None,
    skip: bool = False,
) -> list[Track]:
    """Return tracks of files with equal names in several folders.

    Args:
        root: Folder of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``; None takes the root itself.
        sources: Folders of the sources, in this order; None takes all but ``mix``.
        skip: Leave out names that a folder lacks, with a warning, instead of raising.

    Returns:
        Tracks sorted by name.

    Raises:
        CorpusError: There is no source, or a name is not in every folder.
    """
    folder = completeness.split_folder(CORPUS, root, split, "folders of sources")
    if sources is None:
        sources = [
            subfolder.name
            for subfolder in reading.subfolders(folder)
            if subfolder.name != MIX
        ]
    if not sources:
        expected = "a folder for each source"
        raise reading.misplaced(CORPUS, folder, expected, "check the root")
    laid_out = rows(CORPUS, folder, MIX if (folder / MIX).is_dir() else None, sources)
    if split is not None and folder == user_path(root):
        laid_out = completeness.part_of(CORPUS, laid_out, split)
    return reading.make_tracks(completeness.complete(CORPUS, laid_out, skip=skip))


def rows(
    corpus: str, folder: Path, mix: str | None, sources: Sequence[str]
) -> list[completeness.Row]:
    """Return a track for every name that any of the folders holds.

    Args:
        corpus: Name of the layout, for the error.
        folder: Folder that holds the others.
        mix: Folder of the mixtures, or None.
        sources: Folders of the sources.

    Returns:
        Name, sources and mixture of each track, sorted by name.

    Raises:
        CorpusError: A folder is missing, or they hold no sound at all.
    """
    parts = [*([mix] if mix else []), *sources]
    folders = [reading.folder_of(corpus, folder / part, "sounds") for part in parts]
    names = {
        name
        for directory in folders
        for name in reading.names(directory)
        if sound_files.is_sound(name, SUFFIXES)
    }
    if not names:
        raise CorpusError(
            f"{corpus}: {', '.join(parts)} in {folder} hold no sound "
            f"({', '.join(SUFFIXES)}); unpack or generate the corpus there, or name "
            "another layout by dataset."
        )
    # Joining texts takes a third of the time of joining paths.
    return [
        (
            name.rpartition(".")[0],
            {source: Path(f"{folder}/{source}/{name}") for source in sources},
            Path(f"{folder}/{mix}/{name}") if mix else None,
        )
        for name in sorted(names)
    ]
