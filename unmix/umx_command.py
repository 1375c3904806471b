"""``umx-tf``: the command lines of the original's ``umx`` and ``test.py``.

``umx-tf song.mp3 --outdir DIR`` writes ``DIR/song/vocals.wav`` and so on, and without
``--outdir`` the folder ``song_umxl``, as ``umx`` does; the flags of 2019 work too. What
the original ignores has an effect here: the name of the residual, ``--start`` without
``--duration``, every file of several.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import audio
from common.errors import exit_code
from common.files import refuse_overwriting
from common.separation.command import Names, separate_all
from common.separation.files import separate_file
from common.separation.outputs import Form, output_names, stem_paths, working_folder
from common.separation.separator import SeparationError, Separator
from common.separation.summary import Summary
from common.startup import hide_gpus
from unmix.separate import add_filter_options, filter_options, load

BLOCK_SECONDS = 10
FORM = Form("{source}", rate="model")
"""A folder of stems, at the rate of the model."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_intermixed_args(argv)
    return exit_code("separate", lambda: _main(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("umx-tf", description=__doc__)
    parser.set_defaults(named_input=[])
    add = parser.add_argument
    add("input", nargs="*", help="sound files of any format and rate")
    add("--input", dest="named_input", action="append", help="a sound file (2019)")
    add("--model", default="umxl", help="publication, or folder (default: umxl)")
    add(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="networks to use, by default all",
    )
    add("--outdir", help="folder of the results")
    add("--ext", default=".wav", help="suffix of the results (default: .wav)")
    add("--start", type=float, default=0.0, help="first second to separate")
    add("--duration", type=float, help="seconds to separate, by default to the end")
    add_filter_options(parser)
    add("--samplerate", type=int, help="must be the model's")
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
        for stem in stem_paths(separator, path, folder, format_, None, FORM).values()
    ]
    refuse_overwriting(stems, inputs)
    return separate_all(
        list(folders),
        lambda path: _separate(separator, path, folders[path], format_, options),
    )


def _folders(inputs: Sequence[Path], options: argparse.Namespace) -> dict[Path, Path]:
    """Folder of the stems of each file, where the original would put them."""
    names = output_names(inputs)
    if options.outdir:
        return {path: Path(options.outdir, name) for path, name in names.items()}
    model = Path(options.model).stem
    return {path: Path(f"{name}_{model}") for path, name in names.items()}


def _separate(
    separator: Separator,
    path: Path,
    folder: Path,
    format_: str,
    options: argparse.Namespace,
) -> Summary:
    with working_folder(folder) as hidden:
        summary = separate_file(
            separator,
            _part(path, hidden, options),
            folder,
            format=format_,
            overwrite=options.overwrite,
            form=FORM,
        )
    return dataclasses.replace(summary, name=path.name)


def _part(path: Path, work: Path, options: argparse.Namespace) -> Path:
    """Write the part of a file that ``--start`` and ``--duration`` name, if they do."""
    if options.start == 0.0 and options.duration in (None, -1.0):
        return path
    info = audio.probe(path)
    start = round(options.start * info.sample_rate)
    seconds = -1.0 if options.duration is None else options.duration
    rest = info.samples - start
    samples = rest if seconds < 0 else min(rest, round(seconds * info.sample_rate))
    if start < 0 or samples < 1:
        raise SeparationError(
            f"--start {options.start:g} and --duration {seconds:g} leave nothing of "
            f"{path}, which lasts {info.samples / info.sample_rate:.2f} s"
        )
    part = work / f"{path.stem}.wav"
    with audio.Writer(part, info.sample_rate, info.channels) as writer:
        blocks = audio.blocks(path, BLOCK_SECONDS * info.sample_rate, start, samples)
        for block in blocks:
            writer.write(np.asarray(block))
    return part


def _format(ext: str) -> str:
    name = ext.lstrip(".").lower()
    if name not in audio.FORMATS:
        raise SeparationError(
            f"--ext is {ext!r}; expected one of "
            + ", ".join(f".{each}" for each in audio.FORMATS)
        )
    return name


if __name__ == "__main__":
    sys.exit(main())
