"""Outputs that would replace an input are refused, whatever name they are given by."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path


class OverwriteError(ValueError):
    """An output that would replace an input."""


def refuse_overwriting(
    outputs: Iterable[str | Path], inputs: Iterable[str | Path]
) -> None:
    """Refuse outputs that are inputs, under any name.

    Paths are the same if they lead to one file or folder by links or other spellings,
    or if they differ only in case: on some disks these are one file.

    Args:
        outputs: Files or folders to write; they need not exist.
        inputs: Files or folders that the command reads, now or later.

    Raises:
        OverwriteError: An output is an input.

    >>> refuse_overwriting(["stems/a.wav"], ["a.wav"])
    >>> refuse_overwriting(["./b/../A.wav"], ["a.wav"])
    Traceback (most recent call last):
    ...
    common.overwriting.OverwriteError: ./b/../A.wav is the input a.wav and would be \
replaced; choose another output
    """
    read = {key: path for path in inputs for key in _keys(path)}
    for output in outputs:
        for key in _keys(output) & read.keys():
            name = (
                "an input"
                if str(read[key]) == str(output)
                else f"the input {read[key]}"
            )
            raise OverwriteError(
                f"{output} is {name} and would be replaced; choose another output"
            )


def refuse_replacing_folder(output: str | Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to replace a folder that is an input or holds one.

    Args:
        output: Folder to replace.
        inputs: Files or folders that the command reads.

    Raises:
        OverwriteError: The folder is or holds an input.
    """
    for path in inputs:
        if holds(output, path):
            raise OverwriteError(
                f"{output} is or holds the input {path}, which would be removed with "
                "it; choose another output"
            )


def holds(folder: str | Path, path: str | Path) -> bool:
    """Return whether a path is a folder or is inside it, under any name.

    >>> holds("music", "Music/../music/rock/a.wav"), holds("music/rock", "music")
    (True, False)
    """
    whole = Path(os.path.realpath(path))
    keys = _keys(folder)
    return any(keys & _keys(folder) for folder in (whole, *whole.parents))


def _keys(path: str | Path) -> set[tuple[object, ...]]:
    """Return keys that are equal for all names of one file."""
    name = unicodedata.normalize("NFC", os.path.realpath(path)).casefold()
    try:
        status = Path(path).stat()
    except OSError:
        return {(name,)}
    return {(name,), (status.st_dev, status.st_ino)}
