"""Find the inputs of a separation: files, all sound in folders, standard input.

:func:`excerpt` chooses the part of an input that is read.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from common import audio
from common.audio.decoding import inspect
from common.audio.encoding import Writer
from common.audio.pipes import RAW_TYPES, PipedSound, Raw
from common.corpora.sound_files import is_junk, is_sound
from common.separation.separator import SeparationError

STANDARD_INPUT = "-"
STDIN_NAME = "stdin"

MOST_RATE = 1 << 31
"""Highest sample rate that a file can state, in Hz."""

APART = '"{name}.{ext}/{source}"'
"""Pattern of paths that tells apart files that differ in their suffix."""

PREVIEW_SECONDS = 20.0
"""Length of a preview."""


@dataclass(frozen=True)
class Input:
    """A sound file to separate.

    Attributes:
        path: The file.
        name: Its part of the output paths: folders and name without suffix.
        label: Its path as the user gave it.
        pipe: The sound of a pipe that is separated as it arrives, without a file.
    """

    path: Path
    name: str
    label: str
    pipe: PipedSound | None = None


@dataclass(frozen=True)
class Inputs:
    """All files to separate.

    Attributes:
        files: The files.
        folders: Folders that were named as inputs.
        left_out: Files in these folders that are not sound by their suffix.
    """

    files: Sequence[Input]
    folders: Sequence[Path]
    left_out: Sequence[Path]


def find(
    words: Sequence[str],
    output: Path,
    scratch: Path | None,
    raw: Raw | None = None,
    *,
    is_suffix_kept: bool = False,
) -> Inputs:
    """List the sound files of the inputs.

    Args:
        words: Files, folders and ``-`` for standard input.
        output: Folder of the stems, which is skipped inside an input.
        scratch: Folder that standard input is written to; None reads it as it arrives.
        raw: Layout of the samples of standard input if it has no header.
        is_suffix_kept: Whether the output paths hold the suffix, so that files that
            differ in it alone may share a name.

    Returns:
        The files, each once, under names that tell them apart. Those of one folder have
        their path below it, those of several folders the path below what these share.

    Raises:
        SeparationError: A folder holds no sound or cannot be read, standard input is
            empty, or two files differ in case alone or in a suffix that is not kept.

    >>> [file.name for file in find(["a.wav", "d/b.mp3"], Path("o"), Path("s")).files]
    ['a', 'b']
    """
    folders = [Path(word) for word in words if os.path.isdir(word)]  # noqa: PTH112
    shared = Path(os.path.commonpath(list(map(_absolute, folders)) or ["/"]))
    paths: dict[Path, Path] = {}
    roots: dict[Path, Path] = {}
    left_out: list[Path] = []
    for path in (Path(word) for word in words if word != STANDARD_INPUT):
        sounds = [path]
        if path in folders:
            sounds, others = list_sounds(path, output)
            left_out += others
        for sound in sounds:
            file = _absolute(sound)
            paths.setdefault(file, sound)
            roots.setdefault(file, shared if path in folders else file.parent)
    names = _names(roots)
    if not is_suffix_kept:
        cure = f"rename one, or if their suffixes differ give --name {APART}"
        _refuse_alike(names, paths, cure)
    files = [Input(paths[file], name, str(paths[file])) for file, name in names.items()]
    if STANDARD_INPUT in words:
        files.append(_standard_input(scratch, raw))
    return Inputs(files, folders, left_out)


def output_names(inputs: Sequence[Path]) -> dict[Path, str]:
    """Name each file for its output, with its folders where several share a name.

    Args:
        inputs: Sound files; duplicates count once.

    Returns:
        The name of each file without its suffix. Files that share one have the folders
        before it that distinguish them.

    Raises:
        SeparationError: Two files differ in their suffix or in case alone.

    >>> list(output_names([Path("a.wav"), Path("d1/b.wav"), Path("d2/b.wav")]).values())
    ['a', 'd1/b', 'd2/b']
    """
    paths = {_absolute(path): path for path in inputs}
    names = _names({file: file.parent for file in paths})
    _refuse_alike(names, paths, "rename one or separate them into different folders")
    return {paths[file]: name for file, name in names.items()}


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links stay as they are)


def _names(roots: dict[Path, Path]) -> dict[Path, str]:
    """Name each file, with the folders that tell files of one name apart."""
    groups = defaultdict(list)
    for file, root in roots.items():
        groups[_name(file, root).casefold()].append(file)
    names = {}
    for file, root in roots.items():
        group = groups[_name(file, root).casefold()]
        shared = Path(os.path.commonpath([roots[path] for path in group]))
        names[file] = _name(file, shared)
    return names


def _refuse_alike(names: dict[Path, str], paths: dict[Path, Path], cure: str) -> None:
    seen: dict[str, Path] = {}
    for file, name in names.items():
        other = seen.setdefault(name.casefold(), file)
        if other != file:
            raise SeparationError(
                f"{paths[other]} and {paths[file]} would both be written under the "
                f"name {name}; {cure}"
            )


def _name(file: Path, root: Path) -> str:
    return file.relative_to(root).with_suffix("").as_posix()


def list_sounds(folder: Path, output: Path) -> tuple[list[Path], list[Path]]:
    """List the sound files in a folder and its subfolders, sorted by path.

    Links are followed, each folder once. Hidden files, files of the operating system
    and the folder of the stems are left out.

    Args:
        folder: The folder.
        output: Folder of the stems.

    Returns:
        Files whose suffix is that of sound, and the others.

    Raises:
        SeparationError: A folder cannot be read, or there is no sound.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.wav", "a.MP3", "cover.jpg", "._a.wav"):
    ...     (folder / name).touch()
    >>> [[path.name for path in paths] for paths in list_sounds(folder, folder / "out")]
    [['a.MP3', 'b.wav'], ['cover.jpg']]
    """
    sounds, others, seen = [], [], {os.path.realpath(output)}
    if os.path.realpath(folder) in seen:
        raise SeparationError(
            f"{folder} is the input and the --output, so stems would lie among its "
            "sounds; choose another --output, such as a folder in it"
        )
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if not is_junk(name)]
        if os.path.realpath(parent) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(parent))
        for name in names:
            if is_sound(name, audio.SUFFIXES):
                sounds.append(Path(parent, name))
            elif not is_junk(name):
                others.append(Path(parent, name))
    if not sounds:
        raise SeparationError(
            f"{folder} holds no sound: no file in it or below it ends in .wav, .flac, "
            ".mp3 or another suffix of sound; name another folder, or files"
        )
    return sorted(sounds), sorted(others)


def _refuse(error: OSError) -> NoReturn:
    raise SeparationError(
        f"{error.filename} cannot be read: {error.strerror}; allow it, or name the "
        "folders beside it"
    ) from error


def _standard_input(scratch: Path | None, raw: Raw | None) -> Input:
    """Open standard input as a pipe, or write it to a file."""
    if sys.stdin is None:
        raise SeparationError(
            "standard input is closed; send a file to it, or name a file instead of -"
        )
    if sys.stdin.isatty():
        raise SeparationError(
            "standard input is a terminal, which has no sound; send a file to it, such "
            "as ffmpeg -i song.mp3 -f wav - | ..."
        )
    if scratch is None:
        pipe = PipedSound(sys.stdin.buffer, raw)
        return Input(Path(STDIN_NAME), STDIN_NAME, STANDARD_INPUT, pipe)
    # {parent} in --name is then the current folder, not the hidden one.
    folder = scratch / (Path.cwd().name or STDIN_NAME)
    folder.mkdir()
    if raw is not None:
        return _raw_input(folder / f"{STDIN_NAME}.wav", raw)
    path = folder / STDIN_NAME
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if not path.stat().st_size:
        raise SeparationError(
            "standard input is empty; check the command that sends the sound"
        )
    return Input(path, STDIN_NAME, STANDARD_INPUT)


def _raw_input(path: Path, raw: Raw) -> Input:
    """Write raw samples to a wav."""
    sound = PipedSound(sys.stdin.buffer, raw)
    wav = RAW_TYPES[raw.sample_type]
    with Writer(path, raw.sample_rate, raw.channels, wav) as file:
        for block in sound.blocks():
            file.write(block)
    return Input(path, STDIN_NAME, STANDARD_INPUT)


def refuse_mixing(inputs: Inputs, outputs: Sequence[Path], output: Path) -> None:
    """Refuse to write stems among the sounds of a folder that is an input.

    A second run would separate them.

    Args:
        inputs: The inputs.
        outputs: Files to write.
        output: Folder of the stems, which is skipped inside an input.

    Raises:
        SeparationError: A file would lie in an input.

    >>> refuse_mixing(Inputs([], [Path("a")], []), [Path("out/b.wav")], Path("out"))
    """
    whole = os.path.realpath(output)
    for folder in inputs.folders:
        root = os.path.realpath(folder)
        if Path(root) in Path(whole).parents:
            continue
        for path in outputs:
            if Path(root) in (Path(whole) / path.relative_to(output)).parents:
                raise SeparationError(
                    f"{path} would lie among the sounds of {folder}; choose another "
                    "--output, such as a folder in it"
                )


@dataclass(frozen=True)
class Part:
    """The part of a sound that is separated.

    Attributes:
        start: First second.
        seconds: Length at most; None reaches to the end.
        loudest: Take the loudest part of that length instead, wherever it starts.

    Raises:
        SeparationError: A number is out of range.
    """

    start: float = 0.0
    seconds: float | None = None
    loudest: bool = False

    def __post_init__(self) -> None:
        # Infinite in samples too.
        if not (math.isfinite(self.start * MOST_RATE) and self.start >= 0):
            raise SeparationError(f"start is {self.start:g} s; expected 0 or more")
        if self.seconds is None:
            return
        if not (math.isfinite(self.seconds * MOST_RATE) and self.seconds > 0):
            raise SeparationError(
                f"duration is {self.seconds:g} s; expected more than 0"
            )


WHOLE = Part()
"""The whole sound."""


class Excerpt(NamedTuple):
    """The part of a file or a pipe that is read; no length if it is unknown.

    Of a file with several audio streams it is a part of the first.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.wav")
    >>> audio.write(path, np.zeros([1, 100], np.float32), 8000)
    >>> excerpt(path).samples
    100
    """

    path: Path
    sample_rate: int
    channels: int
    start: int
    samples: int | None
    pipe: PipedSound | None = None
    streams: int = 1

    def blocks(self) -> Iterator[np.ndarray]:
        """Read blocks [channels, samples] of at most a second."""
        if self.pipe:
            yield from self.pipe.blocks(self.start, self.samples)
        else:
            yield from audio.blocks(
                self.path, self.sample_rate, self.start, self.samples
            )


def excerpt(
    source: str | os.PathLike[str] | PipedSound,
    part: Part = WHOLE,
    counted: bool = True,
) -> Excerpt:
    """Choose the part of a sound to read.

    Args:
        source: A file, or the sound of a pipe.
        part: Part of it to read.
        counted: Whether to count the samples of a file that does not state how many it
            has, for which it is decoded once.

    Raises:
        SeparationError: The part lies behind the end, or is the loudest of a pipe.
        AudioError: The file cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.wav")
    >>> audio.write(path, np.zeros([1, 8000], np.float32), 8000)
    >>> excerpt(path, Part(0.5))[1:5]
    (8000, 1, 4000, 4000)
    """
    path, pipe = path_or_pipe(source)
    rate, channels, there, streams = _layout(path, pipe, counted)
    start, samples = round(part.start * rate), there
    if part.loudest:
        start = _loudest(path, pipe, part)
    if part.seconds is not None:
        samples = max(1, round(part.seconds * rate))
    if there is not None and start >= there:
        raise SeparationError(
            f"start {part.start:g} s leaves nothing of {path}, which lasts "
            f"{there / rate:.2f} s; start before its end"
        )
    if there is not None and samples is not None:
        samples = min(samples, there - start)
    return Excerpt(path, rate, channels, start, samples, pipe, streams)


def path_or_pipe(
    source: str | os.PathLike[str] | PipedSound,
) -> tuple[Path, PipedSound | None]:
    """Return the path of an input, and its pipe if it is one.

    >>> path_or_pipe("a.wav")[1] is None
    True
    """
    if isinstance(source, PipedSound):
        return Path(STDIN_NAME), source
    return Path(source), None


def _layout(
    path: Path, pipe: PipedSound | None, counted: bool
) -> tuple[int, int, int | None, int]:
    """Return rate, channels, samples (None if not counted) and audio streams."""
    if pipe:
        return pipe.sample_rate, pipe.channels, None, 1
    sound = inspect(path)
    samples = audio.count(sound) if counted else sound.samples
    return sound.sample_rate, sound.channels, samples, sound.streams


def _loudest(path: Path, pipe: PipedSound | None, part: Part) -> int:
    if pipe:
        raise SeparationError(
            "a preview is the loudest part of a whole sound, which a pipe does not "
            "have; name a file, or choose the part by --start and --duration"
        )
    return audio.loudest(path, part.seconds or PREVIEW_SECONDS)
