"""Where the stems of a sound file go: their places, and how they get there.

They lie in a hidden folder until all of them are whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import audio
from common.separation import SeparationError, Separator

Rate = Literal["input", "model"]


@dataclass(frozen=True)
class Form:
    """What is written of a file, and where.

    Attributes:
        pattern: Place of a stem below the output folder, without its suffix, of the
            input's ``{name}`` and the ``{source}``.
        original: Place of a copy of the input, byte for byte, of its ``{name}``; None:
            no copy.
        rate: Write at the sample rate of the ``"input"`` or of the ``"model"``.
        remainder: Source that takes what the others leave of the mixture instead of
            its estimate, so that stems add up to the mixture at its own rate.
    """

    pattern: str = "{name}/{source}"
    original: str | None = None
    rate: Rate = "input"
    remainder: str | None = None


FOLDERS = Form()
"""A folder for each input."""


def check_targets(separator: Separator, targets: Sequence[str] | None) -> None:
    """Refuse names that are not among the model's sources.

    >>> check_targets(Separator(abs, ["a", "b"], 8000), ["b"])
    """
    unknown = [name for name in targets or () if name not in separator.sources]
    if unknown:
        raise SeparationError(
            f"target {', '.join(unknown)} is not among the model's sources; "
            f"it has {', '.join(separator.sources)}"
        )


def stem_paths(
    separator: Separator,
    source: Path,
    folder: Path,
    format: str,  # noqa: A002
    targets: Sequence[str] | None,
    form: Form,
) -> dict[str, Path]:
    """Place of the stem of each source that is asked for.

    Raises:
        SeparationError: A target or the format is not known.
    """
    check_targets(separator, targets)
    if format not in audio.FORMATS:
        raise SeparationError(
            f"format is {format!r}; expected one of {', '.join(audio.FORMATS)}"
        )
    suffix = audio.FORMATS[format].suffix
    return {
        name: folder / (form.pattern.format(name=source.stem, source=name) + suffix)
        for name in dict.fromkeys(targets or separator.sources)
    }


def copy_path(source: Path, folder: Path, form: Form) -> list[Path]:
    """Place of the copy of the input, if there is to be one."""
    if form.original is None:
        return []
    return [folder / (form.original.format(name=source.stem) + source.suffix)]


def check_new(paths: Sequence[Path], source: Path, overwrite: bool) -> None:
    """Refuse to replace the input, a folder, or anything without leave."""
    for path in paths:
        if path.parent.exists() and not path.parent.is_dir():
            raise SeparationError(
                f"{path.parent} is a file where the folder of the stems should be; "
                "choose another --output"
            )
        if not path.exists():
            continue
        if source.exists() and path.samefile(source):
            raise SeparationError(
                f"{path} is the input and would be replaced by a stem; choose another "
                "--output"
            )
        if not overwrite or path.is_dir():
            raise SeparationError(f"{path} exists; give --overwrite to replace it")


@contextmanager
def staged(folder: Path, paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Give each path a draft in a hidden folder, from which all move at the end.

    Where anything fails none of them does, and a folder that was made goes away.

    Raises:
        SeparationError: The folder cannot be made or written to.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden = tempfile.TemporaryDirectory(prefix=".separate-", dir=folder)
    except OSError as error:
        raise SeparationError(
            f"{folder} cannot take stems: {error.strerror}; choose another --output"
        ) from error
    try:
        with hidden as name:
            drafts = {path: Path(name, path.name) for path in paths}
            yield drafts
            for path, draft in drafts.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                draft.replace(path)
    finally:
        if made:
            with suppress(OSError):  # it is not empty, as it should be
                folder.rmdir()
