"""Folders of mixtures and of their sources, joined by equal file names.

``<root>/<split>/mix/<name>`` and ``<root>/<split>/<source>/<name>``. Without a folder
``mix`` the mixture is the sum of the sources; without folders of splits a tenth of the
names is held out for each of valid and test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path

CORPUS = "mix folders"
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")


def tracks(
    root: Path | str,
    split: str | None,
    *,
    mix: str = "mix",
    sources: Sequence[str] | None = None,
    skip: bool = False,
) -> list[Track]:
    """Turn equal names in several folders into tracks.

    Args:
        root: Folder of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``; None takes all that lies in the
            root itself.
        mix: Folder of the mixtures; where there is none they are the sums.
        sources: Folders of the sources, in this order; None takes all but ``mix``.
        skip: Leave out names that a folder lacks and say how many, not refuse.

    Returns:
        Tracks by name.

    Raises:
        CorpusError: There is no source, or a name is not in every folder.
    """
    place = completeness.place_of(CORPUS, root, split, "folders of sources")
    if sources is None:
        sources = [each.name for each in reading.subfolders(place) if each.name != mix]
    if not sources:
        raise CorpusError(
            f"{CORPUS}: {place} should hold a folder for each source and holds "
            f"{reading.contents(place)}; check the root."
        )
    laid_out = rows(CORPUS, place, mix if (place / mix).is_dir() else None, sources)
    if split is not None and place == user_path(root):
        laid_out = completeness.part_of(CORPUS, laid_out, split)
    return reading.make_tracks(completeness.complete(CORPUS, laid_out, skip=skip))


def rows(
    corpus: str, place: Path, mix: str | None, sources: Sequence[str]
) -> list[completeness.Row]:
    """Lay out every name that is in any of the folders, whether or not in all.

    Args:
        corpus: Name of the layout, for the error.
        place: Where the folders are.
        mix: Folder of the mixtures, or None.
        sources: Folders of the sources.

    Returns:
        Name, sources and mixture of each track, by name.

    Raises:
        CorpusError: A folder is missing, or they hold no sound at all.
    """
    folders = [*([mix] if mix else []), *sources]
    places = [reading.folder_of(corpus, place / each, "sounds") for each in folders]
    names = {
        name
        for each in places
        for name in reading.names(each)
        if sound_files.is_sound(name, SUFFIXES)
    }
    if not names:
        raise CorpusError(
            f"{corpus}: {', '.join(folders)} in {place} hold no sound "
            f"({', '.join(SUFFIXES)}); unpack or generate the corpus there."
        )
    # Joining texts takes a third of the time of joining paths.
    return [
        (
            name.rpartition(".")[0],
            {source: Path(f"{place}/{source}/{name}") for source in sources},
            Path(f"{place}/{mix}/{name}") if mix else None,
        )
        for name in sorted(names)
    ]
