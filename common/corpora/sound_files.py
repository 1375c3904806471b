"""Listing the sound files of a corpus, without what other programs leave beside them.

Copies through macOS and network storage hold more than sounds: ``._song.wav`` is a
resource fork, ``@eaDir`` and ``.@__thumb`` are folders of previews whose files bear the
names of the sounds. All adapters of corpora list files by these functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from common.corpora.track import CorpusError
from common.files import user_path

JUNK = frozenset(
    {
        *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin"),
        *("system volume information", "lost+found", "__macosx", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
    }
)
"""Names in lower case that systems give to their own files and folders."""


def is_junk(name: str) -> bool:
    """Tell whether a name is hidden or that of a file or folder of the system.

    >>> [is_junk(name) for name in ("._a.wav", "@eaDir", "Thumbs.db", "a.wav")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in JUNK


def is_sound(name: str, suffixes: str | Sequence[str]) -> bool:
    """Tell whether a file is no junk and has one of some suffixes, in any case.

    >>> [is_sound(name, ".wav") for name in ("a.WAV", "._a.wav", "a.txt", ".wav")]
    [True, False, False, False]
    """
    endings = (suffixes,) if isinstance(suffixes, str) else suffixes
    return not is_junk(name) and name.lower().endswith(
        tuple(each.lower() for each in endings)
    )


def sounds(folder: Path, suffixes: str | Sequence[str]) -> list[Path]:
    """List the sound files in a folder by name.

    Args:
        folder: The folder.
        suffixes: One suffix or several, in any case.
    """
    found = (each for each in folder.iterdir() if is_sound(each.name, suffixes))
    return sorted(each for each in found if each.is_file())


def sounds_below(folder: Path, suffixes: str | Sequence[str]) -> list[Path]:
    """List the sound files in a folder and its subfolders, sorted by path."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_junk(name)]
        found += [Path(place, name) for name in names if is_sound(name, suffixes)]
    return sorted(each for each in found if each.is_file())


def find(path: Path, *suffixes: str) -> Path | None:
    """Find a file although its suffix is another one, or in capitals.

    Args:
        path: The file, without its suffix if ``suffixes`` are given.
        suffixes: Suffixes to look for, the preferred one first.

    Returns:
        The file; None if there is none.
    """
    wanted = [f"{path.name}{suffix}" for suffix in suffixes] or [path.name]
    for name in wanted:
        if path.with_name(name).is_file():
            return path.with_name(name)
    there = {_with_small_suffix(file.name): file for file in _files(path.parent)}
    return next((there[n] for n in map(_with_small_suffix, wanted) if n in there), None)


def in_track(track: Path, name: str, key: str) -> Path:
    """Find a file or folder of a track by its name, in which no letter is a pattern.

    Args:
        track: Folder of the track.
        name: Name, or path below the folder.
        key: Key of the configuration that gives the name, for the error.

    Returns:
        The path, whether or not it exists.

    Raises:
        CorpusError: The name is empty or leads out of the folder.
    """
    if not name.strip() or Path(name).is_absolute() or ".." in Path(name).parts:
        raise CorpusError(
            f"{key}={name!r}: expected a name in each folder, such as {key}=vocals.wav "
            "or without its suffix for a folder; set it to a relative name"
        )
    return find(track / name) or track / name


def listed(text: str, folder: Path) -> Path:
    r"""Locate a file that a list names.

    Args:
        text: Path as the list has it, absolute, below ``folder`` or below ``~``, with
            slashes or, in lists written by Windows, backslashes.
        folder: Folder that relative paths start from.

    Returns:
        The path, whether or not it exists; one that exists as it is written comes
        first, because a name may hold any of these letters.

    >>> listed("train\\a.wav", Path("/data"))
    PosixPath('/data/train/a.wav')
    """
    path = folder / text
    if not ("\\" in text or text.startswith("~")) or path.exists():
        return path
    other = Path(PureWindowsPath(text).as_posix() if "\\" in text else text)
    try:
        return folder / user_path(other)
    except FileNotFoundError:  # There is no such user.
        return folder / other


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(e for e in folder.iterdir() if not is_junk(e.name) and e.is_file())


def _with_small_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"
