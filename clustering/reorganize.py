"""Sounds under other paths: ``python -m clustering.reorganize``.

``--org_func split_folder_by_class`` turns ``<song>/<class>.wav`` into
``<class>/<song>.wav``, ``split_folder_by_file`` keeps the paths that ``--org_file``
lists. Symbolic links by default, copies with ``--make_copy``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from common.corpora import reading, sound_files
from common.corpora.recordings import SUFFIXES
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import replacing, user_path


def split_folder_by_class(
    file: Path, wanted: Collection[str] | None = None
) -> Path | None:
    """Turn a song's folder of classes into a class's folder of songs.

    Args:
        file: Path within the input, ``<song>/<class>.wav``, at any depth.
        wanted: Not used.

    Returns:
        Path within the output.

    Raises:
        CorpusError: The file lies in no folder, which would name the song.

    >>> split_folder_by_class(Path("a song/vocals.wav")).as_posix()
    'vocals/a song.wav'
    """
    if not file.parent.name:
        raise CorpusError(
            f"{file} lies in no folder; expected <song>/<class>{file.suffix}."
        )
    return Path(file.stem, f"{file.parent.name}{file.suffix}")


def split_folder_by_file(
    file: Path, wanted: Collection[str] | None = None
) -> Path | None:
    """Keep the path of a file that is listed, and leave out the others.

    Args:
        file: Path within the input.
        wanted: The paths that are listed.

    Returns:
        The same path, or None.

    >>> split_folder_by_file(Path("a/b.wav"), ["c.wav"]) is None
    True
    """
    return file if file.as_posix() in (wanted or ()) else None


Place = Callable[[Path, Collection[str] | None], Path | None]
FUNCTIONS: Mapping[str, Place] = {
    "split_folder_by_class": split_folder_by_class,
    "split_folder_by_file": split_folder_by_file,
}


def reorganize(
    source: Path,
    target: Path,
    place: Place,
    *,
    wanted: Collection[str] | None = None,
    make_copy: bool = False,
    suffixes: Sequence[str] = SUFFIXES,
) -> int:
    """Link or copy the sounds of a folder to other paths.

    Args:
        source: Folder, searched to any depth.
        target: Folder of the results; what is there already stays.
        place: Gives the path within the target for one within the source, or None.
        wanted: Paths for ``place``; each must be found.
        make_copy: Copy instead of link.
        suffixes: What is taken for a sound.

    Returns:
        How many sounds have a place in the target.

    Raises:
        CorpusError: No sound is found or wanted, a wanted one is missing, two would
            get one path, or a path is taken by something else.
    """
    source = reading.folder_of("reorganize", user_path(source), "sounds")
    endings = tuple(suffix.lower() for suffix in suffixes)
    found = [
        file.relative_to(source) for file in sound_files.sounds_below(source, endings)
    ]
    missing = sorted(set(wanted or ()) - {file.as_posix() for file in found})
    if missing:
        raise CorpusError(
            f"{len(missing)} of {len(set(wanted or ()))} listed sounds are not in "
            f"{source}, first: {missing[0]}; paths are relative to the input."
        )
    places: dict[Path, Path] = {}
    for file in found:
        new = place(file, wanted)
        if new in places:
            raise CorpusError(
                f"{places[new]} and {file} would both become {new}; rename one."
            )
        if new is not None:
            places[new] = file
    if not places:
        raise CorpusError(
            f"{source} holds {len(found)} sounds ({' '.join(endings)}) and none of "
            "them has a place in the output; check the input and the list."
        )
    for new, file in places.items():
        _put(source / file, user_path(target) / new, make_copy)
    return len(places)


def _put(file: Path, new: Path, make_copy: bool) -> None:
    """Link or copy a file, unless that was done before."""
    if new.is_symlink() and not new.exists():
        new.unlink()  # its sound was moved
    if new.exists():
        same = new.samefile(file) or new.stat().st_size == file.stat().st_size
        if not same:
            raise CorpusError(f"{new} is another sound than {file}; remove it first.")
        return
    new.parent.mkdir(parents=True, exist_ok=True)
    if make_copy:
        with replacing(new) as draft:
            shutil.copyfile(file, draft)
    else:
        new.symlink_to(file.resolve())


def main(argv: Sequence[str] | None = None) -> int:
    """Reorganize a folder of sounds; returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.reorganize", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    wanted = None
    if options.org_func == "split_folder_by_file":
        if options.org_file is None:
            raise CorpusError("split_folder_by_file needs --org_file, a list of paths.")
        lines = options.org_file.read_text(encoding="utf-8").splitlines()
        wanted = {line.strip() for line in lines if line.strip()}
        if not wanted:
            raise CorpusError(f"--org_file {options.org_file} lists nothing.")
    count = reorganize(
        options.input_path,
        options.output_path,
        FUNCTIONS[options.org_func],
        wanted=wanted,
        make_copy=options.make_copy,
        suffixes=options.audio_extensions,
    )
    how = "copies" if options.make_copy else "links"
    sys.stdout.write(f"{options.output_path}: {how} of {count} sounds\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clustering.reorganize", description=__doc__)
    add = parser.add_argument
    add("--input-path", "--input_path", type=Path, required=True, help="folder")
    add("--output-path", "--output_path", type=Path, required=True, help="folder")
    add("--org-func", "--org_func", choices=list(FUNCTIONS), required=True)
    add("--org-file", "--org_file", type=Path, help="list of paths, one a line")
    add("--make-copy", "--make_copy", action="store_true", help="copy, do not link")
    add(
        *("--audio-extensions", "--audio_extensions"),
        nargs="+",
        default=SUFFIXES,
        help="endings of the files to take",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
