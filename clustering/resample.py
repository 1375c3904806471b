"""Resample a tree of sounds: ``python -m clustering.resample``.

``--input-path MUSIC --output-path MUSIC16 --sample-rate 16000`` writes a sound for each
sound below the folder, of any container, under the same path. A result gets the
modification time of its sound. Results with that time and the right length are kept, so
that the same command continues after a kill.
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
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import user_path
from common.overwriting import holds

TIME_STEP = 2.0
"""Resolution of file times in seconds; FAT stores even ones."""


def convert(source: Path, target: Path, sample_rate: int, audio_format: str) -> str:
    """Write a sound at another rate, in chunks, unless an earlier run did.

    Args:
        source: The file to read.
        target: The file to write, atomically.
        sample_rate: New rate, in Hz.
        audio_format: A key of ``audio.FORMATS``.

    Returns:
        ``"done"``, ``"clipped"`` if an integer format clipped peaks, or ``"kept"``.

    Raises:
        AudioError: The file cannot be read, or not be written in that format.
    """
    info = audio.probe(source)
    samples = -(-info.samples * sample_rate // info.sample_rate)
    if _is_done(source, target, sample_rate, samples, audio_format):
        return "kept"
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = ResampleStream(info.sample_rate, sample_rate, info.channels)
    nothing = np.zeros((info.channels, 0), np.float32)
    peak = 0.0
    with audio.Writer(target, sample_rate, info.channels, audio_format) as writer:
        for chunk in audio.blocks(source, audio.CHUNK_SAMPLES):
            peak = max(peak, _write(writer, stream.push(chunk)))
        peak = max(peak, _write(writer, stream.push(nothing, last=True)))
    os.utime(target, (target.stat().st_atime, source.stat().st_mtime))
    return "clipped" if peak > 1.0 and audio.FORMATS[audio_format].bits else "done"


def tree(
    source: Path,
    target: Path,
    sample_rate: int,
    *,
    audio_format: str = "wav",
    suffixes: Sequence[str] = audio.SUFFIXES,
    workers: int = 1,
) -> Counter[str]:
    """Write all sounds of a tree at another rate.

    Args:
        source: Folder, searched to any depth.
        target: Folder of the results, with the same folders in it.
        sample_rate: In Hz.
        audio_format: A key of ``audio.FORMATS``.
        suffixes: Suffixes of sounds.
        workers: Number of files at once.

    Returns:
        The numbers of ``done``, ``clipped`` and ``kept`` files.

    Raises:
        CorpusError: There is no sound, two would get one name, one folder is inside the
            other, or files could not be converted, after all others were.
    """
    pairs = _pairs(user_path(source), user_path(target), audio_format, suffixes)
    if sample_rate < 1 or workers < 1:
        raise CorpusError(
            f"--sample-rate is {sample_rate} and --num-workers {workers}; both must be "
            "1 or more."
        )
    with ThreadPoolExecutor(workers) as pool:
        run = partial(_try, sample_rate=sample_rate, audio_format=audio_format)
        results = pool.map(run, pairs.values(), pairs)
        states = list(tqdm(results, "resample", len(pairs), disable=None, leave=False))
    failed = [state for state in states if isinstance(state, Exception)]
    if failed:
        raise CorpusError(
            f"{len(failed)} of {len(pairs)} sounds could not be resampled, first: "
            f"{failed[0]}"
        )
    return Counter(state for state in states if isinstance(state, str))


def _try(
    source: Path, target: Path, *, sample_rate: int, audio_format: str
) -> str | Exception:
    try:
        return convert(source, target, sample_rate, audio_format)
    except (ValueError, OSError) as error:
        return error


def _write(writer: audio.Writer, chunk: np.ndarray) -> float:
    """Write a chunk and return its peak."""
    if not chunk.shape[1]:
        return 0.0
    writer.write(chunk)
    return float(np.max(np.abs(chunk)))


def _is_done(
    source: Path, target: Path, sample_rate: int, samples: int, audio_format: str
) -> bool:
    """Whether a file has the time of its sound, the rate, the length and the format."""
    if not target.is_file():
        return False
    # A sound that replaced another one may be older than the result.
    elapsed = target.stat().st_mtime - source.stat().st_mtime
    if abs(elapsed) > TIME_STEP:
        return False
    info = audio.probe(target)
    is_alike = info.sample_rate == sample_rate and info.samples == samples
    return is_alike and audio.format_of(target) == audio_format


def _pairs(
    source: Path, target: Path, audio_format: str, suffixes: Iterable[str]
) -> Mapping[Path, Path]:
    """Return the sounds by the files to write."""
    if not source.is_dir():
        raise CorpusError(f"--input-path {source} is no folder; check its name.")
    if holds(source, target) or holds(target, source):
        raise CorpusError(
            f"--output-path {target} and --input-path {source} overlap; name "
            "a separate folder."
        )
    endings = tuple(suffix.lower() for suffix in suffixes)
    pairs: dict[Path, Path] = {}
    for file in sound_files.sounds_below(source, endings):
        output = target / file.relative_to(source)
        output = output.with_name(f"{file.stem}{audio.FORMATS[audio_format].suffix}")
        if output in pairs:
            raise CorpusError(
                f"{pairs[output]} and {file} would both become {output.name}; rename "
                "one, or choose one suffix with --audio-extensions."
            )
        pairs[output] = file
    if not pairs:
        raise CorpusError(
            f"--input-path {source} holds no sound ({' '.join(endings)}) at any depth; "
            "check it, and --audio-extensions."
        )
    return pairs


def main(argv: Sequence[str] | None = None) -> int:
    """Resample a tree of sounds; return the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.resample", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    counts = tree(
        options.input_path,
        options.output_path,
        options.sample_rate,
        audio_format=options.format,
        suffixes=options.audio_extensions,
        workers=options.num_workers,
    )
    written = counts["done"] + counts["clipped"]
    sys.stdout.write(
        f"{options.output_path}: {written} sounds at {options.sample_rate} Hz, "
        f"{counts['kept']} were done before\n"
    )
    if counts["clipped"]:
        sys.stderr.write(
            f"peaks of {counts['clipped']} sounds passed full scale and were clipped; "
            "--format wav keeps them\n"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clustering.resample", description=__doc__)
    add = parser.add_argument
    about = "folder of the sounds"
    add("--input-path", "--input_path", type=Path, required=True, help=about)
    about = "folder to write"
    add("--output-path", "--output_path", type=Path, required=True, help=about)
    about = "rate of the results in Hz"
    add("--sample-rate", "--sample_rate", type=int, required=True, help=about)
    about = "files at the same time (default: 1)"
    add("--num-workers", "--num_workers", type=int, default=1, help=about)
    about = "format of the results; wav is 32-bit float (default: wav)"
    add("--format", default="wav", choices=list(audio.FORMATS), help=about)
    add(
        *("--audio-extensions", "--audio_extensions"),
        nargs="+",
        default=audio.SUFFIXES,
        help="suffixes of the files to convert",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
