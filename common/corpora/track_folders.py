"""Folders of tracks: ``<root>/<split>/<track>/<file>``, in the layouts of Open-Unmix.

``aligned``: each track has its input and its output. ``fixed``: each track has the same
files, a target and its interferers. ``variable``: all other files are interferers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
        CorpusError: The split is empty, or a track lacks one of the two.
    """
    source = Path(output_file).stem
    rows = []
    for folder in _track_folders(Path(root), split, "aligned"):
        mixture = _first(folder, input_file, "input_file", is_pattern=True)
        target = _first(folder, output_file, "output_file", is_pattern=True)
        rows.append((folder.name, {source: target}, mixture))
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
        CorpusError: The split is empty, or a track lacks a file.
    """
    names = (target_file, *interferer_files)
    rows = []
    for folder in _track_folders(Path(root), split, "trackfolder_fix"):
        files = [_first(folder, name, "target_file") for name in names[:1]]
        files += [_first(folder, name, "interferer_files") for name in names[1:]]
        sources = dict(zip((Path(name).stem for name in names), files, strict=True))
        if len(sources) < len(names):
            raise CorpusError(
                f"trackfolder_fix: two of {', '.join(names)} have one name without "
                "their suffix; rename one of them."
            )
        rows.append((folder.name, sources, None))
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


def _track_folders(root: Path, split: str, layout: str) -> Iterator[Path]:
    """Yield the track folders of a split."""
    root = reading.folder_of(layout, user_path(root), "train and valid")
    undivided = layout == "aligned" and not any(
        (root / each).is_dir() for each in ("train", "valid")
    )
    if not undivided:
        parent = reading.folder_of(layout, root / split, "a folder for each track")
        folders = reading.subfolders(parent)
    else:
        parent, folders = root, reading.subfolders(root)
        if len(folders) > 1:
            parts = reading.divide(folders, VALIDATION_SHARE)
            folders = parts[split == "valid"]
            if split == "valid":
                LOG.warning(
                    "%s has no folders train and valid: %d of its tracks are held out",
                    root,
                    len(folders),
                )
        else:
            folders = []
    if not folders:
        raise CorpusError(
            f"{layout}: the split {split!r} is empty: {parent} should hold a folder "
            f"for each track and holds {reading.contents(parent)}; check the root."
        )
    yield from folders


def _first(folder: Path, name: str, key: str, *, is_pattern: bool = False) -> Path:
    file = sound_files.in_track(folder, name, key)
    matches = [file] if file.is_file() else []
    if is_pattern and not matches:
        matches = [
            path
            for path in sorted(folder.glob(name))
            if path.is_file()
            and not any(map(sound_files.is_junk, path.relative_to(folder).parts))
        ]
    if matches:
        return matches[0]
    raise CorpusError(
        f"The track {folder} lacks {name} ({key}); it holds "
        f"{reading.contents(folder)}; add the file, correct {key}, or remove the track."
    )


def _warn_of_mixture(folder: Path, files: Sequence[Path]) -> None:
    if any(file.stem == "mixture" for file in files):
        LOG.warning("%s: mixture is taken for one more source; move it away", folder)
