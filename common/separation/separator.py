"""Chunked inference of any separation network on sound of any length.

A :class:`Separator` cuts what is longer than one segment into overlapping blocks and
crossfades their estimates. Memory holds a few segments, however long the sound is.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from common.separation.source_order import match_beginnings, match_channels

Network = Callable[[np.ndarray], np.ndarray]
"""Float32 [batch, channels, samples] -> [batch, sources, channels, samples]."""

MOST_CHANNELS = 32
CHUNK_SAMPLES = 1 << 18


class SeparationError(ValueError):
    """A sound that cannot be separated, or options that do not fit."""


@final
@dataclass(frozen=True)
class Separator:
    """A network, with all that is needed to separate sound of any length.

    Sound of up to one segment goes through the network in one pass at its own length.
    Longer sound is divided into blocks of exactly one segment; neighbours overlap and
    are crossfaded with weights that sum to 1, and the last block is moved back to end
    with the sound. There is no padding and no change of level.

    A mono network separates every channel on its own. A network for more channels
    takes exactly that many, or mono, which is copied to all of them and whose
    estimates are averaged. With ``pairs`` it takes any number, in groups of the
    size that it takes, and treats remaining channels as mono.

    Outputs without names (``named=False``) may come in another order in every pass.
    The channels of a mono network are then matched by their magnitude spectra, and
    successive blocks by least squares over the overlap. Where sources are silent
    throughout an overlap nothing distinguishes them, and the network's order stays.

    Attributes:
        network: Float32 [batch, channels, samples] -> [batch, sources, channels,
            samples] of the same length, for any length of at least one sample.
        sources: Name of each output, also the name of its file.
        sample_rate: Rate that the network works at, in Hz.
        channels: Channels that the network takes.
        segment_seconds: Longest sound in one pass, or None for no limit, with which
            memory grows with the sound.
        overlap: Part of a segment that neighbouring blocks share, from 0 to below 1.
        named: Whether each output always holds the source of that name.
        grid_samples: Distance between the frames of the network. Blocks begin on whole
            frames, so that they see the frames that one long pass would see; the last
            block is up to a frame longer than a segment instead.
        context_samples: Reach of the network to either side, where it has one. Blocks
            overlap by at least twice as much, and samples that the cut could have
            changed are not used, so estimates are those of one long pass.
        together: Whether a mono network sees all channels at once, [1, channels,
            samples], and each of them has its estimates.
        complete: Whether the sources add up to the mixture, whatever it is.
        digest: Computes the SHA-256 of the weights and the configuration; None if it is
            unknown.
        watch: Gives the network a function that takes the fraction of each pass that is
            done, or None to remove it; None if the network does not report progress.

    Raises:
        SeparationError: If an attribute is out of its range.

    >>> halves = lambda x: np.stack([0.5 * x, 0.5 * x], 1)
    >>> separator = Separator(halves, ["a", "b"], 8000, segment_seconds=0.1)
    >>> separator(np.ones([2, 2000], np.float32))["a"].shape
    (2, 2000)
    """

    network: Network
    sources: Sequence[str]
    sample_rate: int
    channels: int = 1
    segment_seconds: float | None = None
    overlap: float = 0.25
    named: bool = False
    grid_samples: int = 1
    pairs: bool = False
    context_samples: int = 0
    together: bool = False
    complete: bool = False
    digest: Callable[[], str] | None = None
    watch: Callable[[Callable[[float], object] | None], None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        _check_sources(self.sources)
        if self.sample_rate < 1 or self.channels < 1:
            raise SeparationError(
                f"sample_rate is {self.sample_rate} Hz and channels {self.channels}; "
                "expected at least 1 of each"
            )
        if self.grid_samples < 1:
            raise SeparationError(
                f"grid_samples is {self.grid_samples}; expected at least 1"
            )
        if not 0 <= self.overlap < 1:
            raise SeparationError(
                f"overlap is {self.overlap:g} of a segment; expected 0 to below 1"
            )
        if self.segment_seconds is None:
            return
        samples = self.segment_seconds * self.sample_rate
        if not (math.isfinite(samples) and self.segment_samples):
            raise SeparationError(
                f"segment is {self.segment_seconds:g} s; expected a number of seconds, "
                f"at least one sample ({1 / self.sample_rate:g} s)"
            )
        if (self.segment_samples or 0) < self.grid_samples:
            raise SeparationError(
                f"segment is {self.segment_seconds:g} s; expected at least "
                f"{self.grid_samples / self.sample_rate:g} s, because segments begin "
                "at multiples of that"
            )
        least = 2 * self.context_samples + self.grid_samples
        if self.context_samples and (self.segment_samples or 0) < least:
            raise SeparationError(
                f"segment is {self.segment_seconds:g} s; expected at least "
                f"{math.ceil(100 * least / self.sample_rate) / 100:g} s, because the "
                f"network looks {self.context_samples / self.sample_rate:.3g} s around"
            )
        if not (self.overlap or self.named):
            raise SeparationError(
                "overlap is 0, but the model's outputs have no fixed order and are "
                "matched over the overlap; expected more than 0"
            )

    @property
    def segment_samples(self) -> int | None:
        """Length of a segment in samples, None without a limit."""
        if self.segment_seconds is None:
            return None
        return round(self.segment_seconds * self.sample_rate)

    def __call__(self, mixture: np.ndarray) -> dict[str, np.ndarray]:
        """Separate a sound that is in memory.

        Args:
            mixture: Float [channels, samples] or [samples] at ``sample_rate``.

        Returns:
            Float32 [channels, samples] of each source, at the level of the mixture.

        Raises:
            SeparationError: If the mixture has no samples, is not finite, holds
                integers, or has channels that the network does not take.
        """
        _refuse_path(mixture)
        mixture = np.asarray(mixture)
        whole = mixture[np.newaxis] if mixture.ndim == 1 else mixture
        estimates, done = np.zeros([0]), 0
        for chunk in self._estimates([whole]):
            if not done:
                estimates = np.empty([*chunk.shape[:2], whole.shape[1]], np.float32)
            estimates[..., done : done + chunk.shape[2]] = chunk
            done += chunk.shape[2]
        return dict(zip(self.sources, estimates, strict=True))

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Separate a sound that comes in blocks, in the memory of a few segments.

        Args:
            blocks: Float [channels, samples] of any lengths, one after another. They
                are copied, so one array may be filled again for each.

        Yields:
            Float32 [sources, channels, samples], the same numbers as one
            call for the whole sound, and as many samples in all as the blocks have.

        Raises:
            SeparationError: As the call.
        """
        yield from self._estimates(np.array(block) for block in blocks)

    def _estimates(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Separate blocks that the caller does not change."""
        segment, hop = self.segment_samples or math.inf, self._hop_samples
        queue = Queue()
        pending: np.ndarray | None = None  # estimates that begin where the queue does
        yielded = 0  # samples of them
        for block in _checked(blocks, 1 if self.pairs else self.channels):
            queue.push(block)
            if pending is None and queue.samples >= segment:
                pending = self._separate(queue.peek(int(segment)))
            while pending is not None:
                certain = min(hop, self._certain(queue.samples))
                yield from _chunks(pending[..., yielded:certain])
                yielded = certain
                if queue.samples < hop + segment:
                    break
                # Other arrays are released before the network needs memory.
                pending, yielded = pending[..., hop:].copy(), 0
                queue.drop(hop)
                pending = self._join(pending, self._separate(queue.peek(int(segment))))
        if not queue.samples:
            raise SeparationError("the mixture has no samples; give at least one")
        if pending is None:
            pending = self._separate(queue.peek(queue.samples))
        elif queue.samples > segment:
            shift = self._certain(queue.samples)
            pending = pending[..., shift:].copy()
            queue.drop(shift)
            pending = self._join(pending, self._separate(queue.peek(queue.samples)))
        yield from _chunks(pending)

    def _certain(self, samples: int) -> int:
        """Count the estimates of a block that are final wherever the sound ends.

        The last block ends with the sound and begins on a frame, at the earliest here
        where the sound has as many samples from the beginning of this block on.
        """
        rest = samples - (self.segment_samples or 0)
        return rest - rest % self.grid_samples

    @property
    def latency_seconds(self) -> float:
        """Sound that :meth:`stream` reads beyond a sample before it yields estimates.

        Infinite without a limit of the segment.
        """
        if self.segment_samples is None:
            return math.inf
        return (self.segment_samples + self.grid_samples - 1) / self.sample_rate

    @property
    def hop_seconds(self) -> float:
        """Distance between two passes through the network; infinite where it is one."""
        if self.segment_samples is None:
            return math.inf
        return self._hop_samples / self.sample_rate

    @property
    def _hop_samples(self) -> int:
        segment = self.segment_samples or 1
        overlap = max(round(self.overlap * segment), 2 * self.context_samples)
        hop = segment - overlap
        return max(self.grid_samples, hop - hop % self.grid_samples)

    def _separate(self, mixture: np.ndarray) -> np.ndarray:
        """Separate one block: [channels, samples] -> [sources, channels, samples]."""
        channels = len(mixture)
        if self.together:
            together: np.ndarray = self._run(mixture[np.newaxis])[0]
            return together
        if self.channels == 1:
            estimates = self._run(mixture[:, np.newaxis])  # [channels, sources, 1, ...]
            estimates = estimates[:, :, 0].swapaxes(0, 1)
            return estimates if self.named else match_channels(estimates)
        whole = channels - channels % self.channels
        groups = mixture[:whole].reshape(
            whole // self.channels, self.channels, mixture.shape[1]
        )
        single = np.repeat(mixture[whole:, np.newaxis], self.channels, 1)
        estimates = self._run(np.concatenate([groups, single]))
        together, alone = np.split(estimates.swapaxes(0, 1), [len(groups)], axis=1)
        together = together.reshape(len(together), whole, mixture.shape[1])
        if whole == channels:
            return together
        return np.concatenate([together, alone.mean(2)], axis=1)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        estimates = np.asarray(self.network(np.ascontiguousarray(batch)), np.float32)
        expected = (len(batch), len(self.sources), *batch.shape[1:])
        if estimates.shape != expected:
            raise SeparationError(
                f"the network returned estimates of shape {estimates.shape}; "
                f"expected {expected}: batch, sources, channels, samples"
            )
        if not np.isfinite(estimates).all():
            raise SeparationError(
                "the network returned estimates that are not finite; its weights or "
                "the level of the mixture are broken"
            )
        return estimates

    def _join(self, before: np.ndarray, estimates: np.ndarray) -> np.ndarray:
        """Crossfade estimates that overlap with the end of those before."""
        overlap = before.shape[-1]
        if overlap and not self.named:
            estimates = match_beginnings(before, estimates)
        inner = max(1, overlap - 2 * self.context_samples)
        position = (np.arange(overlap) + 0.5 - self.context_samples) / inner
        fade = np.sin(np.pi / 2 * np.clip(position, 0, 1)) ** 2
        blend = before + fade.astype(np.float32) * (estimates[..., :overlap] - before)
        return np.concatenate([blend, estimates[..., overlap:]], -1)


class Queue:
    """First-in, first-out queue of samples, [..., samples].

    >>> queue = Queue()
    >>> queue.push(np.arange(4)), queue.push(np.arange(4, 6))
    (None, None)
    >>> queue.take(5).tolist(), queue.samples
    ([0, 1, 2, 3, 4], 1)
    """

    def __init__(self) -> None:
        self._chunks: deque[np.ndarray] = deque()
        self.samples = 0

    def push(self, chunk: np.ndarray) -> None:
        """Append samples."""
        self._chunks.append(chunk)
        self.samples += chunk.shape[-1]

    def peek(self, samples: int) -> np.ndarray:
        """Return the first samples without removing them."""
        taken, total = [self._chunks.popleft()], 0
        while (total := total + taken[-1].shape[-1]) < samples:
            taken.append(self._chunks.popleft())
        joined = np.concatenate(taken, -1) if len(taken) > 1 else taken[0]
        self._chunks.appendleft(joined)
        return joined[..., :samples]

    def drop(self, samples: int) -> None:
        """Remove the first samples."""
        self.samples -= samples
        while samples:
            first = self._chunks.popleft()
            if first.shape[-1] > samples:
                self._chunks.appendleft(first[..., samples:])
            samples -= min(samples, first.shape[-1])

    def take(self, samples: int) -> np.ndarray:
        """Remove the first samples and return them."""
        taken = self.peek(samples)
        self.drop(samples)
        return taken


def _chunks(estimates: np.ndarray) -> Iterator[np.ndarray]:
    """Copy estimates chunk by chunk, so that a chunk does not keep all in memory."""
    for start in range(0, estimates.shape[-1], CHUNK_SAMPLES):
        yield estimates[..., start : start + CHUNK_SAMPLES].copy()


def _check_sources(sources: Sequence[str]) -> None:
    for name in sources:
        if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
            raise SeparationError(f"source name {name!r} cannot be a file name")
    if not sources or len(set(sources)) < len(sources):
        raise SeparationError(
            f"sources are {', '.join(sources) or 'none'}; expected different names"
        )


def _refuse_path(mixture: object) -> None:
    if isinstance(mixture, str | os.PathLike):
        raise SeparationError(
            f"the mixture is the path {os.fspath(mixture)}; expected samples: read the "
            "file with common.audio.read, or give it to separate_file of "
            "common.separation.files"
        )


def _checked(blocks: Iterable[np.ndarray], expected: int) -> Iterator[np.ndarray]:
    """Check blocks and yield them as float32."""
    channels, position = None, 0
    for block in blocks:
        block = np.asarray(block)  # noqa: PLW2901
        _check_block(block, expected)
        if channels not in (None, len(block)):
            raise SeparationError(
                f"a block of {len(block)} channels follows one of {channels}; "
                "expected the same in all"
            )
        finite = np.isfinite(block).all(0)
        if not finite.all():
            raise SeparationError(
                f"sample {position + int(np.argmin(finite))} of the mixture is NaN or "
                "infinite; repair the sound first"
            )
        channels, position = len(block), position + block.shape[1]
        if block.shape[1]:
            yield block.astype(np.float32, copy=False)


def _check_block(block: np.ndarray, expected: int) -> None:
    if block.ndim != 2 or not 1 <= len(block) <= MOST_CHANNELS:
        raise SeparationError(
            f"the mixture has shape {block.shape}; expected [channels, samples] with "
            f"1 to {MOST_CHANNELS} channels: transpose what has the samples first"
        )
    if not np.issubdtype(block.dtype, np.floating):
        raise SeparationError(
            f"the mixture is {block.dtype}; expected floats of full scale +-1, such as "
            "int16 samples divided by 32768"
        )
    if expected > 1 and len(block) not in (1, expected):
        raise SeparationError(
            f"the mixture has {len(block)} channels and the model takes {expected}; "
            f"mix it down to {expected} or to 1 first"
        )


def graph(function: Callable[..., Any], **options: Any) -> Any:
    """Make a ``tf.function`` of a method or closure, of which each separator has one.

    TensorFlow counts the traces of all functions with the same code together, and
    warns of retracing when a process makes its fifth separator, although each traces
    its own graph once. That warning is suppressed. AutoGraph is off too, because it
    would look for Python control flow on tensors for seconds.

    Args:
        function: The function to trace.
        **options: Those of ``tf.function``.

    >>> float(graph(lambda x: 2 * x)(np.float32(3.0)))
    6.0
    """
    # Imported here, so that a separator of another runtime needs no TensorFlow.
    import tensorflow as tf

    compiled = tf.function(function, autograph=False, **options)
    # Set by TensorFlow on functions of saved models; there is no public switch.
    compiled._omit_frequent_tracing_warning = True
    return compiled
