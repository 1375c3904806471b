"""Folders of tracks: ``<root>/<split>/<track>/<file>``, in the layouts of Open-Unmix.

``aligned``: each track has its input and its output. ``fixed``: each track has the same
files, a target and its interferers. ``variable``: all other files are interferers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from common.corpora import reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path

LOG = logging.getLogger(__name__)
VALIDATION_SHARE = 0.1


def aligned(
    root: Path | str,
    split: str,
    input_file: str,
    output_file: str,
) -> list[Track]:
    """Return folders of an input and an output as tracks of a mixture and one source.

    A root without folders of splits, as in the first version of Open-Unmix, is divided:
    a fixed tenth of its tracks is for validation.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        input_file: Name of the mixture. If a track has no file of this name, it is a
            pattern, such as ``noisy*.wav``; the first match is read.
        output_file: Name or pattern of the target, whose stem names the source.

    Raises:
        CorpusError: The split is empty, or no track has both; those that lack one are
            left out and named.
    """
    source = Path(output_file).stem
    keys = {input_file: "input_file", output_file: "output_file"}
    folders = _track_folders(Path(root), split, "aligned")
    rows = [
        (folder.name, {source: files[output_file]}, files[input_file])
        for folder, files in _with_all(folders, keys, _match)
    ]
    return reading.make_tracks(rows)


def fixed(
    root: Path | str,
    split: str,
    target_file: str,
    interferer_files: Sequence[str],
) -> list[Track]:
    """Return folders that all hold the same files as tracks, the target first.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        target_file: Name of the target.
        interferer_files: Names of the other sources.

    Raises:
        CorpusError: The split is empty, or no track has all files; those that lack one
            are left out and named.
    """
    names = (target_file, *interferer_files)
    keys = dict.fromkeys(interferer_files, "interferer_files")
    keys = {target_file: "target_file", **keys}
    folders = _track_folders(Path(root), split, "trackfolder_fix")
    found = _with_all(folders, keys, sound_files.in_track)
    if len({Path(name).stem for name in names}) < len(names):
        raise CorpusError(
            f"trackfolder_fix: two of {', '.join(names)} have one name without "
            "their suffix; rename one of them."
        )
    rows = [
        (folder.name, {Path(name).stem: files[name] for name in names}, None)
        for folder, files in found
    ]
    return reading.make_tracks(rows)


def variable(
    root: Path | str,
    split: str,
    target_file: str,
    ext: str = ".wav",
    silence_missing: bool = False,
) -> list[Track]:
    """Return folders of any number of files as tracks, the target first.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        target_file: Name of the target.
        ext: Suffix of the other sources.
        silence_missing: Whether a track may lack the target.

    Raises:
        CorpusError: The split is empty, or a track lacks the target or any file.
    """
    rows = []
    for folder in _track_folders(Path(root), split, "trackfolder_var"):
        target = sound_files.in_track(folder, target_file, "target_file")
        others = [sound for sound in sound_files.sounds(folder, ext) if sound != target]
        if not target.is_file():
            if not silence_missing:
                raise CorpusError(
                    f"trackfolder_var: the track {folder} lacks its target "
                    f"{target_file}; it holds {reading.contents(folder)}; add it, or "
                    "set silence_missing=true to take it as silence."
                )
            if not others:
                raise CorpusError(
                    f"trackfolder_var: the track {folder} holds neither {target_file} "
                    f"nor *{ext} but {reading.contents(folder)}; remove it."
                )
        _warn_of_mixture(folder, others)
        sources = {target.stem: target} if target.is_file() else {}
        sources.update((other.name, other) for other in others)
        rows.append((folder.name, sources, None))
    return reading.make_tracks(rows)


def _track_folders(root: Path, split: str, layout: str) -> list[Path]:
    """Return the track folders of a split."""
    parent = reading.folder_of(layout, user_path(root), "train and valid")
    if layout == "aligned" and not any(
        (parent / name).is_dir() for name in ("train", "valid")
    ):
        folders = _part(parent, split)
    else:
        parent = reading.folder_of(layout, parent / split, "a folder for each track")
        folders = reading.subfolders(parent)
    if not folders:
        empty = f"{layout}: the split {split!r} is empty"
        expected = "a folder for each track"
        raise reading.misplaced(empty, parent, expected, "check the root")
    return folders


def _part(root: Path, split: str) -> list[Path]:
    """Return the tracks of a split of a root without folders of splits."""
    folders = reading.subfolders(root)
    if len(folders) < 2:
        return []
    part = reading.divide(folders, VALIDATION_SHARE)[split == "valid"]
    if split == "valid":
        sentence = "%s has no folders train and valid: %d of its tracks are held out"
        LOG.warning(sentence, root, len(part))
    return part


def _with_all(
    folders: Iterable[Path],
    keys: Mapping[str, str],
    find: Callable[[Path, str, str], Path],
) -> list[tuple[Path, dict[str, Path]]]:
    """Return the tracks that have all files, by their names; name the others.

    Args:
        folders: Folders of the tracks.
        keys: Configuration key of each name.
        find: Returns the path of a file by folder, name and key.
    """
    found, lacking = [], {}
    for folder in folders:
        files = {name: find(folder, name, key) for name, key in keys.items()}
        missing = [name for name, file in files.items() if not file.is_file()]
        if missing:
            lacks = ", ".join(f"{name} ({keys[name]})" for name in missing)
            lacking[folder] = f"the track {folder} lacks {lacks}"
        else:
            found.append((folder, files))
    if lacking and not found:
        first, sentence = next(iter(lacking.items()))
        raise CorpusError(
            f"{sentence}, and no other track has all files; it holds "
            f"{reading.contents(first)}; add the files, or correct the keys."
        )
    if lacking:
        sentences = "; ".join(lacking.values())
        LOG.warning("leaving out %d tracks: %s", len(lacking), sentences)
    return found


def _match(folder: Path, name: str, key: str) -> Path:
    """Return the file of a name, else the first that matches it as a pattern."""
    file = sound_files.in_track(folder, name, key)
    if file.is_file():
        return file
    matches = (
        path
        for path in sorted(folder.glob(name))
        if path.is_file()
        and not any(map(sound_files.is_junk, path.relative_to(folder).parts))
    )
    return next(matches, file)


def _warn_of_mixture(folder: Path, files: Sequence[Path]) -> None:
    if any(file.stem == "mixture" for file in files):
        LOG.warning("%s: mixture is taken for one more source; move it away", folder)
