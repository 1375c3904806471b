"""Paths of the stems of a sound file, and how the stems are written.

They lie in a hidden folder until all of them are whole, or grow under names that say
so.
"""

from __future__ import annotations

import errno
import os
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Literal

from common import audio
from common.files import claimed, naming, scratch_folder, sync
from common.overwriting import refuse_overwriting
from common.separation.separator import SeparationError, Separator

Rate = Literal["input", "model"]

INPUT = "input"
"""Name of the format that copies that of the input."""

ORIGINAL = "original"
REPORT = "report"
PART = ".part"
"""Ends the name of a stem that grows, before its suffix."""

REST = "no_{}"
"""Name of the second of two stems: the mixture minus the first."""

FIELDS = {
    "name": "folders and track",
    "folders": "folders of the input below the folder that was named",
    "track": "file name of the input without suffix",
    "parent": "name of its folder",
    "ext": "its suffix without the dot",
    "model": "name of the model",
    "source": "name of the source, such as vocals",
}
"""Fields of the pattern of a path, with their meaning."""


@dataclass(frozen=True)
class Form:
    """Which files are written for an input, and their paths.

    Attributes:
        pattern: Path of a stem below the output folder, without its suffix, of
            :data:`FIELDS`.
        original: Whether the input is copied beside its stems, byte for byte; of a part
            of the input, the part in the format of the stems.
        rate: Write at the sample rate of the ``"input"``, and divide what lies above
            the band of the model among its sources, or of the ``"model"``.
        remainder: Source that is replaced by the mixture minus the others, so that the
            stems add up to the mixture at its own rate.
        name: Stands for the input in the paths; None takes its file name without the
            suffix.
        model: Name of the model in the paths.
        two_stems: Source of which only the stem and the mixture minus it are written;
            None writes all.
    """

    pattern: str = "{name}/{source}"
    original: bool = False
    rate: Rate = "input"
    remainder: str | None = None
    name: str | None = None
    model: str = ""
    two_stems: str | None = None


FOLDERS = Form()
"""A folder for each input."""


def check_targets(separator: Separator, targets: Sequence[str] | None) -> None:
    """Refuse names that are not among the model's sources.

    >>> check_targets(Separator(abs, ["a", "b"], 8000), ["b"])
    """
    if isinstance(targets, str):
        raise SeparationError(
            f"targets is {targets!r}; expected a list of names, such as [{targets!r}]"
        )
    unknown = [name for name in targets or () if name not in separator.sources]
    if unknown:
        raise SeparationError(
            f"target {', '.join(unknown)} is not among the model's sources; "
            f"it has {', '.join(separator.sources)}"
        )


def check_pattern(pattern: str) -> None:
    """Refuse a pattern with unknown fields, or with a path outside the output folder.

    Raises:
        SeparationError: The pattern is invalid.

    >>> check_pattern("{parent}/{track}/{source}")
    """
    try:
        fields = [
            f"{field}{':' * bool(spec)}{spec}{'!' * bool(sign)}{sign or ''}"
            for _, field, spec, sign in string.Formatter().parse(pattern)
            if field is not None
        ]
    except ValueError as error:
        raise SeparationError(
            f"name is {pattern!r}, which cannot be read ({error}); write a brace that "
            "is part of a name twice"
        ) from error
    unknown = [field for field in fields if field not in FIELDS]
    if unknown:
        raise SeparationError(
            f"name is {pattern!r} with the unknown field {{{unknown[0]}}}; expected "
            f"{', '.join(f'{{{field}}}' for field in FIELDS)}"
        )
    windows = PureWindowsPath(pattern)
    leads_out = windows.anchor or ".." in windows.parts or pattern.startswith("~")
    if leads_out:
        raise SeparationError(
            f"name is {pattern!r}, which leads out of the output folder; start it "
            "below that folder, and name the folder by --output"
        )


def output_path(source: Path, folder: Path, form: Form, stem: str, suffix: str) -> Path:
    """Return the path of a file that is written for an input.

    Args:
        source: The input.
        folder: Output folder.
        form: The pattern, and the name of the input in it.
        stem: Name of the source.
        suffix: Of the file.

    Raises:
        SeparationError: The path would lie outside of the output folder.

    >>> form = Form("{track}_{source}", name="a/b")
    >>> output_path(Path("a/b.mp3"), Path("out"), form, "bass", ".wav").as_posix()
    'out/b_bass.wav'
    """
    name = form.name or source.stem
    folders, _, track = name.rpartition("/")
    text = form.pattern.format(
        name=name,
        folders=folders,
        track=track,
        parent=source.absolute().parent.name,
        ext=source.suffix[1:],
        model=form.model,
        source=stem,
    )
    # An empty field makes no folder.
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise SeparationError(
            f"{source} would be written to {text!r}, outside of the output folder; "
            "rename it, or give another --name"
        )
    return folder.joinpath(*parts[:-1], parts[-1] + suffix)


def stem_names(
    separator: Separator, targets: Sequence[str] | None, form: Form
) -> list[str]:
    """List the names of the stems that are written.

    Raises:
        SeparationError: A target is unknown.

    >>> separator = Separator(lambda x: x[:, None], ("vocals", "drums"), 8000)
    >>> stem_names(separator, None, Form(two_stems="vocals"))
    ['vocals', 'no_vocals']
    """
    if form.two_stems is not None:
        check_targets(separator, [form.two_stems])
        return [form.two_stems, REST.format(form.two_stems)]
    check_targets(separator, targets)
    return list(dict.fromkeys(targets or separator.sources))


def format_for(source: Path, format: str) -> str:  # noqa: A002
    """Return the format of the stems of a file, a key of `audio.FORMATS`.

    Args:
        source: The input.
        format: Such a key, or ``"input"`` for container and bit depth of the input.

    Raises:
        SeparationError: The format is unknown.
        AudioError: The format of the input cannot be written.

    >>> format_for(Path("song.mp3"), "flac")
    'flac'
    """
    if format == INPUT:
        return audio.format_of(source)
    if format not in audio.FORMATS:
        raise SeparationError(
            f"format is {format!r}; expected one of {', '.join(audio.FORMATS)}, {INPUT}"
        )
    return format


@dataclass(frozen=True)
class Outputs:
    """Files that are written for an input.

    Attributes:
        folder: Output folder.
        format: A key of `audio.FORMATS`.
        stems: Path of each stem.
        copies: Path of the copy of the mixture, if there is one.
    """

    folder: Path
    format: str
    stems: Mapping[str, Path]
    copies: Sequence[Path]

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [*self.stems.values(), *self.copies]


def outputs_of(
    source: Path,
    separator: Separator,
    folder: Path,
    format: str = "wav",  # noqa: A002
    targets: Sequence[str] | None = None,
    form: Form = FOLDERS,
    *,
    whole: bool = True,
) -> Outputs:
    """Name the files that are written for an input.

    Args:
        source: The input.
        separator: The model; its network is not used.
        folder: Output folder.
        format: A key of `audio.FORMATS`, or ``"input"`` for that of the input.
        targets: Sources to write; None writes all.
        form: Which files are written, and their paths.
        whole: The whole input is separated, so that its copy is in its own format; the
            copy of a part is in that of the stems.

    Raises:
        SeparationError: A target or the format is unknown.
        AudioError: The format of the input cannot be written.

    >>> separator = Separator(lambda x: x[:, None], ("vocals",), 8000)
    >>> outputs = outputs_of(Path("song.mp3"), separator, Path("out"), "flac")
    >>> [path.as_posix() for path in outputs.paths]
    ['out/song/vocals.flac']
    """
    format = format_for(source, format)  # noqa: A001
    suffix = audio.FORMATS[format].suffix

    def path(name: str, suffix: str) -> Path:
        return output_path(source, folder, form, name, suffix)

    stems = {name: path(name, suffix) for name in stem_names(separator, targets, form)}
    copy = path(ORIGINAL, source.suffix if whole else suffix) if form.original else None
    return Outputs(folder, format, stems, [copy] if copy else [])


def report_path(source: Path, folder: Path, form: Form) -> Path:
    """Return the path of the report, that of a stem of the source ``report``.

    >>> report_path(Path("song.mp3"), Path("out"), FOLDERS).as_posix()
    'out/song/report.json'
    """
    return output_path(source, folder, form, REPORT, ".json")


def check_new(paths: Sequence[Path], source: Path, overwrite: bool) -> None:
    """Refuse to replace the input or a folder, or any file without ``overwrite``.

    Raises:
        SeparationError: A path exists and must not be replaced.

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
    """Make a hidden folder inside a folder, which is made if it is missing.

    On exit the hidden folder is removed, and so are empty folders that were made.

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
    with _made(folder), ExitStack() as stack:
        try:
            hidden = stack.enter_context(scratch_folder(folder))
        except OSError as error:
            raise _cannot_take_stems(folder, error) from error
        yield hidden


@contextmanager
def staged(folder: Path, paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Yield a draft in a hidden folder for each path; move all of them on success.

    On an error no file is moved, and folders that were made are removed.

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
        try:
            yield drafts
        except audio.AudioError as error:
            raise _named(error, drafts) from error
        _publish(drafts)


def part_path(path: Path) -> Path:
    """Return the path of a stem while it grows.

    >>> part_path(Path("out/vocals.wav")).as_posix()
    'out/vocals.part.wav'
    """
    return path.with_name(f"{path.stem}{PART}{path.suffix}")


@contextmanager
def growing(folder: Path, paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Give each path a draft beside it, which others may read while it grows.

    All of them get their names at the end. If anything fails, none of them does, and
    drafts and folders that were made are removed; after a kill the drafts stay.

    Raises:
        SeparationError: A folder cannot be made or written to.
        BlockingIOError: Another process writes a draft.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with growing(folder, [folder / "a.txt"]) as drafts:
    ...     [path.name for path in folder.iterdir()]
    ['a.part.txt']
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    drafts = {path: part_path(path) for path in paths}
    parents = sorted({path.parent for path in paths})
    with ExitStack() as stack:
        for parent in (folder, *parents):
            stack.enter_context(_made(parent))
        for draft in drafts.values():
            _claim(draft, stack)
        yield drafts
        _publish(drafts)


def _claim(draft: Path, stack: ExitStack) -> None:
    try:
        stack.enter_context(claimed(draft))
    except BlockingIOError:
        raise
    except OSError as error:
        raise _cannot_take_stems(draft.parent, error) from error


def _named(error: audio.AudioError, drafts: Mapping[Path, Path]) -> audio.AudioError:
    """Replace the names of drafts in an error by those of the stems."""
    text = str(error)
    for path, draft in drafts.items():
        text = text.replace(str(draft), str(path))
    return audio.AudioError(text)


def _publish(drafts: dict[Path, Path]) -> None:
    """Rename complete drafts, after a check that each of them can be renamed."""
    for path, draft in drafts.items():
        with naming(path):
            sync(draft)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(path.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    for path, draft in drafts.items():
        with naming(path):
            draft.replace(path)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder; at the end, remove the folders made that are empty."""
    # Path.exists raises an error in folders without permission to search.
    made = [at for at in (folder, *folder.parents) if not os.path.exists(at)]  # noqa: PTH110
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(made)
        raise _cannot_take_stems(folder, error) from error
    try:
        yield
    finally:
        _remove_empty(made)


def _cannot_take_stems(folder: Path, error: OSError) -> SeparationError:
    return SeparationError(
        f"{folder} cannot take stems: {error.strerror}; choose another --output"
    )


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it is not empty and stays
            folder.rmdir()
