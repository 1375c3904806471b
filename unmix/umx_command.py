"""The original's command lines ``umx``, ``test.py`` in the words of this suite.

``python -m unmix.separate song.mp3 --outdir DIR`` writes ``DIR/song/vocals.wav`` and so
on, and without ``--outdir`` the folder ``song_umxl``, as ``umx`` does; the words of
2019 work too. What the original ignores is honoured: the name of the residual,
``--start`` without ``--duration``, every file of several.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common import audio
from common.errors import exit_code
from common.separation import SeparationError, Separator
from common.startup import hide_gpus
from common.stem_files import Form
from common.stem_summary import Summary
from common.stems import separate_file

MARKS = {
    "--outdir",
    "--ext",
    "--start",
    "--duration",
    "--no-cuda",
    "--audio-backend",
    "--filterbank",
    "--samplerate",
    "--input",
    "--verbose",
}
BLOCK_SECONDS = 10
logger = logging.getLogger(__name__)


def is_meant(argv: Sequence[str]) -> bool:
    """Say whether arguments are in the original's words.

    >>> is_meant(["song.mp3", "--outdir", "stems"])
    True
    >>> is_meant(["song.mp3", "--output", "stems"])
    False
    """
    return any(word.split("=")[0] in MARKS for word in argv)


def sums(text: str) -> dict[str, list[str]]:
    """Read the JSON of ``--aggregate``: new sources by the names of their parts.

    >>> sums('{"accompaniment": ["drums", "bass"]}')
    {'accompaniment': ['drums', 'bass']}
    """
    try:
        read = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    lists = isinstance(read, dict) and all(isinstance(v, list) for v in read.values())
    if not lists or not read:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no list of names by a name, such as {{"rest": ["drums"]}}'
        )
    return read


def main(load: Callable[..., Separator], argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("separate", lambda: _main(load, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("unmix.separate", description=__doc__)
    add = parser.add_argument
    add("input", nargs="*", help="sound files of any format and rate")
    add("--input", dest="one_input", help="a sound file (2019)")
    add("--model", default="umxl", help="publication, or folder (default: umxl)")
    add("--targets", nargs="+", help="networks to use, by default all")
    add("--outdir", help="folder of the results")
    add("--ext", default=".wav", help="suffix of the results (default: .wav)")
    add("--start", type=float, default=0.0, help="first second to separate")
    add("--duration", type=float, help="seconds to separate, by default to the end")
    add("--niter", type=int, default=1)
    add("--wiener-win-len", type=int, default=300)
    add("--softmask", action="store_true")
    add("--alpha", type=float, default=1.0)
    add("--logit", type=float)
    add("--residual", nargs="?", const=True, default=False)
    add("--aggregate", type=sums)
    add("--samplerate", type=int, help="must be the model's")
    add("--no-cuda", action="store_true", help="use no GPU")
    add("--audio-backend", help="no effect: every format is read")
    add("--filterbank", default="torch", choices=["torch"])
    add("--verbose", action="store_true", help="no effect: warnings are always shown")
    add("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _main(load: Callable[..., Separator], options: argparse.Namespace) -> int:
    if options.no_cuda:
        hide_gpus()
    inputs = [*options.input, *filter(None, [options.one_input])]
    if not inputs:
        raise SeparationError("no sound file is given; name one or more")
    format_ = _format(options.ext)
    separator = load(
        options.model,
        options.targets,
        options.niter,
        options.softmask,
        options.residual,
        options.wiener_win_len,
        options.aggregate,
        alpha=options.alpha,
        logit=options.logit,
    )
    if options.samplerate not in (None, separator.sample_rate):
        raise SeparationError(
            f"--samplerate is {options.samplerate}, but the model works at "
            f"{separator.sample_rate} Hz; leave it out, files are resampled as needed"
        )

    def one(path: Path) -> int:
        summary = _separate(separator, path, format_, options)
        sys.stdout.write(f"{summary}\n")
        sys.stdout.flush()
        return 0

    codes = [
        exit_code("separate", lambda path=path: one(Path(path)))  # type: ignore[misc]
        for path in inputs
    ]
    return max(codes)


def _separate(
    separator: Separator, path: Path, format_: str, options: argparse.Namespace
) -> Summary:
    """Write the stems of one file to the folder that the original would."""
    model = Path(options.model).stem
    folder = Path(f"{path.stem}_{model}")
    if options.outdir:
        folder = Path(options.outdir) / path.stem
    suffix = audio.FORMATS[format_].suffix
    files = [folder / f"{name}{suffix}" for name in separator.sources]
    there = [file for file in files if file.exists()]
    if there and not options.overwrite:
        raise SeparationError(f"{there[0]} exists; give --overwrite to replace it")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".separate-", dir=folder) as place:
        part = _part(path, Path(place), options)
        form = Form(rate="model")
        summary = separate_file(separator, part, place, format=format_, form=form)
        for file in files:
            (summary.folder / file.name).replace(file)
    return dataclasses.replace(summary, name=path.name, folder=folder)


def _part(path: Path, place: Path, options: argparse.Namespace) -> Path:
    """Cut out what is to be separated, if it is not all."""
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
    part = place / f"{path.stem}.wav"
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
            + ", ".join(f".{known}" for known in audio.FORMATS)
        )
    return name
