"""Separation without TensorFlow: ``python -m unmix.light song.wav --model FOLDER``.

``FOLDER`` is the output of ``python -m unmix.export`` with ``--format onnx``. The
networks run in onnxruntime, the transforms and the Wiener filter in numpy, in the two
passes of :mod:`unmix.filtering.two_pass`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.separation.command import is_file
from common.separation.exported import Exported, command, opened
from common.separation.separator import Separator
from common.signal.framing import Stft, window
from common.signal.numpy_stft import (
    frames,
    overlap_and_add,
    reflected,
    squared_window_sum,
)
from unmix.filtering.ending import steady_ending
from unmix.filtering.numpy_wiener import WINDOW_FRAMES, Options, grid_frames, wiener

CHUNK_FRAMES = 256
RESIDUAL = "residual"


def load(
    path: str | Path,
    niter: int = 1,
    softmask: bool = False,
    residual: bool | str = False,
    wiener_win_len: int | None = WINDOW_FRAMES,
    *,
    alpha: float = 1.0,
    logit: float | None = None,
    **options: Any,
) -> Separator:
    """Make a separator of exported networks.

    Args:
        path: Folder that :mod:`unmix.export` wrote.
        niter: Iterations of expectation maximisation.
        softmask: Start from ratio masks instead of the phase of the mixture.
        residual: Add the rest of the mixture as one more source, under this name, or
            ``residual``.
        wiener_win_len: Frames in a window of the filter, None for a whole segment.
        alpha: Exponent of the ratio masks of ``softmask``.
        logit: Centre of their compression, None for none.
        **options: ``segment_seconds`` and ``overlap``, by default as exported.

    Raises:
        ExportError: The folder holds no such networks, or damaged ones.
    """
    exported = opened(path, "unmix")
    names = [*exported.config["separator"]["sources"]]
    # The filter would turn a single target into the mixture: it needs the rest as well.
    rest = bool(residual) or (len(names) == 1 and niter > 0)
    if residual:
        names.append(residual if isinstance(residual, str) else RESIDUAL)
    add_up = niter > 0 or (softmask and logit is None)
    complete = bool(add_up and (residual or exported.config["separator"]["complete"]))
    chosen = Options(niter, softmask, rest, alpha, logit)
    network = TwoPass(exported, chosen, wiener_win_len, len(names))
    hop = network.params.hop_samples
    return exported.separator(
        network,
        sources=names,
        grid_samples=grid_frames(wiener_win_len) * hop,
        complete=complete,
        **options,
    )


class TwoPass:
    """The networks of all targets with the filter: mixture in, sources out.

    Args:
        exported: The networks.
        options: Options of the filter.
        window: Frames in a window of the filter, None for all.
        sources: Number of outputs of the filter to return.
    """

    def __init__(
        self, exported: Exported, options: Options, window: int | None, sources: int
    ) -> None:
        settings = exported.settings
        self.options, self.window, self.sources = options, window, sources
        self.channels, self.input_bins = settings["channels"], settings["input_bins"]
        self.params = Stft(
            settings["window_samples"], settings["hop_samples"], padding="reflect"
        )
        self.encode = exported.session("encode")
        self.decode = exported.session("decode")

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate float32 [batch, channels, samples] of one or two channels.

        Returns:
            Float32 [batch, sources, channels, samples].
        """
        return np.stack([self._one_or_two(channel) for channel in mixture])

    def _one_or_two(self, mixture: np.ndarray) -> np.ndarray:
        """Separate equal channels as one if the networks use their mean."""
        mono = self.channels == 1 and (mixture == mixture[:1]).all()
        estimates = self._one(mixture[:1] if mono else mixture)
        return np.broadcast_to(estimates, [len(estimates), *mixture.shape])

    def _one(self, mixture: np.ndarray) -> np.ndarray:
        samples, half = mixture.shape[-1], self.params.front_samples
        count = 1 + samples // self.params.hop_samples
        padded = reflected(mixture, half)
        rows = [
            self._rows(block) for _, block in self._spectra(padded, count, CHUNK_FRAMES)
        ]
        hidden = self.encode(np.concatenate(rows))
        summed = np.zeros([self.sources, *padded.shape], np.float32)
        for start, spectra in self._spectra(padded, count, self.window or count):
            stop = start + spectra.shape[1]
            made = self._sounds(hidden[:, start:stop], spectra)
            at = start * self.params.hop_samples
            summed[..., at : at + made.shape[-1]] += made
        total = squared_window_sum(self.params, count)
        summed[..., : len(total)] /= total
        estimates = summed[..., half : half + samples]
        hop = self.params.hop_samples
        steady_ending(estimates, mixture, self._hann, hop, samples)
        return estimates

    def _spectra(
        self, padded: np.ndarray, count: int, size: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first frame and the spectra [channels, frames, bins] of chunks."""
        hann, views = self._hann, frames(padded, self.params, count)
        for start in range(0, count, size):
            windowed = views[:, start : start + size] * hann
            yield start, np.fft.rfft(windowed).astype(np.complex64)

    @property
    def _hann(self) -> np.ndarray:
        return window(self.params).astype(np.float32)

    def _input(self, spectra: np.ndarray) -> np.ndarray:
        """Input of a network [channels, frames, bins]: the mean for a mono network."""
        magnitude = np.abs(spectra)
        return magnitude.mean(0, keepdims=True) if self.channels == 1 else magnitude

    def _rows(self, spectra: np.ndarray) -> np.ndarray:
        """Input of the networks [frames, channels * input bins]."""
        magnitude = self._input(spectra)[..., : self.input_bins]
        return magnitude.swapaxes(0, 1).reshape(magnitude.shape[1], -1)

    def _sounds(self, hidden: np.ndarray, spectra: np.ndarray) -> np.ndarray:
        """Windowed and overlapped sources of a window [sources, channels, samples]."""
        magnitudes = self.decode(hidden) * self._input(spectra)
        estimates = wiener(magnitudes, spectra, self.options)[: self.sources]
        size, hop = self.params.window_samples, self.params.hop_samples
        # One after the other, to save memory.
        sounds = (
            np.fft.irfft(estimate, size).astype(np.float32) for estimate in estimates
        )
        return np.stack([overlap_and_add(sound * self._hann, hop) for sound in sounds])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(
        load, argv, "Separate music into its stems.", configure=add_filter_options
    )


def add_filter_options(
    parser: argparse.ArgumentParser,
    niter: int = 1,
    window: int | None = WINDOW_FRAMES,
    window_help: str = "frames that are filtered at once, at most a segment "
    "(default: %(default)s)",
) -> None:
    """Add the options of :func:`load` for the filter.

    Args:
        parser: The parser.
        niter: Default of ``--niter``.
        window: Default of ``--wiener-win-len``.
        window_help: Its help.
    """
    parser.set_defaults(named_input=[])
    add = parser.add_argument
    add(
        "--niter",
        type=int,
        default=niter,
        help="iterations of the filter (default: %(default)s)",
    )
    add("--softmask", action="store_true", help="start from ratio masks")
    add(
        "--residual",
        nargs="?",
        const=True,
        default=False,
        action=Residual,
        metavar="NAME",
        help="also write the residual, under this name",
    )
    add(
        "--wiener-win-len",
        type=int,
        default=window,
        metavar="FRAMES",
        help=window_help,
    )
    add("--alpha", type=float, default=1.0, help="exponent of the masks of --softmask")
    add("--logit", type=float, help="centre of the logistic function of these masks")


class Residual(argparse.Action):
    """Reads the name of the residual, if there is one, and passes on a file.

    A word with a folder or a suffix is an input file. A parser with this action sets
    the default of ``named_input`` to ``[]``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | bool | Sequence[str] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the name in the namespace, or a file in ``named_input``."""
        word = values if isinstance(values, str) else ""
        names_file = is_file(word)
        setattr(namespace, self.dest, True if names_file else values)
        if names_file:
            namespace.named_input = [*namespace.named_input, values]


if __name__ == "__main__":
    sys.exit(main())
