"""Streaming separation by unidirectional networks, while the sound arrives.

The estimates equal those of the whole sound, for any lengths of the blocks.
``python -m unmix.separate --stream --model DIR --targets vocals < in.raw > out.raw``
reads raw samples from standard input and writes those of the sources to standard
output, with the channels of the sources one after the other.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, final

import numpy as np
import tensorflow as tf

from common.audio.encoding import FORMATS
from common.audio.pipes import PLAIN, RAW_TYPES, decoded, encoded
from common.separation.outputs import check_targets
from common.separation.separator import SeparationError, Separator
from common.signal.framing import COVERED
from unmix.filtering.ending import steady_ending
from unmix.filtering.two_pass import TwoPassSeparator

FEW, MANY = 16, 256
"""Sizes of a chunk in frames besides one; each is compiled once."""


@final
class Stream:
    """Separation of one sound that arrives in blocks.

    The joined estimates equal ``separator(mixture)`` in one segment. A sample is
    returned when no later input can change it, after at most ``latency_samples`` if no
    block is longer than a hop of the networks.

    Args:
        separator: From :func:`unmix.load` with unidirectional networks, preferably with
            ``niter=0``; otherwise the filter waits until its windows are full.
        channels: Channels of the blocks, 1 or 2.

    Attributes:
        sources: Names of the sources.
        sample_rate: Rate in Hz.
        channels: Channels of the blocks and of each source.
        window_samples: Length of a frame of the networks.
        hop_samples: Distance between frames.
        latency_samples: Largest delay of the estimates, in samples.

    Raises:
        SeparationError: The networks have two directions, or the filter has no windows.
    """

    def __init__(self, separator: Separator, channels: int = 2) -> None:
        self._network = _network(separator)
        if channels not in (1, 2):
            raise SeparationError(
                f"the stream has {channels} channels; expected 1 or 2, so separate "
                "more of them in pairs"
            )
        config = self._network.config
        self.sources, self.sample_rate = separator.sources, separator.sample_rate
        self.window_samples, self.hop_samples = (
            config.window_samples,
            config.hop_samples,
        )
        self.channels, self._half = channels, config.window_samples // 2
        # Frames in a window of the filter; without the filter, one.
        self._together = self._network.window if self._network.options.niter else None
        waiting = (self._together or 1) * config.hop_samples
        self.latency_samples = self.window_samples + waiting
        self._states = [stack.initial_state(1) for stack in self._network.stacks]
        self._received, self._frames, self._ended = 0, 0, False
        inside = max(channels, config.channels)
        # Samples from the first pending frame on.
        self._newest = self._ahead = np.zeros([inside, 0], np.float32)
        # Sum of the finished frames, and of their squared windows.
        self._summed = np.zeros([len(self.sources), inside, 0], np.float32)
        self._cover = np.zeros(0)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Process a block, and return the samples that no later one can change.

        Args:
            block: Float [channels, samples] of any length, full scale +-1.

        Returns:
            Float32 [sources, channels, samples], of any length including 0.

        Raises:
            SeparationError: The block does not fit or is not finite, or the stream has
                ended.
        """
        block, begun = self._checked(block), self._received > self._half
        self._received += block.shape[1]
        self._newest = np.concatenate([self._newest, block], axis=1)
        if not begun and self._received > self._half:
            block = np.pad(self._newest, [(0, 0), (self._half, 0)], mode="reflect")
        if self._received > self._half:
            self._ahead = np.concatenate([self._ahead, block], axis=1)
        # A copy, because a view would keep a long block in memory.
        self._newest = self._newest[:, -self._half - 1 :].copy()
        ready = max(0, self._ahead.shape[1] - self.window_samples + self.hop_samples)
        ready //= self.hop_samples
        return self._run(ready - ready % (self._together or 1))

    def flush(self) -> np.ndarray:
        """End the stream.

        Returns:
            The remaining samples [sources, channels, samples], so that as many are
            returned in all as were pushed.

        Raises:
            SeparationError: The stream had no samples, or has ended before.
        """
        self._require_open()
        if not self._received:
            raise SeparationError("the mixture has no samples; give at least one")
        self._ended, half = True, self._half
        last = newest = self._newest
        pads = [(0, 0), (0, half)]
        if self._received <= half:
            # A sound too short for the padding is extended by zeros, as in one pass.
            newest = np.pad(newest, [(0, 0), (0, half + 1 - self._received)])
            self._ahead = np.pad(newest, [(0, 0), (half, 0)], mode="reflect")
        reflected = np.pad(newest, pads, mode="reflect")[:, half + 1 :]
        self._ahead = np.concatenate([self._ahead, reflected], axis=1)
        made = self._run(1 + self._received // self.hop_samples - self._frames)
        end = half + self._received
        rest = self._taken(max(0, end - self._frames * self.hop_samples))
        surplus = max(0, self._frames * self.hop_samples - end)
        made = made[..., : made.shape[-1] - surplus]
        estimates = np.concatenate([made, rest], axis=-1)
        steady_ending(
            estimates[..., -last.shape[1] :],
            last[: self.channels, -estimates.shape[-1] :],
            self._network.hann,
            self.hop_samples,
            self._received,
        )
        return estimates

    def _run(self, frames: int) -> np.ndarray:
        """Separate the next frames; return the samples that no later one covers."""
        done = [np.zeros([len(self.sources), self.channels, 0], np.float32)]
        for count, size in self._chunks(frames):
            self._add(self._estimates(count, size), count)
            done.append(self._taken(count * self.hop_samples))
            self._ahead = self._ahead[:, count * self.hop_samples :]
            self._frames += count
        self._ahead = self._ahead.copy()
        return np.concatenate(done, axis=-1)

    def _chunks(self, frames: int) -> Iterator[tuple[int, int]]:
        """Yield the number of frames of each chunk, and its padded size.

        Only the last chunk is padded, after which no state is needed.
        """
        while frames:
            fitting = (count for count in (MANY, FEW, 1) if count <= frames)
            size = self._together or next(fitting)
            count = min(size, frames)
            yield count, size
            frames -= count

    def _estimates(self, count: int, size: int) -> np.ndarray:
        """Separate the first pending frames, windowed and overlapped."""
        network = self._network
        samples = (size - 1) * self.hop_samples + self.window_samples
        ahead = self._ahead[:, :samples]
        chunk = tf.constant(np.pad(ahead, [(0, 0), (0, samples - ahead.shape[1])]))
        made, self._states = network.step(chunk, self._states, tf.constant(count))
        made = made.numpy()
        if not np.isfinite(made).all():
            raise SeparationError(
                "the network returned estimates that are not finite; its weights or "
                "the level of the mixture are broken"
            )
        return made[..., : (count - 1) * self.hop_samples + self.window_samples]

    def _add(self, made: np.ndarray, count: int) -> None:
        """Add frames to the earlier ones, and their squared windows."""
        missing = made.shape[-1] - self._summed.shape[-1]
        made[..., : self._summed.shape[-1]] += self._summed
        self._summed, self._cover = made, np.pad(self._cover, [(0, missing)])
        squared = np.square(self._network.hann, dtype=np.float64)
        for start in range(0, count * self.hop_samples, self.hop_samples):
            self._cover[start : start + self.window_samples] += squared

    def _taken(self, samples: int) -> np.ndarray:
        """Remove the first samples of the sum; return those that are not padding."""
        missing = max(0, samples - self._summed.shape[-1])
        summed = np.pad(self._summed, [(0, 0), (0, 0), (0, missing)])
        cover = np.pad(self._cover, [(0, missing)])
        self._summed, self._cover = summed[..., samples:], cover[samples:]
        divisor = np.where(cover > COVERED, cover, 1.0).astype(np.float32)
        before = max(0, self._half - self._frames * self.hop_samples)
        made = (summed / divisor)[..., before:samples]
        # A single channel was separated as two equal ones.
        return made if made.shape[1] == self.channels else made.mean(1, keepdims=True)

    def _checked(self, block: np.ndarray) -> np.ndarray:
        self._require_open()
        block = np.asarray(block)
        if block.ndim != 2 or len(block) != self.channels:
            raise SeparationError(
                f"the block has shape {block.shape}; expected [channels, samples] with "
                f"{self.channels} channels"
            )
        if not np.issubdtype(block.dtype, np.floating):
            raise SeparationError(
                f"the block is {block.dtype}; expected floats of full scale +-1, such "
                "as int16 samples divided by 32768"
            )
        finite = np.isfinite(block).all(0)
        if not finite.all():
            raise SeparationError(
                f"sample {self._received + int(np.argmin(finite))} of the mixture is "
                "NaN or infinite; repair the sound first"
            )
        block = block.astype(np.float32, copy=False)
        return np.repeat(block, len(self._newest) // self.channels, axis=0)

    def _require_open(self) -> None:
        if self._ended:
            raise SeparationError("the stream has ended; make a new one")


def _network(separator: Separator) -> TwoPassSeparator:
    """Return the networks of a separator if they can run as a stream."""
    network = separator.network
    if not isinstance(network, TwoPassSeparator):
        raise SeparationError("expected a separator made by unmix.load")
    if network.config.bidirectional:
        raise SeparationError(
            "the networks have two directions, of which one begins at the end of the "
            "sound; a stream needs networks trained with model.bidirectional=false"
        )
    if network.options.niter and not network.window:
        raise SeparationError(
            "the filter takes the whole sound, which a stream never has; set niter=0, "
            "or wiener_win_len to a number of frames"
        )
    return network


@dataclass
class Tally:
    """Counts of a stream.

    Attributes:
        samples: Samples of each channel.
        left_over: Bytes at the end that are not a sample of all channels.
        seconds: Time that the separation took.
        clipped: Samples beyond full scale that an integer format clipped.
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
        formats: Formats of the samples to read and to write, keys of `RAW_TYPES`.
        source: Input with interleaved channels.
        sink: Output, flushed as soon as samples are complete.

    Returns:
        The counts.
    """
    rows = [stream.sources.index(name) for name in names]
    format_in, format_out = (FORMATS[RAW_TYPES[name]] for name in formats)
    tally = Tally()

    def run(work: Callable[..., np.ndarray], *block: np.ndarray) -> None:
        start = time.perf_counter()
        estimates = work(*block)[rows]
        tally.seconds += time.perf_counter() - start
        channels = estimates.reshape(-1, estimates.shape[-1])
        data, clipped = encoded(channels, format_out.bits)
        tally.clipped += clipped
        sink.write(data)
        sink.flush()

    for block in _blocks(source, stream, format_in.subtype, tally):
        run(stream.push, block)
    run(stream.flush)
    return tally


def _blocks(
    source: BinaryIO, stream: Stream, subtype: str, tally: Tally
) -> Iterator[np.ndarray]:
    """Read blocks [channels, samples] of the lengths that arrive."""
    width, rest = stream.channels * PLAIN[subtype], b""
    while received := source.read1(FEW * stream.hop_samples * width):  # type: ignore[attr-defined]
        rest += received
        samples = len(rest) // width
        block = decoded(rest[: samples * width], stream.channels, subtype)
        rest = rest[samples * width :]
        tally.samples, tally.left_over = tally.samples + samples, len(rest)
        yield block


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the raw samples."""
    add = parser.add_argument
    add(
        "--format-in",
        choices=RAW_TYPES,
        default="s16le",
        help="of the samples read (default: %(default)s)",
    )
    add("--format-out", choices=RAW_TYPES, help="of those written (default: the same)")
    add("--rate", type=int, metavar="HZ", help="must be the model's (default)")
    add("--channels", type=int, default=2, help="channels read, 1 or 2 (default: 2)")


def run(separator: Separator, options: argparse.Namespace) -> int:
    """Separate standard input to standard output.

    Args:
        separator: Separator with unidirectional networks.
        options: Options of :func:`add_options`, and ``targets`` to write.

    Returns:
        The exit code.

    Raises:
        SeparationError: The options do not fit the model, or input or output broke off.
    """
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
        # Otherwise Python would fail on the closed pipe again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SeparationError(
            "standard output was closed before the sound ended"
        ) from error
    return _end(tally, stream)


def compile_ahead(separator: Separator, channels: int) -> None:
    """Compile the graphs of a stream, so that its sound does not wait for them."""
    stream = Stream(separator, channels)
    one, few = stream.window_samples // 2 + 1, FEW * stream.hop_samples
    for samples in (one, few, stream.hop_samples, stream.latency_samples):
        stream.push(np.zeros([channels, samples], np.float32))


def _description(stream: Stream) -> str:
    """Describe the format and the latency of a stream."""
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
    """Report the counts; return the exit code."""
    seconds = tally.samples / stream.sample_rate
    clipped = f", {tally.clipped} samples clipped" if tally.clipped else ""
    _say(
        f"{seconds:.2f} s computed in {tally.seconds:.2f} s, real-time factor "
        f"{tally.seconds / seconds:.3f}{clipped}"
    )
    if tally.left_over:
        raise SeparationError(
            f"standard input ended {tally.left_over} bytes after its last sample of "
            f"{stream.channels} channels; it is truncated, or --format-in or "
            "--channels is wrong"
        )
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"separate: {line}\n")
    sys.stderr.flush()
