"""Separation in two passes, with the estimates of one pass in less memory.

The first pass transforms the mixture in chunks of a few seconds and keeps the inputs
and outputs of the recurrent stacks, some thousand numbers for each frame. The second
transforms the mixture again, window by window of the filter, computes the masks from
the kept values, filters and overlap-adds. No spectrogram of the whole mixture is
needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar, final

import numpy as np
import tensorflow as tf

from common.layers.lstm_training import State
from common.layers.recurrent import RecurrentStack
from common.separation.separator import graph
from common.signal.framing import COVERED, Stft
from common.signal.framing import window as analysis_window
from common.signal.numpy_stft import reflected
from unmix.config import Network
from unmix.filtering.ending import steady_ending
from unmix.filtering.numpy_wiener import WINDOW_FRAMES, Options
from unmix.filtering.wiener import wiener
from unmix.model import Folded, OpenUnmix, folded

CHUNK_FRAMES = 256
"""Frames of a chunk of the first pass; a constant, so that it compiles once."""
THREADS = min(8, os.cpu_count() or 1)
Item = TypeVar("Item")


Progress = Callable[[float], object]
"""Takes the fraction that is done."""


class Steps:
    """Reports the progress of the steps of one of several sounds.

    >>> steps = Steps(print, 1, 2)
    >>> steps.count = 2
    >>> [item for item in steps.over("ab")]
    0.75
    1.0
    ['a', 'b']
    """

    def __init__(self, report: Progress | None, index: int, sounds: int) -> None:
        self._report, self._index, self._sounds = report, index, sounds
        self._done, self.count = 0, 1

    def next(self) -> None:
        """Report one more step as done."""
        self._done += 1
        if self._report:
            self._report((self._index + self._done / self.count) / self._sounds)

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass on items, each of which is a step."""
        for item in items:
            self.next()
            yield item


class Weights(NamedTuple):
    """The products of all targets around the recurrent stacks.

    Attributes:
        encode: Kernel [inputs, targets * width] and bias of the first product.
        hidden: Kernel [2 * width, width] and bias of the second, for each target.
        decode: Kernel [width, channels * bins] and bias of the third, likewise.
    """

    encode: tuple[tf.Tensor, tf.Tensor]
    hidden: list[tuple[tf.Tensor, tf.Tensor]]
    decode: list[tuple[tf.Tensor, tf.Tensor]]


@final
class TwoPassSeparator:
    """The networks of all targets with the Wiener filter: mixture in, sources out.

    Args:
        networks: Trained networks of one shape, by target.
        options: Options of the filter.
        window: Frames in a window of the filter, None for all.
        sums: Matrix from targets, and a residual if any, to the returned sources
            [sources, targets]; None returns the targets themselves.

    Attributes:
        encode: From samples [channels, samples] of some frames to the inputs of the
            recurrent stacks [frames, targets * width].
        step: From such samples, the state of each stack and the number of frames that
            are no padding, to the output of ``decode`` and the states after all frames.
        decode: From such samples, inputs and outputs of each stack [targets, frames,
            2 * width] and the number of frames that are no padding, to windowed and
            overlapped sources [sources, channels, samples].
    """

    def __init__(
        self,
        networks: Mapping[str, OpenUnmix],
        options: Options,
        window: int | None = WINDOW_FRAMES,
        sums: np.ndarray | None = None,
    ) -> None:
        models = list(networks.values())
        self.config: Network = models[0].config
        self.options, self.window = options, window
        self.stacks: list[RecurrentStack] = [model.lstm for model in models]
        # Folding would round other factors to half precision than training does.
        self.unfolded = models if models[0].precision != "float32" else []
        self.weights = _gathered([folded(model) for model in models])
        self.input_bins: int = models[0].input_bins
        count = len(models) + options.residual
        matrix = np.eye(count) if sums is None else sums
        identity = np.array_equal(matrix, np.eye(count))
        self.sums = None if identity else tf.constant(matrix, tf.float32)
        self.sources = len(matrix)
        params = Stft(self.config.window_samples, self.config.hop_samples)
        self.hann = analysis_window(params).astype(np.float32)
        self._report: Progress | None = None
        self._steps = Steps(None, 0, 1)
        self.encode = graph(self._encoded)
        self.step = graph(self._stepped)
        self.decode = graph(self._decoded)
        # Compiled separately: in one program the filter would be recomputed for each of
        # the sums, which takes three times as long.
        # XLA may leave out the rounding to half precision.
        exact = not self.unfolded
        self._magnitude = graph(self._magnitudes, jit_compile=exact)
        self._filter = graph(self._filtered, jit_compile=True)

    def watch(self, report: Progress | None) -> None:
        """Report the fraction of each call that is done to a function, if any."""
        self._report = report

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate float32 [batch, channels, samples] of one or two channels.

        Returns:
            Float32 [batch, sources, channels, samples].
        """
        estimates = []
        for index, item in enumerate(mixture):
            self._steps = Steps(self._report, index, len(mixture))
            estimates.append(self._one_or_two(item))
        return estimates[0][np.newaxis] if len(estimates) == 1 else np.stack(estimates)

    def _one_or_two(self, mixture: np.ndarray) -> np.ndarray:
        """Separate equal channels as one if the networks use their mean.

        It halves the work. The numbers are those of the original's filter for one
        channel, which adds the regularisation of 1e-5 once to the power of the mixture.
        For two equal channels it adds half of that, which changes the estimates by up
        to 7e-4 of the peak after one iteration and 2e-3 after three (7e-3 with windows
        of 50 frames).
        """
        mono = self.config.channels == 1 and (mixture == mixture[:1]).all()
        estimates = self._one(mixture[:1] if mono else mixture)
        return np.broadcast_to(estimates, [len(estimates), *mixture.shape])

    def _one(self, mixture: np.ndarray) -> np.ndarray:
        config, samples = self.config, mixture.shape[-1]
        frames = 1 + samples // config.hop_samples
        padded = reflected(mixture, config.window_samples // 2)
        summed = self._overlapped(padded, frames)
        summed /= _squared_window_sum(
            self.hann, config.hop_samples, frames, padded.shape[-1]
        )
        half = config.window_samples // 2
        estimates = summed[..., half : half + samples]
        steady_ending(estimates, mixture, self.hann, config.hop_samples, samples)
        return estimates

    def _overlapped(self, padded: np.ndarray, frames: int) -> np.ndarray:
        """Run both passes; windowed and overlapped [sources, channels, samples].

        Windows run one at a time, because the filter uses all cores and most of the
        memory.
        """
        hop, window = self.config.hop_samples, self.window or frames
        windows, chunks = -(-frames // window), -(-frames // CHUNK_FRAMES)
        self._steps.count = windows + chunks + len(self.stacks)
        kept = self._first_pass(padded, frames)
        summed = np.zeros([self.sources, *padded.shape], np.float32)
        for start in range(0, frames, window):
            chunk = self._second_pass(kept, padded, window, start)
            covered = summed[..., start * hop : start * hop + chunk.shape[-1]]
            covered += chunk[..., : covered.shape[-1]]
            self._steps.next()
        return summed

    def _first_pass(self, padded: np.ndarray, frames: int) -> list[np.ndarray]:
        """Keep input and output of each stack, [frames, 2 * width] of each target."""

        def encode(start: int) -> np.ndarray:
            return self.encode(self._chunk(padded, start, CHUNK_FRAMES)).numpy()

        def run(stack: RecurrentStack, own: np.ndarray) -> np.ndarray:
            inputs = own if bridge is None else bridge
            outputs = stack.infer(tf.constant(inputs[np.newaxis])).numpy()[0]
            return np.concatenate([own, outputs], axis=1)

        with ThreadPoolExecutor(THREADS) as pool:
            chunks = pool.map(encode, range(0, frames, CHUNK_FRAMES))
            encoded = np.concatenate(list(self._steps.over(chunks)))[:frames]
            by_target = np.split(encoded, len(self.stacks), axis=1)
            bridge = np.mean(by_target, axis=0) if self.config.bridged else None
            kept = list(self._steps.over(pool.map(run, self.stacks, by_target)))
        return kept if bridge is None else [np.mean(kept, axis=0)] * len(kept)

    def _second_pass(
        self, kept: list[np.ndarray], padded: np.ndarray, window: int, start: int
    ) -> np.ndarray:
        """Separate a window of the filter; the analysis window fades it in and out."""
        rows = np.stack([spectra[start : start + window] for spectra in kept])
        count = rows.shape[1]
        rows = np.pad(rows, [(0, 0), (0, window - count), (0, 0)])
        chunk = self._chunk(padded, start, window)
        sources = self.decode(chunk, tf.constant(rows), tf.constant(count)).numpy()
        hop, size = self.config.hop_samples, self.config.window_samples
        return sources[..., : (count - 1) * hop + size]

    def _chunk(self, padded: np.ndarray, start: int, frames: int) -> tf.Tensor:
        """Return the samples of some frames, with zeros beyond the end."""
        hop = self.config.hop_samples
        first, size = start * hop, (frames - 1) * hop + self.config.window_samples
        chunk = padded[:, first : first + size]
        return tf.constant(np.pad(chunk, [(0, 0), (0, size - chunk.shape[1])]))

    def _stepped(
        self, chunk: tf.Tensor, states: list[list[State]], count: tf.Tensor
    ) -> tuple[tf.Tensor, list[list[State]]]:
        """Encode, continue from the states and decode."""
        encoded, rows, after = self._encoded(chunk), [], []
        by_target = tf.split(encoded, len(self.stacks), axis=1)
        bridge = tf.reduce_mean(by_target, axis=0) if self.config.bridged else None
        for stack, own, state in zip(self.stacks, by_target, states, strict=True):
            inputs = own if bridge is None else bridge
            outputs, last = stack.stream(inputs[tf.newaxis], state)
            rows.append(tf.concat([own, outputs[0]], axis=1))
            after.append(last)
        if bridge is not None:
            rows = [tf.reduce_mean(rows, axis=0)] * len(rows)
        return self._decoded(chunk, tf.stack(rows), count), after

    def _encoded(self, chunk: tf.Tensor) -> tf.Tensor:
        """First product of all targets, [frames, targets * width]."""
        magnitude = self._input(tf.abs(self._spectra(chunk)))[..., : self.input_bins]
        if self.unfolded:
            batch = magnitude[tf.newaxis]
            return tf.concat(
                [model.encode(batch)[0] for model in self.unfolded], axis=1
            )
        rows = tf.transpose(magnitude, [1, 0, 2])
        inputs = self.config.channels * self.input_bins
        kernel, bias = self.weights.encode
        return tf.tanh(tf.matmul(tf.reshape(rows, [-1, inputs]), kernel) + bias)

    def _decoded(
        self, chunk: tf.Tensor, rows: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        """Windowed and overlapped sources of a chunk [sources, 2, samples]."""
        spectra = self._spectra(chunk)
        inside = tf.range(tf.shape(spectra)[1]) < count
        spectra = tf.where(inside[:, tf.newaxis], spectra, 0.0)
        estimates = self._filter(self._magnitude(spectra, rows), spectra)
        # One after the other, which takes a quarter of the memory.
        return tf.map_fn(
            self._sound,
            self._summed(estimates),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    def _sound(self, spectra: tf.Tensor) -> tf.Tensor:
        """Windowed and overlapped frames [..., samples] of [..., frames, bins]."""
        frames = tf.signal.irfft(spectra, [self.config.window_samples]) * self.hann
        return tf.signal.overlap_and_add(frames, self.config.hop_samples)

    def _magnitudes(self, spectra: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Magnitudes of the targets [targets, channels, frames, bins]."""
        mixture = self._input(tf.abs(spectra))
        if self.unfolded:
            pairs = zip(self.unfolded, tf.unstack(rows), strict=True)
            masks = [model.mask(row[tf.newaxis])[0] for model, row in pairs]
            return tf.stack(masks) * mixture
        channels, _, bins = mixture.shape
        masks = []
        for target, (hidden, decode) in enumerate(
            zip(self.weights.hidden, self.weights.decode, strict=True)
        ):
            inner = tf.nn.relu(tf.matmul(rows[target], hidden[0]) + hidden[1])
            mask = tf.nn.relu(tf.matmul(inner, decode[0]) + decode[1])
            mask = tf.reshape(mask, [-1, channels, bins])
            masks.append(tf.transpose(mask, [1, 0, 2]))
        return tf.stack(masks) * mixture

    def _filtered(self, magnitudes: tf.Tensor, spectra: tf.Tensor) -> tf.Tensor:
        """Spectra of the targets [targets, 2, frames, bins]."""
        return wiener(magnitudes, spectra, self.options)

    def _summed(self, estimates: tf.Tensor) -> tf.Tensor:
        """Sources, of which each is a sum of targets."""
        if self.sums is None:
            return estimates
        parts = (tf.math.real(estimates), tf.math.imag(estimates))
        return tf.complex(*(tf.tensordot(self.sums, part, 1) for part in parts))

    def _spectra(self, chunk: tf.Tensor) -> tf.Tensor:
        size = self.config.window_samples
        frames = tf.signal.frame(chunk, size, self.config.hop_samples)
        return tf.signal.rfft(frames * self.hann)

    def _input(self, magnitude: tf.Tensor) -> tf.Tensor:
        """Input of a network [channels, frames, bins]: the mean for a mono network."""
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


def _squared_window_sum(
    hann: np.ndarray, hop: int, frames: int, samples: int
) -> np.ndarray:
    """Overlap-add the squared window over the frames, 1 where no frame covers."""
    rows = -(-len(hann) // hop)
    squared = np.pad(hann.astype(np.float64) ** 2, (0, rows * hop - len(hann)))
    total = np.zeros([frames + rows - 1, hop])
    for index, row in enumerate(squared.reshape(rows, hop)):
        total[index : index + frames] += row
    line = np.resize(total.astype(np.float32), samples)
    line[total.size :] = 1.0
    return np.where(line > COVERED, line, 1.0).astype(np.float32)
