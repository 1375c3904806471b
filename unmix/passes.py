"""Sound through the networks of all targets in two passes, in little memory.

The first pass reads spectra a few seconds at a time and keeps what goes into and out of
the recurrent stacks, some thousand numbers for each frame. The second transforms the
mixture again, window by window, makes masks of what was kept, filters and writes: so no
spectrogram of the whole sound ever exists, and the estimates are those of one pass.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, final

import numpy as np
import tensorflow as tf

from common.recurrent import RecurrentStack
from unmix.config import Network
from unmix.model import Folded, OpenUnmix, folded
from unmix.wiener import wiener

BLOCK_FRAMES = 256
"""Frames of one piece of the first pass; one number, so that it compiles once."""
THREADS = min(8, os.cpu_count() or 1)
COVERED = 1e-10
"""Squared window sum below which a sample counts as seen by no frame."""


@dataclass(frozen=True)
class Filtering:
    """How magnitudes become sound, see :func:`unmix.wiener.wiener`.

    Attributes:
        niter: Rounds of expectation maximisation.
        softmask: Begin with shares of the mixture instead of its phase.
        residual: Add what the targets leave as one more source.
        wiener_win_len: Frames that are filtered at once, None for all.
        alpha: Exponent of the shares.
        logit: Centre of their compression, None for none.
    """

    niter: int = 1
    softmask: bool = False
    residual: bool = False
    wiener_win_len: int | None = 300
    alpha: float = 1.0
    logit: float | None = None


class Weights(NamedTuple):
    """The products of all targets beside the recurrent stacks.

    Attributes:
        encode: Kernel [inputs, targets * width] and bias of the first product.
        hidden: Kernel [2 * width, width] and bias of the second, for each target.
        decode: Kernel [width, channels * bins] and bias of the third, likewise.
    """

    encode: tuple[tf.Tensor, tf.Tensor]
    hidden: list[tuple[tf.Tensor, tf.Tensor]]
    decode: list[tuple[tf.Tensor, tf.Tensor]]


@final
class Passes:
    """The networks of all targets with their filter: mixture in, sources out.

    Args:
        networks: Trained networks of one shape, by target.
        filtering: How magnitudes become sound.
        sums: Matrix [sources, targets, and the residual where there is one] that makes
            the sources that are returned; None returns the targets themselves.

    Attributes:
        encode: From samples [channels, samples] of some frames to what goes into the
            recurrent stacks [frames, targets * width].
        decode: From such samples, what went into and came out of each stack [targets,
            frames, 2 * width] and the number of frames that are there, to windowed and
            overlapped sources [sources, channels, samples].
    """

    def __init__(
        self,
        networks: Mapping[str, OpenUnmix],
        filtering: Filtering,
        sums: np.ndarray | None = None,
    ) -> None:
        models = list(networks.values())
        self.config: Network = models[0].config
        self.filtering = filtering
        self.stacks: list[RecurrentStack] = [model.lstm for model in models]
        self.weights = _gathered([folded(model) for model in models])
        self.input_bins: int = models[0].input_bins
        count = len(models) + filtering.residual
        self.sums = tf.constant(np.eye(count) if sums is None else sums, tf.float32)
        self.hann = _hann(self.config.window_samples)
        self.encode = tf.function(self._encoded)
        self.decode = tf.function(self._decoded)
        self._estimate = tf.function(self._estimates, jit_compile=True)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate float32 [batch, channels, samples] of one or two channels.

        Returns:
            Float32 [batch, sources, channels, samples].
        """
        return np.stack([self._one_or_two(each) for each in mixture])

    def _one_or_two(self, mixture: np.ndarray) -> np.ndarray:
        """Take equal channels as one where the networks do, which tells them no more.

        Both together have a covariance of rank one, in which float32 would drown.
        """
        mono = self.config.channels == 1 and (mixture == mixture[:1]).all()
        estimates = self._one(mixture[:1] if mono else mixture)
        return np.broadcast_to(estimates, [len(estimates), *mixture.shape])

    def _one(self, mixture: np.ndarray) -> np.ndarray:
        config, samples = self.config, mixture.shape[-1]
        frames = 1 + samples // config.hop_samples
        padded = _mirrored(mixture, config.window_samples // 2)
        window = self.filtering.wiener_win_len or frames
        with ThreadPoolExecutor(THREADS) as pool:
            kept = self._first_pass(padded, frames, pool)
            starts = range(0, frames, window)
            work = partial(self._second_pass, kept, padded, window)
            summed = np.zeros([self.sums.shape[0], *padded.shape], np.float32)
            for start, piece in zip(starts, _ahead(pool, work, starts), strict=True):
                first = start * config.hop_samples
                place = summed[..., first : first + piece.shape[-1]]
                place += piece[..., : place.shape[-1]]
        summed /= _squared_window_sum(
            self.hann, config.hop_samples, frames, padded.shape[-1]
        )
        half = config.window_samples // 2
        return summed[..., half : half + samples]

    def _first_pass(
        self, padded: np.ndarray, frames: int, pool: ThreadPoolExecutor
    ) -> list[np.ndarray]:
        """Keep input and output of each stack, [frames, 2 * width] of each target."""

        def encode(start: int) -> np.ndarray:
            return self.encode(self._piece(padded, start, BLOCK_FRAMES)).numpy()

        pieces = _ahead(pool, encode, range(0, frames, BLOCK_FRAMES))
        encoded = np.concatenate(list(pieces))[:frames]
        shares = np.split(encoded, len(self.stacks), axis=1)

        def run(stack: RecurrentStack, share: np.ndarray) -> np.ndarray:
            outputs = stack.infer(tf.constant(share[np.newaxis])).numpy()[0]
            return np.concatenate([share, outputs], axis=1)

        return list(pool.map(run, self.stacks, shares))

    def _second_pass(
        self, kept: list[np.ndarray], padded: np.ndarray, window: int, start: int
    ) -> np.ndarray:
        """Make one window of the sources, faded in and out by the analysis window."""
        rows = np.stack([each[start : start + window] for each in kept])
        count = rows.shape[1]
        rows = np.pad(rows, [(0, 0), (0, window - count), (0, 0)])
        piece = self._piece(padded, start, window)
        made = self.decode(piece, tf.constant(rows), tf.constant(count)).numpy()
        hop, size = self.config.hop_samples, self.config.window_samples
        return made[..., : (count - 1) * hop + size]

    def _piece(self, padded: np.ndarray, start: int, frames: int) -> tf.Tensor:
        """Cut the samples of some frames, zeros beyond the end."""
        hop = self.config.hop_samples
        first, size = start * hop, (frames - 1) * hop + self.config.window_samples
        piece = padded[:, first : first + size]
        return tf.constant(np.pad(piece, [(0, 0), (0, size - piece.shape[1])]))

    def _encoded(self, piece: tf.Tensor) -> tf.Tensor:
        """First product of all targets, [frames, targets * width]."""
        magnitude = self._seen(tf.abs(self._spectra(piece)))[..., : self.input_bins]
        rows = tf.transpose(magnitude, [1, 0, 2])
        inputs = self.config.channels * self.input_bins
        kernel, bias = self.weights.encode
        return tf.tanh(tf.matmul(tf.reshape(rows, [-1, inputs]), kernel) + bias)

    def _decoded(
        self, piece: tf.Tensor, rows: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        """Windowed and overlapped sources of a piece [sources, 2, samples]."""
        spectra = self._spectra(piece)
        there = tf.range(tf.shape(spectra)[1]) < count
        spectra = tf.where(there[:, tf.newaxis], spectra, 0.0)
        sources = self._estimate(spectra, rows)
        frames = tf.signal.irfft(sources, [self.config.window_samples]) * self.hann
        return tf.signal.overlap_and_add(frames, self.config.hop_samples)

    def _estimates(self, spectra: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Spectra of the sources [sources, 2, frames, bins]."""
        magnitude = self._seen(tf.abs(spectra))
        channels, _, bins = magnitude.shape
        masks = []
        for place, (hidden, decode) in enumerate(
            zip(self.weights.hidden, self.weights.decode, strict=True)
        ):
            inner = tf.nn.relu(tf.matmul(rows[place], hidden[0]) + hidden[1])
            mask = tf.nn.relu(tf.matmul(inner, decode[0]) + decode[1])
            mask = tf.reshape(mask, [-1, channels, bins])
            masks.append(tf.transpose(mask, [1, 0, 2]))
        options = self.filtering
        estimates = wiener(
            tf.stack(masks) * magnitude,
            spectra,
            options.niter,
            options.softmask,
            options.residual,
            options.alpha,
            options.logit,
        )
        shape = tf.shape(estimates)
        flat = tf.reshape(estimates, [shape[0], -1])
        mixed = [
            tf.matmul(self.sums, part(flat)) for part in (tf.math.real, tf.math.imag)
        ]
        return tf.reshape(tf.complex(*mixed), tf.concat([[-1], shape[1:]], 0))

    def _spectra(self, piece: tf.Tensor) -> tf.Tensor:
        size = self.config.window_samples
        frames = tf.signal.frame(piece, size, self.config.hop_samples)
        return tf.signal.rfft(frames * self.hann)

    def _seen(self, magnitude: tf.Tensor) -> tf.Tensor:
        """What a network sees of [2, frames, bins]: a mono one their mean."""
        if self.config.channels == 1:
            return tf.reduce_mean(magnitude, axis=0, keepdims=True)
        return magnitude


def _gathered(parts: list[Folded]) -> Weights:
    kernel = np.concatenate([part.encode.kernel for part in parts], axis=1)
    bias = np.concatenate([part.encode.bias for part in parts])
    return Weights(
        (tf.constant(kernel), tf.constant(bias)),
        [(tf.constant(p.hidden.kernel), tf.constant(p.hidden.bias)) for p in parts],
        [(tf.constant(p.decode.kernel), tf.constant(p.decode.bias)) for p in parts],
    )


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[int], np.ndarray],
    starts: Iterable[int],
) -> Iterator[np.ndarray]:
    """Work on as many pieces as there are threads, and give results in their order."""
    waiting: deque[Future[np.ndarray]] = deque()
    for start in starts:
        waiting.append(pool.submit(work, start))
        if len(waiting) > THREADS:
            yield waiting.popleft().result()
    for each in waiting:
        yield each.result()


def _mirrored(mixture: np.ndarray, half: int) -> np.ndarray:
    """Reflect both ends, after zeros where the sound is shorter than half a window."""
    missing = max(0, half + 1 - mixture.shape[-1])
    longer = np.pad(mixture, [(0, 0), (0, missing)])
    return np.pad(longer, [(0, 0), (half, half)], mode="reflect")


def _hann(size: int) -> np.ndarray:
    phase = 2 * np.pi * np.arange(size) / size
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def _squared_window_sum(
    hann: np.ndarray, hop: int, frames: int, samples: int
) -> np.ndarray:
    """Overlap-add the squared window over the frames, 1 where none reaches."""
    rows = -(-len(hann) // hop)
    squared = np.pad(hann.astype(np.float64) ** 2, (0, rows * hop - len(hann)))
    total = np.zeros([frames + rows - 1, hop])
    for place, row in enumerate(squared.reshape(rows, hop)):
        total[place : place + frames] += row
    line = np.resize(total.astype(np.float32), samples)
    line[total.size :] = 1.0
    return np.where(line > COVERED, line, 1.0).astype(np.float32)
