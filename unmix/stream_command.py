"""The words of ``python -m unmix.separate --stream``.

``... --stream --model DIR --targets vocals < in.raw > out.raw`` reads raw samples from
standard input and writes those of the sources to standard output, the channels of each
source after those of the one before.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from common.errors import exit_code
from common.separation.command import add_checkpoint
from common.separation.outputs import check_targets
from common.separation.separator import SeparationError, Separator
from unmix.source_options import sums
from unmix.stream import FEW, Stream

FORMATS: dict[str, np.dtype] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Kinds of raw samples, by the names that ffmpeg gives them."""
FULL_SCALE = 32768


@dataclass
class Tally:
    """What has gone through a stream.

    Attributes:
        samples: Samples of each channel.
        left_over: Bytes at the end that are no sample of all channels.
        seconds: Time that the computing took.
        clipped: Samples beyond full scale that an integer format cut.
    """

    samples: int = 0
    left_over: int = 0
    seconds: float = 0.0
    clipped: int = 0


def pump(
    stream: Stream,
    names: Sequence[str],
    formats: tuple[str, str],
    source: BinaryIO,
    sink: BinaryIO,
) -> Tally:
    """Separate raw samples until they end.

    Args:
        stream: The new stream.
        names: Names of the sources to write, in this order.
        formats: Of the samples read and of those written, see :data:`FORMATS`.
        source: Read as bytes come; its channels are interleaved.
        sink: Written, and flushed, as soon as samples are certain.

    Returns:
        What has gone through.
    """
    rows = [stream.sources.index(name) for name in names]
    tally = Tally()

    def run(work: Callable[..., np.ndarray], *block: np.ndarray) -> None:
        start = time.perf_counter()
        estimates = work(*block)[rows]
        tally.seconds += time.perf_counter() - start
        sink.write(_encoded(estimates, FORMATS[formats[1]], tally))
        sink.flush()

    for block in _blocks(source, stream, FORMATS[formats[0]], tally):
        run(stream.push, block)
    run(stream.flush)
    return tally


def _blocks(
    source: BinaryIO, stream: Stream, kind: np.dtype, tally: Tally
) -> Iterator[np.ndarray]:
    """Read blocks [channels, samples] of whatever lengths are there."""
    width, rest = stream.channels * kind.itemsize, b""
    while piece := source.read1(FEW * stream.hop_samples * width):  # type: ignore[attr-defined]
        rest += piece
        samples = len(rest) // width
        frames = np.frombuffer(rest, kind, samples * stream.channels)
        rest = rest[samples * width :]
        tally.samples, tally.left_over = tally.samples + samples, len(rest)
        scale = FULL_SCALE if kind.kind == "i" else 1
        block = frames.reshape(samples, stream.channels).T / np.float32(scale)
        yield block.astype(np.float32, copy=False)


def _encoded(estimates: np.ndarray, kind: np.dtype, tally: Tally) -> bytes:
    """Interleave the channels of all sources."""
    frames = estimates.reshape(-1, estimates.shape[-1]).T
    if kind.kind == "i":
        tally.clipped += int(np.count_nonzero(np.abs(frames) > 1))
        steps = np.rint(frames * np.float32(FULL_SCALE))
        frames = np.clip(steps, -FULL_SCALE, FULL_SCALE - 1)
    return frames.astype(kind).tobytes()


def main(load: Callable[..., Separator], argv: Sequence[str]) -> int:
    """Separate standard input to standard output; returns the exit code."""
    options = _parser().parse_args(argv)
    words = [word.split(",") for word in options.targets or ()]
    options.targets = [name for word in words for name in word if name] or None
    return exit_code("separate", lambda: _main(load, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("unmix.separate --stream", description=__doc__)
    add = parser.add_argument
    add("--stream", action="store_true", help="separate standard input as it comes")
    add("--model", required=True, help="run folder, or folder of the original")
    add_checkpoint(parser)
    add(
        "--targets",
        nargs="+",
        metavar="SOURCE,...",
        help="write these only, in this order (default: all)",
    )
    add(
        "--aggregate",
        type=sums,
        metavar="JSON",
        help="write sums, as for files",
    )
    add("--residual", nargs="?", const=True, default=False, metavar="NAME")
    add("--softmask", action="store_true", help="begin with shares of the mixture")
    add("--niter", type=int, default=0, help="rounds of the filter (default: 0)")
    add(
        "--wiener-win-len",
        type=int,
        default=300,
        metavar="FRAMES",
        help="frames that the filter waits for (default: %(default)s)",
    )
    add(
        "--format-in",
        choices=FORMATS,
        default="s16le",
        help="of the samples read (default: %(default)s)",
    )
    add("--format-out", choices=FORMATS, help="of those written (default: the same)")
    add("--rate", type=int, metavar="HZ", help="must be the model's (default)")
    add("--channels", type=int, default=2, help="channels read, 1 or 2 (default: 2)")
    return parser


def _main(load: Callable[..., Separator], options: argparse.Namespace) -> int:
    if sys.stdout.isatty():
        raise SeparationError(
            "standard output is a terminal, which cannot show samples; write to a file "
            "or to a player, such as > vocals.raw"
        )
    # Networks that have no part in what is written are left out.
    joint = options.niter or options.softmask or options.residual or options.aggregate
    separator = load(
        options.model,
        None if joint else options.targets,
        options.niter,
        options.softmask,
        options.residual,
        options.wiener_win_len,
        options.aggregate,
        checkpoint=options.checkpoint,
    )
    if options.rate not in (None, separator.sample_rate):
        raise SeparationError(
            f"--rate is {options.rate}, but the model works at {separator.sample_rate} "
            "Hz; convert the sound before, such as by ffmpeg -ar "
            f"{separator.sample_rate}"
        )
    check_targets(separator, options.targets)
    stream = Stream(separator, options.channels)
    compile_ahead(separator, options.channels)
    names = options.targets or stream.sources
    _say(f"{', '.join(names)} of {_description(stream)}")
    formats = options.format_in, options.format_out or options.format_in
    try:
        tally = pump(stream, names, formats, sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError as error:
        # Else Python would stumble over the closed pipe once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SeparationError(
            "standard output was closed before the sound ended"
        ) from error
    return _end(tally, stream)


def compile_ahead(separator: Separator, channels: int) -> None:
    """Compile what a stream will need, so that its sound does not wait for it."""
    stream = Stream(separator, channels)
    one, few = stream.window_samples // 2 + 1, FEW * stream.hop_samples
    for samples in (one, few, stream.hop_samples, stream.latency_samples):
        stream.push(np.zeros([channels, samples], np.float32))


def _description(stream: Stream) -> str:
    """Tell the shape and the latency of a stream."""
    window, latency = (
        1000 * samples / stream.sample_rate
        for samples in (stream.window_samples, stream.latency_samples)
    )
    hops = (stream.latency_samples - stream.window_samples) // stream.hop_samples
    waiting = "a hop" if hops == 1 else f"{hops} hops"
    return (
        f"{stream.channels} channels at {stream.sample_rate} Hz: latency at most "
        f"{latency:.1f} ms (window {window:.1f} ms and {waiting} of "
        f"{(latency - window) / hops:.1f} ms) and the time to compute"
    )


def _end(tally: Tally, stream: Stream) -> int:
    """Tell what has gone through; returns the exit code."""
    seconds = tally.samples / stream.sample_rate
    clipped = f", {tally.clipped} samples clipped" if tally.clipped else ""
    _say(
        f"{seconds:.2f} s computed in {tally.seconds:.2f} s, real-time factor "
        f"{tally.seconds / seconds:.3f}{clipped}"
    )
    if tally.left_over:
        raise SeparationError(
            f"standard input ended {tally.left_over} bytes after its last sample of "
            f"{stream.channels} channels; it was cut off, or --format-in or --channels "
            "is another"
        )
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"separate: {line}\n")
    sys.stderr.flush()
