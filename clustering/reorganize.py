"""Link or copy sounds to other paths: ``python -m clustering.reorganize``.

``--org_func split_folder_by_class`` turns ``<song>/<class>.wav`` into
``<class>/<song>.wav``, ``split_folder_by_file`` keeps the paths listed in
``--org_file``. The results are symbolic links, or copies with ``--make_copy``.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from common import audio
from common.corpora import reading, sound_files
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import replacing, user_path

BY_CLASS, BY_FILE = "split_folder_by_class", "split_folder_by_file"


def split_folder_by_class(file: Path) -> Path:
    """Turn a song's folder of classes into a class's folder of songs.

    Args:
        file: Path within the input, ``<song>/<class>.wav``, at any depth.

    Returns:
        Path within the output.

    Raises:
        CorpusError: The file is in no folder, which would name the song.

    >>> split_folder_by_class(Path("a song/vocals.wav")).as_posix()
    'vocals/a song.wav'
    """
    if not file.parent.name:
        raise CorpusError(
            f"{file} is in no folder; expected <song>/<class>{file.suffix}."
        )
    return Path(file.stem, f"{file.parent.name}{file.suffix}")


def reorganize(
    source: Path,
    target: Path,
    listed: Collection[str] | None = None,
    *,
    make_copy: bool = False,
    suffixes: Sequence[str] = audio.SUFFIXES,
) -> int:
    """Link or copy the sounds of a folder to other paths.

    Args:
        source: Folder, searched to any depth.
        target: Folder of the results; existing files are kept.
        listed: Paths within the source of the sounds to use, which keep their paths;
            none: all sounds, by :func:`split_folder_by_class`.
        make_copy: Copy instead of link.
        suffixes: Suffixes of sounds.

    Returns:
        Number of sounds in the target.

    Raises:
        CorpusError: There is no sound, a listed one is missing, two would get one
            path, or a path is taken by another file.
    """
    source = reading.folder_of("reorganize", user_path(source), "sounds")
    endings = tuple(suffix.lower() for suffix in suffixes)
    sounds = [
        file.relative_to(source) for file in sound_files.sounds_below(source, endings)
    ]
    if not sounds:
        raise CorpusError(
            f"{source} holds no sound ({' '.join(endings)}) at any depth; check the "
            "input and --audio-extensions."
        )
    if listed is None:
        outputs = _unique(sounds, split_folder_by_class)
    else:
        outputs = {file: file for file in sounds if file.as_posix() in listed}
        _expect_listed(source, listed, outputs)
    for output, file in outputs.items():
        _put(source / file, user_path(target) / output, make_copy)
    return len(outputs)


def _unique(sounds: Sequence[Path], rename: Callable[[Path], Path]) -> dict[Path, Path]:
    """Return the sounds by their new paths."""
    outputs: dict[Path, Path] = {}
    for file in sounds:
        output = rename(file)
        if output in outputs:
            raise CorpusError(
                f"{outputs[output]} and {file} would both become {output}; rename one."
            )
        outputs[output] = file
    return outputs


def _expect_listed(
    source: Path, listed: Collection[str], outputs: Collection[Path]
) -> None:
    if not listed:
        raise CorpusError("the list of sounds is empty; expected a path on each line.")
    missing = sorted(set(listed) - {file.as_posix() for file in outputs})
    if missing:
        raise CorpusError(
            f"{len(missing)} of {len(set(listed))} listed sounds are not in "
            f"{source}, first: {missing[0]}; paths are relative to the input."
        )


def _put(file: Path, output: Path, make_copy: bool) -> None:
    """Link or copy a file, unless an earlier run did."""
    if output.exists():
        if not (output.samefile(file) or filecmp.cmp(output, file, shallow=False)):
            raise CorpusError(f"{output} is another sound than {file}; remove it.")
        if not (make_copy and output.is_symlink()):
            return
    output.unlink(missing_ok=True)  # A link to a sound that was moved or is copied now.
    output.parent.mkdir(parents=True, exist_ok=True)
    if make_copy:
        with replacing(output) as draft:
            shutil.copyfile(file, draft)
    else:
        output.symlink_to(file.resolve())


def main(argv: Sequence[str] | None = None) -> int:
    """Reorganize a folder of sounds; return the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.reorganize", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    listed = _read_list(options.org_file) if options.org_func == BY_FILE else None
    count = reorganize(
        options.input_path,
        options.output_path,
        listed,
        make_copy=options.make_copy,
        suffixes=options.audio_extensions,
    )
    how = "copies" if options.make_copy else "links"
    sys.stdout.write(f"{options.output_path}: {how} of {count} sounds\n")
    return 0


def _read_list(file: Path | None) -> set[str]:
    if file is None:
        raise CorpusError(f"{BY_FILE} needs --org-file, a list of paths.")
    lines = file.read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clustering.reorganize", description=__doc__)
    add = parser.add_argument
    about = "folder of the sounds"
    add("--input-path", "--input_path", type=Path, required=True, help=about)
    about = "folder to make"
    add("--output-path", "--output_path", type=Path, required=True, help=about)
    add("--org-func", "--org_func", choices=[BY_CLASS, BY_FILE], required=True)
    about = "file with one path in each line, for split_folder_by_file"
    add("--org-file", "--org_file", type=Path, help=about)
    about = "copy the files instead of linking them"
    add("--make-copy", "--make_copy", action="store_true", help=about)
    add(
        *("--audio-extensions", "--audio_extensions"),
        nargs="+",
        default=audio.SUFFIXES,
        help="suffixes of the files to take",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
