"""Paths of the stems of a sound file, and how the stems are written.

They lie in a hidden folder until all of them are whole.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import audio
from common.files import refuse_overwriting, scratch_folder
from common.separation.separator import SeparationError, Separator

Rate = Literal["input", "model"]


@dataclass(frozen=True)
class Form:
    """What is written of a file, and where.

    Attributes:
        pattern: Path of a stem below the output folder, without its suffix, of the
            input's ``{name}`` and the ``{source}``.
        original: Path of a copy of the input, byte for byte, of its ``{name}``; None:
            no copy.
        rate: Write at the sample rate of the ``"input"``, and divide what lies above
            the band of the model among its sources, or of the ``"model"``.
        remainder: Source that takes what the others leave of the mixture instead of
            its estimate, so that stems add up to the mixture at its own rate.
        name: Stands for the input in the paths; None takes its file name without the
            suffix.
    """

    pattern: str = "{name}/{source}"
    original: str | None = None
    rate: Rate = "input"
    remainder: str | None = None
    name: str | None = None


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


def output_names(inputs: Sequence[Path]) -> dict[Path, str]:
    """Name each input for its output, with its folders where several share a name.

    Args:
        inputs: Sound files; one that is named twice counts once.

    Returns:
        The name of each input without its suffix. Inputs that share one have the
        folders before it that distinguish them.

    Raises:
        SeparationError: Two inputs differ in their suffix or in case alone.

    >>> list(output_names([Path("a.wav"), Path("d1/b.wav"), Path("d2/b.wav")]).values())
    ['a', 'd1/b', 'd2/b']
    """
    files = {Path(os.path.abspath(path)): path for path in inputs}  # noqa: PTH100
    groups = defaultdict(list)
    for file in files:
        groups[file.stem.casefold()].append(file)
    names, seen = {}, dict[str, Path]()
    for file, path in files.items():
        group = groups[file.stem.casefold()]
        shared = os.path.commonpath([each.parent for each in group])
        name = str(file.relative_to(shared).with_suffix(""))
        other = seen.setdefault(name.casefold(), path)
        if other is not path:
            raise SeparationError(
                f"{other} and {path} would both be written under the name {name}; "
                "rename one or separate them into different --output"
            )
        names[path] = name
    return names


def stem_paths(
    separator: Separator,
    source: Path,
    folder: Path,
    format: str,  # noqa: A002
    targets: Sequence[str] | None,
    form: Form,
) -> dict[str, Path]:
    """Path of the stem of each source that is asked for.

    Raises:
        SeparationError: A target or the format is unknown.

    >>> separator = Separator(lambda x: x[:, None], ("vocals",), 8000)
    >>> song, output = Path("song.mp3"), Path("out")
    >>> str(stem_paths(separator, song, output, "flac", None, FOLDERS)["vocals"])
    'out/song/vocals.flac'
    """
    check_targets(separator, targets)
    if format not in audio.FORMATS:
        raise SeparationError(
            f"format is {format!r}; expected one of {', '.join(audio.FORMATS)}"
        )
    suffix = audio.FORMATS[format].suffix
    name = form.name or source.stem
    return {
        each: folder / (form.pattern.format(name=name, source=each) + suffix)
        for each in dict.fromkeys(targets or separator.sources)
    }


def copy_path(source: Path, folder: Path, form: Form) -> list[Path]:
    """Path of the copy of the input, if there is to be one.

    >>> copy_path(Path("song.mp3"), Path("out"), FOLDERS)
    []
    """
    if form.original is None:
        return []
    name = form.name or source.stem
    return [folder / (form.original.format(name=name) + source.suffix)]


def check_new(paths: Sequence[Path], source: Path, overwrite: bool) -> None:
    """Refuse to replace the input, a folder, or anything without leave.

    Raises:
        SeparationError: A path exists and must stay.

    >>> check_new([Path("new.wav")], Path("song.mp3"), overwrite=False)
    """
    refuse_overwriting(paths, [source])
    for path in paths:
        if path.parent.exists() and not path.parent.is_dir():
            raise SeparationError(
                f"{path.parent} is a file where the folder of the stems should be; "
                "choose another --output"
            )
        if path.is_dir():
            raise SeparationError(
                f"{path} is a folder where a stem should be; rename or remove it, or "
                "choose another --output"
            )
        if path.exists() and not overwrite:
            raise SeparationError(f"{path} exists; give --overwrite to replace it")


@contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """Make a hidden folder in another, and that one too where it is missing.

    At the end the hidden folder is removed, and so are the folders that were made and
    hold nothing.

    Raises:
        SeparationError: The folder cannot be made or written to.

    >>> import tempfile
    >>> parent = Path(tempfile.mkdtemp())
    >>> with working_folder(parent / "new") as hidden:
    ...     hidden.parent.name
    'new'
    >>> list(parent.iterdir())
    []
    """
    # Path.exists raises in folders that may not be searched.
    made = [at for at in (folder, *folder.parents) if not os.path.exists(at)]  # noqa: PTH110
    with ExitStack() as stack:
        stack.callback(_remove_empty, made)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            hidden = stack.enter_context(scratch_folder(folder))
        except OSError as error:
            raise SeparationError(
                f"{folder} cannot take stems: {error.strerror}; choose another --output"
            ) from error
        yield hidden


@contextmanager
def staged(folder: Path, paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Give each path a draft in a hidden folder, from which all move at the end.

    Where anything fails none of them does, and folders that were made go away.

    Raises:
        SeparationError: The folder cannot be made or written to.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with staged(folder, [folder / "a.txt"]) as drafts:
    ...     _ = drafts[folder / "a.txt"].write_text("whole")
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    with working_folder(folder) as hidden:
        drafts = {path: hidden / f"{i}{path.suffix}" for i, path in enumerate(paths)}
        yield drafts
        for path, draft in drafts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it is not empty, as it should be
            folder.rmdir()
