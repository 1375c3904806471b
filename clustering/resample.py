"""A tree of sounds at another rate: ``python -m clustering.resample``.

``--input-path MUSIC --output-path MUSIC16 --sample-rate 16000`` writes a sound for each
sound below the folder, of any container, under the same path. A result has the time of
its sound; where it has that and the right length already, it is left alone, so that the
same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common import audio
from common.audio.resample import ResampleStream
from common.corpora import sound_files
from common.corpora.recordings import SUFFIXES
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import holds, user_path

TIME_STEP = 2.0
"""Seconds to which every file system keeps times; FAT keeps even ones."""


def convert(source: Path, target: Path, sample_rate: int, kind: str) -> str:
    """Write a sound at another rate, block after block, unless that was done before.

    Args:
        source: The file to read.
        target: The file to write, whole or not at all.
        sample_rate: Rate that it gets, in Hz.
        kind: A key of ``audio.FORMATS``.

    Returns:
        ``"done"``, ``"clipped"`` where an integer format cut peaks off, or ``"there"``.

    Raises:
        AudioError: The file cannot be read, or not be written in that format.
    """
    info = audio.probe(source)
    samples = -(-info.samples * sample_rate // info.sample_rate)
    if _is_there(source, target, sample_rate, samples):
        return "there"
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = ResampleStream(info.sample_rate, sample_rate, info.channels)
    nothing = np.zeros((info.channels, 0), np.float32)
    peak = 0.0
    with audio.Writer(target, sample_rate, info.channels, kind) as writer:
        for block in audio.blocks(source, audio.CHUNK_SAMPLES):
            peak = max(peak, _write(writer, stream.push(block)))
        peak = max(peak, _write(writer, stream.push(nothing, last=True)))
    os.utime(target, (target.stat().st_atime, source.stat().st_mtime))
    return "clipped" if peak > 1.0 and audio.FORMATS[kind].bits else "done"


def tree(
    source: Path,
    target: Path,
    sample_rate: int,
    *,
    kind: str = "wav",
    suffixes: Sequence[str] = SUFFIXES,
    workers: int = 1,
) -> Counter[str]:
    """Write all sounds of a tree at another rate.

    Args:
        source: Folder, searched to any depth.
        target: Folder of the results, with the same folders in it.
        sample_rate: In Hz.
        kind: Format, a key of ``audio.FORMATS``.
        suffixes: What is taken for a sound.
        workers: Files at once.

    Returns:
        How many were ``done``, ``clipped`` or ``there`` already.

    Raises:
        CorpusError: There is no sound, two would get one name, one folder lies in the
            other, or files could not be converted; all others are then.
    """
    pairs = _pairs(user_path(source), user_path(target), kind, suffixes)
    if sample_rate < 1 or workers < 1:
        raise CorpusError(
            f"--sample-rate is {sample_rate} and --num-workers {workers}; both must be "
            "1 or more."
        )
    with ThreadPoolExecutor(workers) as pool:
        run = partial(_tried, sample_rate=sample_rate, kind=kind)
        results = pool.map(run, pairs.values(), pairs)
        told = list(tqdm(results, "resample", len(pairs), disable=None, leave=False))
    failed = [each for each in told if isinstance(each, Exception)]
    if failed:
        raise CorpusError(
            f"{len(failed)} of {len(pairs)} sounds could not be resampled, first: "
            f"{failed[0]}"
        )
    return Counter(each for each in told if isinstance(each, str))


def _tried(
    source: Path, target: Path, *, sample_rate: int, kind: str
) -> str | Exception:
    try:
        return convert(source, target, sample_rate, kind)
    except (ValueError, OSError) as error:
        return error


def _write(writer: audio.Writer, block: np.ndarray) -> float:
    """Write a block and tell its peak."""
    if not block.shape[1]:
        return 0.0
    writer.write(block)
    return float(np.max(np.abs(block)))


def _is_there(source: Path, target: Path, sample_rate: int, samples: int) -> bool:
    """Whether a result has the time of its sound, that rate and the same length."""
    if not target.is_file():
        return False
    # A sound that was put in the place of another one may be older than its result.
    elapsed = target.stat().st_mtime - source.stat().st_mtime
    if abs(elapsed) > TIME_STEP:
        return False
    there = audio.probe(target)
    return there.sample_rate == sample_rate and there.samples == samples


def _pairs(
    source: Path, target: Path, kind: str, suffixes: Iterable[str]
) -> Mapping[Path, Path]:
    """Each sound by the file that it is written to."""
    if not source.is_dir():
        raise CorpusError(f"--input-path {source} is no folder; check its name.")
    if holds(source, target) or holds(target, source):
        raise CorpusError(
            f"--output-path {target} and --input-path {source} lie in one another; "
            "name a folder beside."
        )
    wanted = tuple(suffix.lower() for suffix in suffixes)
    pairs: dict[Path, Path] = {}
    for file in sound_files.sounds_below(source, wanted):
        place = target / file.relative_to(source)
        place = place.with_name(f"{file.stem}{audio.FORMATS[kind].suffix}")
        if place in pairs:
            raise CorpusError(
                f"{pairs[place]} and {file} would both become {place.name}; rename "
                "one, or choose one kind with --audio-extensions."
            )
        pairs[place] = file
    if not pairs:
        raise CorpusError(
            f"--input-path {source} holds no sound ({' '.join(wanted)}) at any depth."
        )
    return pairs


def main(argv: Sequence[str] | None = None) -> int:
    """Resample a tree of sounds; returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.resample", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    counts = tree(
        options.input_path,
        options.output_path,
        options.sample_rate,
        kind=options.format,
        suffixes=options.audio_extensions,
        workers=options.num_workers,
    )
    written = counts["done"] + counts["clipped"]
    sys.stdout.write(
        f"{options.output_path}: {written} sounds at {options.sample_rate} Hz, "
        f"{counts['there']} were there already\n"
    )
    if counts["clipped"]:
        sys.stderr.write(
            f"peaks of {counts['clipped']} sounds passed full scale and were cut off; "
            "--format wav keeps them\n"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clustering.resample", description=__doc__)
    add = parser.add_argument
    add("--input-path", "--input_path", type=Path, required=True, help="folder")
    add("--output-path", "--output_path", type=Path, required=True, help="folder")
    add("--sample-rate", "--sample_rate", type=int, required=True, help="in Hz")
    add("--num-workers", "--num_workers", type=int, default=1, help="files at once")
    add("--format", default="wav", choices=list(audio.FORMATS), help="wav is float")
    add(
        *("--audio-extensions", "--audio_extensions"),
        nargs="+",
        default=SUFFIXES,
        help="endings of the files to convert",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
