"""Folders of sources: ``<root>/<split>/<source>/<any>.wav``, sounds without tracks.

A mixture is made of one sound from each folder. Sounds may lie in sub-folders, which
are then the classes of a balanced training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.corpora import reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path

VALIDATION_SHARE = 0.1


def tracks(
    root: Path | str, split: str, sources: Sequence[str], ext: str = ".wav"
) -> list[Track]:
    """Turn the sounds of a split into tracks of one source each.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        sources: Names of the folders below the split.
        ext: Suffix of the sounds.

    Returns:
        Tracks named ``<source>/<path below its folder>``.

    Raises:
        CorpusError: A folder is missing or holds no sound.
    """
    place = user_path(root) / split
    reading.folder_of("sourcefolder", place, "a folder for each source")
    return _tracks("sourcefolder", place, sources, ext, None)


def unaligned(
    root: Path | str, split: str, sources: Sequence[str], ext: str = ".wav"
) -> list[Track]:
    """Turn sounds in ``<root>/<source>`` into tracks of one source each.

    This is the layout of the first version of Open-Unmix, which has no folders of
    splits. A tenth of the sounds of each source, always the same ones, is for the
    validation, so that training does not hear them.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        sources: Names of the folders.
        ext: Suffix of the sounds.

    Raises:
        CorpusError: A folder is missing or holds fewer than two sounds.
    """
    place = user_path(root)
    reading.folder_of("unaligned", place, "a folder for each source")
    return _tracks("unaligned", place, sources, ext, split)


def _tracks(
    layout: str, place: Path, sources: Sequence[str], ext: str, part: str | None
) -> list[Track]:
    rows: list[tuple[str, dict[str, Path], None]] = []
    for source in sources:
        named = sound_files.in_track(place, source, "a folder of sources")
        folder = reading.folder_of(layout, named, f"sounds *{ext}")
        files = sound_files.sounds_below(folder, ext)
        least = 1 if part is None else 2
        if len(files) < least:
            raise CorpusError(
                f"{layout}: the folder {folder} holds {len(files)} sounds *{ext}, "
                f"expected at least {least}; it holds {reading.contents(folder)}; add "
                "sounds, or set ext to their suffix."
            )
        if part is not None:
            files = reading.divide(files, VALIDATION_SHARE)[part == "valid"]
        for file in files:
            below = file.relative_to(folder).as_posix()
            rows.append((f"{source}/{below}", {source: file}, None))
    return reading.make_tracks(rows)
