"""``umx-tf``: the command lines of the original's ``umx`` and ``test.py``.

``umx-tf song.mp3 --outdir DIR`` writes ``DIR/song/vocals.wav`` and so on, and without
``--outdir`` the folder ``song_umxl``, as ``umx`` does; the flags of 2019 work too.
Some flags that the original ignores have an effect: the name of the residual,
``--start`` without ``--duration``, and every file of several.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common import audio
from common.errors import exit_code
from common.overwriting import refuse_overwriting
from common.separation.command import Names, parse_files
from common.separation.files import separate_file
from common.separation.inputs import Part, output_names
from common.separation.outputs import Form, outputs_of
from common.separation.separator import SeparationError
from common.separation.summary import Summary
from common.startup import hide_gpus
from unmix.separate import add_filter_options, filter_options, load

FORM = Form("{source}", rate="model")
"""A folder of stems, at the rate of the model."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = parse_files(_parser(), sys.argv[1:] if argv is None else argv)
    return exit_code("separate", lambda: _main(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("umx-tf", description=__doc__)
    parser.set_defaults(named_input=[])
    add = parser.add_argument
    add("input", nargs="*", help="sound files of any format and rate")
    about = "a sound file (flag of 2019)"
    add("--input", dest="named_input", action="append", help=about)
    about = "name of a published model, or folder (default: umxl)"
    add("--model", default="umxl", help=about)
    add(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="networks to use (default: all)",
    )
    add("--outdir", help="folder of the results")
    add("--ext", default=".wav", help="suffix of the results (default: .wav)")
    about = "start of the part to separate, in seconds (default: 0)"
    add("--start", type=float, default=0.0, help=about)
    about = "length of the part to separate, in seconds (default: to the end)"
    add("--duration", type=float, help=about)
    add_filter_options(parser)
    add("--samplerate", type=int, help="rate of the model; others are refused")
    add("--no-cuda", action="store_true", help="use no GPU")
    add("--audio-backend", help="no effect: every format is read")
    add("--filterbank", default="torch", choices=["torch"])
    add("--verbose", action="store_true", help="no effect: warnings are always shown")
    add("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _main(options: argparse.Namespace) -> int:
    if options.no_cuda:
        hide_gpus()
    inputs = [Path(name) for name in (*options.input, *options.named_input)]
    if not inputs:
        raise SeparationError("no sound file is named; expected one or more")
    folders = _folders(inputs, options)
    format_ = _format(options.ext)
    separator = load(
        options.model,
        options.targets,
        **filter_options(options),
    )
    if options.samplerate not in (None, separator.sample_rate):
        raise SeparationError(
            f"--samplerate is {options.samplerate}, but the model works at "
            f"{separator.sample_rate} Hz; leave it out, files are resampled as needed"
        )
    stems = [
        stem
        for path, folder in folders.items()
        for stem in outputs_of(path, separator, folder, format_, form=FORM).paths
    ]
    refuse_overwriting(stems, inputs)
    part = _part(options)

    def one(path: Path) -> Summary:
        return separate_file(
            separator,
            path,
            folders[path],
            format=format_,
            overwrite=options.overwrite,
            form=FORM,
            part=part,
        )

    return _separate_all(list(folders), one)


def _folders(inputs: Sequence[Path], options: argparse.Namespace) -> dict[Path, Path]:
    """Return the folder of the stems of each file, as in the original."""
    names = output_names(inputs)
    if options.outdir:
        return {path: Path(options.outdir, name) for path, name in names.items()}
    model = Path(options.model).stem
    return {path: Path(f"{name}_{model}") for path, name in names.items()}


def _part(options: argparse.Namespace) -> Part:
    """Return the part of ``--start`` and ``--duration``; -1 is to the end."""
    to_the_end = options.duration in (None, -1.0)
    return Part(options.start, None if to_the_end else options.duration)


def _separate_all(inputs: Sequence[Path], separate: Callable[[Path], object]) -> int:
    """Separate files one after another; a failure does not stop the others.

    Args:
        inputs: Sound files.
        separate: Separates one and returns the line to print.

    Returns:
        0 if every file is done, else 1; 130 when interrupted.
    """

    def one(path: Path) -> int:
        sys.stdout.write(f"{separate(path)}\n")
        sys.stdout.flush()
        return 0

    codes = []
    for path in inputs:
        codes.append(exit_code("separate", lambda path=path: one(path)))  # type: ignore[misc]
        if codes[-1] not in (0, 1):
            break
    if any(codes) and len(inputs) > 1:
        sys.stderr.write(
            f"separate: {codes.count(0)} of {len(inputs)} files are done\n"
        )
    return max(codes)


def _format(ext: str) -> str:
    name = ext.lstrip(".").lower()
    if name not in audio.FORMATS:
        raise SeparationError(
            f"--ext is {ext!r}; expected one of "
            + ", ".join(f".{suffix}" for suffix in audio.FORMATS)
        )
    return name


if __name__ == "__main__":
    sys.exit(main())
