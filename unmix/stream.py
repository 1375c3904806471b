"""Sound through networks of one direction while it still goes on.

The numbers are those of one pass over the whole sound, for any lengths of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
import tensorflow as tf

from common.separation.separator import SeparationError, Separator
from unmix.passes import COVERED, Passes

FEW, MANY = 16, 256
"""Frames that are computed at once, beside one; each number compiles once."""


@final
class Stream:
    """Separation of one sound that comes in blocks.

    The estimates joined are those of ``separator(mixture)`` in one segment. A sample is
    returned when no later one can change it, which is after ``latency_samples`` at most
    where no block is longer than a hop of the networks.

    Args:
        separator: Made by :func:`unmix.load` of networks of one direction, best with
            ``niter=0``: else the filter waits until each of its windows is full.
        channels: Channels of the blocks, 1 or 2.

    Attributes:
        sources: Names of the sources.
        sample_rate: Rate in Hz.
        channels: Channels of the blocks and of each source.
        window_samples: Length of a frame of the networks.
        hop_samples: Distance between frames.
        latency_samples: Samples that the estimates lie behind the sound at most.

    Raises:
        SeparationError: The networks have two directions, or the filter has no windows.
    """

    def __init__(self, separator: Separator, channels: int = 2) -> None:
        self._passes = _passes(separator)
        if channels not in (1, 2):
            raise SeparationError(
                f"the stream has {channels} channels; expected 1 or 2, so separate "
                "more of them in pairs"
            )
        config, filtering = self._passes.config, self._passes.filtering
        self.sources, self.sample_rate = separator.sources, separator.sample_rate
        self.window_samples, self.hop_samples = (
            config.window_samples,
            config.hop_samples,
        )
        self.channels, self._half = channels, config.window_samples // 2
        # The filter takes so many frames together; without it each is by itself.
        self._together = filtering.wiener_win_len if filtering.niter else None
        waiting = (self._together or 1) * config.hop_samples
        self.latency_samples = self.window_samples + waiting
        self._states = [stack.initial_state(1) for stack in self._passes.stacks]
        self._received, self._frames, self._ended = 0, 0, False
        inside = max(channels, config.channels)
        # The newest samples, and all from the first frame that is not done.
        self._newest = self._ahead = np.zeros([inside, 0], np.float32)
        # Sum of the frames that are done, and that of their squared windows.
        self._summed = np.zeros([len(self.sources), inside, 0], np.float32)
        self._cover = np.zeros(0)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block and return what has become certain.

        Args:
            block: Float [channels, samples] of any length, full scale +-1.

        Returns:
            Float32 [sources, channels, samples], of any length, none too.

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
        # A copy, as a view would keep all of a long block.
        self._newest = self._newest[:, -self._half - 1 :].copy()
        ready = max(0, self._ahead.shape[1] - self.window_samples + self.hop_samples)
        ready //= self.hop_samples
        return self._run(ready - ready % (self._together or 1))

    def flush(self) -> np.ndarray:
        """End the stream.

        Returns:
            The rest [sources, channels, samples]: as many came in as go out in all.

        Raises:
            SeparationError: The stream had no samples, or has ended before.
        """
        self._demand_open()
        if not self._received:
            raise SeparationError("the mixture has no samples; give at least one")
        self._ended, half = True, self._half
        newest, pads = self._newest, [(0, 0), (0, half)]
        if self._received <= half:
            # Zeros follow what is too short to be mirrored, as in a whole sound.
            newest = np.pad(newest, [(0, 0), (0, half + 1 - self._received)])
            self._ahead = np.pad(newest, [(0, 0), (half, 0)], mode="reflect")
        mirrored = np.pad(newest, pads, mode="reflect")[:, half + 1 :]
        self._ahead = np.concatenate([self._ahead, mirrored], axis=1)
        made = self._run(1 + self._received // self.hop_samples - self._frames)
        end = half + self._received
        rest = self._taken(max(0, end - self._frames * self.hop_samples))
        surplus = max(0, self._frames * self.hop_samples - end)
        made = made[..., : made.shape[-1] - surplus]
        return np.concatenate([made, rest], axis=-1)

    def _run(self, frames: int) -> np.ndarray:
        """Separate the next frames; give what no later one reaches."""
        done = [np.zeros([len(self.sources), self.channels, 0], np.float32)]
        for count, size in self._pieces(frames):
            self._add(self._estimates(count, size), count)
            done.append(self._taken(count * self.hop_samples))
            self._ahead = self._ahead[:, count * self.hop_samples :]
            self._frames += count
        self._ahead = self._ahead.copy()
        return np.concatenate(done, axis=-1)

    def _pieces(self, frames: int) -> Iterator[tuple[int, int]]:
        """Cut frames into pieces: how many, and the size that they are filled up to.

        Only a last one is filled up, after which no state is needed.
        """
        while frames:
            fitting = (each for each in (MANY, FEW, 1) if each <= frames)
            size = self._together or next(fitting)
            count = min(size, frames)
            yield count, size
            frames -= count

    def _estimates(self, count: int, size: int) -> np.ndarray:
        """Make the first frames ahead, windowed and overlapped."""
        passes = self._passes
        samples = (size - 1) * self.hop_samples + self.window_samples
        there = self._ahead[:, :samples]
        piece = tf.constant(np.pad(there, [(0, 0), (0, samples - there.shape[1])]))
        made, self._states = passes.step(piece, self._states, tf.constant(count))
        made = made.numpy()
        if not np.isfinite(made).all():
            raise SeparationError(
                "the network returned estimates that are not finite; its weights or "
                "the level of the mixture are broken"
            )
        return made[..., : (count - 1) * self.hop_samples + self.window_samples]

    def _add(self, made: np.ndarray, count: int) -> None:
        """Add frames to those before, and their squared windows."""
        missing = made.shape[-1] - self._summed.shape[-1]
        made[..., : self._summed.shape[-1]] += self._summed
        self._summed, self._cover = made, np.pad(self._cover, [(0, missing)])
        squared = np.square(self._passes.hann, dtype=np.float64)
        for start in range(0, count * self.hop_samples, self.hop_samples):
            self._cover[start : start + self.window_samples] += squared

    def _taken(self, samples: int) -> np.ndarray:
        """Take the first samples of the sum, those before the sound left out."""
        missing = max(0, samples - self._summed.shape[-1])
        summed = np.pad(self._summed, [(0, 0), (0, 0), (0, missing)])
        cover = np.pad(self._cover, [(0, missing)])
        self._summed, self._cover = summed[..., samples:], cover[samples:]
        divisor = np.where(cover > COVERED, cover, 1.0).astype(np.float32)
        before = max(0, self._half - self._frames * self.hop_samples)
        made = (summed / divisor)[..., before:samples]
        # One channel went through as two equal ones.
        return made if made.shape[1] == self.channels else made.mean(1, keepdims=True)

    def _checked(self, block: np.ndarray) -> np.ndarray:
        self._demand_open()
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

    def _demand_open(self) -> None:
        if self._ended:
            raise SeparationError("the stream has ended; make a new one")


def _passes(separator: Separator) -> Passes:
    """Find the networks of a separator, and see whether they can run as a stream."""
    passes = separator.network
    if not isinstance(passes, Passes):
        raise SeparationError("expected a separator made by unmix.load")
    if passes.config.bidirectional:
        raise SeparationError(
            "the networks have two directions, of which one begins at the end of the "
            "sound; a stream needs some trained with model.bidirectional=false"
        )
    if passes.filtering.niter and not passes.filtering.wiener_win_len:
        raise SeparationError(
            "the filter takes the whole sound, which a stream never has; set niter=0, "
            "or wiener_win_len to a number of frames"
        )
    return passes
