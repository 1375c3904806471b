"""List the sound files of a corpus, without system files and leftovers.

Copies made by macOS and network storage hold more than sounds: ``._song.wav`` is a
resource fork, ``@eaDir`` and ``.@__thumb`` are folders of previews whose files have the
names of the sounds. All corpora list files by these functions.
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
"""Names of system files and folders, in lower case."""


def is_junk(name: str) -> bool:
    """Return whether a name is hidden or that of a system file or folder.

    >>> [is_junk(name) for name in ("._a.wav", "@eaDir", "Thumbs.db", "a.wav")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in JUNK


def is_sound(name: str, suffixes: str | Sequence[str]) -> bool:
    """Return whether a file is not junk and has one of some suffixes, in any case.

    >>> [is_sound(name, ".wav") for name in ("a.WAV", "._a.wav", "a.txt", ".wav")]
    [True, False, False, False]
    """
    endings = (suffixes,) if isinstance(suffixes, str) else suffixes
    return not is_junk(name) and name.lower().endswith(
        tuple(ending.lower() for ending in endings)
    )


def sounds(folder: Path, suffixes: str | Sequence[str]) -> list[Path]:
    """Return the sound files in a folder, sorted by name.

    Args:
        folder: The folder.
        suffixes: One suffix or several, in any case.
    """
    paths = (path for path in folder.iterdir() if is_sound(path.name, suffixes))
    return sorted(path for path in paths if path.is_file())


def sounds_below(folder: Path, suffixes: str | Sequence[str]) -> list[Path]:
    """Return the sound files in a folder and its subfolders, sorted by path."""
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_junk(name)]
        paths += [Path(parent, name) for name in names if is_sound(name, suffixes)]
    return sorted(path for path in paths if path.is_file())


def find(path: Path, *suffixes: str) -> Path | None:
    """Find a file by its stem, with any of several suffixes, in any case.

    Args:
        path: The file, without its suffix if ``suffixes`` are given.
        suffixes: Suffixes to look for, the preferred one first.

    Returns:
        The file; None if there is none.
    """
    names = [f"{path.name}{suffix}" for suffix in suffixes] or [path.name]
    for name in names:
        if path.with_name(name).is_file():
            return path.with_name(name)
    files = {_with_small_suffix(file.name): file for file in _files(path.parent)}
    return next((files[n] for n in map(_with_small_suffix, names) if n in files), None)


def path_of(path: Path, *suffixes: str) -> Path:
    """Return an existing file as :func:`find`, else the path with the first suffix.

    >>> path_of(Path("not/there"), ".flac", ".wav")
    PosixPath('not/there.flac')
    """
    first = suffixes[0] if suffixes else ""
    return find(path, *suffixes) or path.with_name(path.name + first)


def in_track(track: Path, name: str, key: str) -> Path:
    """Return the path of a file or folder of a track by its literal name.

    Args:
        track: Folder of the track.
        name: Name, or path below the folder.
        key: Configuration key of the name, for the error.

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
    return path_of(track / name)


def listed(text: str, folder: Path) -> Path:
    r"""Return the path of a file that a list names.

    Args:
        text: Path in the list, absolute, below ``folder`` or below ``~``, with slashes
            or, in lists written by Windows, backslashes.
        folder: Folder of relative paths.

    Returns:
        The path, whether or not it exists; a path that exists as written comes first,
        because a name may hold any of these characters.

    >>> listed("train\\a.wav", Path("/data"))
    PosixPath('/data/train/a.wav')
    """
    path = folder / text
    if not ("\\" in text or text.startswith("~")) or path.exists():
        return path
    other = Path(PureWindowsPath(text).as_posix() if "\\" in text else text)
    try:
        return folder / user_path(other)
    except FileNotFoundError:  # The user does not exist.
        return folder / other


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(e for e in folder.iterdir() if not is_junk(e.name) and e.is_file())


def _with_small_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"
