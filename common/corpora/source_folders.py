"""Folders of sources: ``<root>/<split>/<source>/<any>.wav``, sounds without tracks.

A mixture is the sum of one sound from each folder. Sounds may be in subfolders, which
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
    """Return the sounds of a split as tracks of one source each.

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
    folder = user_path(root) / split
    reading.folder_of("sourcefolder", folder, "a folder for each source")
    return _tracks("sourcefolder", folder, sources, ext, None)


def unaligned(
    root: Path | str, split: str, sources: Sequence[str], ext: str = ".wav"
) -> list[Track]:
    """Return sounds in ``<root>/<source>`` as tracks of one source each.

    This is the layout of the first version of Open-Unmix, which has no folders of
    splits. A fixed tenth of the sounds of each source is for validation and not used
    in training.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        sources: Names of the folders.
        ext: Suffix of the sounds.

    Raises:
        CorpusError: A folder is missing or holds fewer than two sounds.
    """
    folder = user_path(root)
    reading.folder_of("unaligned", folder, "a folder for each source")
    return _tracks("unaligned", folder, sources, ext, split)


def _tracks(
    layout: str, folder: Path, sources: Sequence[str], ext: str, part: str | None
) -> list[Track]:
    rows: list[tuple[str, dict[str, Path], None]] = []
    for source in sources:
        path = sound_files.in_track(folder, source, "a folder of sources")
        source_folder = reading.folder_of(layout, path, f"sounds *{ext}")
        files = sound_files.sounds_below(source_folder, ext)
        least = 1 if part is None else 2
        if len(files) < least:
            raise CorpusError(
                f"{layout}: the folder {source_folder} holds {len(files)} sounds "
                f"*{ext}, expected at least {least}; it holds "
                f"{reading.contents(source_folder)}; add "
                "sounds, or set ext to their suffix."
            )
        if part is not None:
            files = reading.divide(files, VALIDATION_SHARE)[part == "valid"]
        for file in files:
            below = file.relative_to(source_folder).as_posix()
            rows.append((f"{source}/{below}", {source: file}, None))
    return reading.make_tracks(rows)
