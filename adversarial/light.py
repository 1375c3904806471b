"""Separation without TensorFlow: ``python -m adversarial.light a.mp3 --model FOLDER``.

``FOLDER`` is the output of ``python -m adversarial.export`` with ``--format onnx``. The
U-Net runs in onnxruntime, everything around it in numpy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from common.separation.exported import command, opened
from common.separation.outputs import Form
from common.separation.separator import SeparationError, Separator
from common.signal.framing import Stft
from common.signal.numpy_stft import istft, stft

SOURCES = "vocals", "accompaniment"
"""Sources of the separation; the network has them in reverse order."""
LEAST = 1e-10
"""Magnitude below which the mixture has no phase for an estimate."""
DESCRIPTION = (
    "Separate singing from its accompaniment, to FOLDER/INPUT_vocals.wav and "
    "FOLDER/INPUT_accompaniment.wav beside a copy of the original."
)
Rate = Literal["model", "input", "native"]


@dataclass(frozen=True)
class Options:
    """How a sound passes through the network.

    Attributes:
        sample_rate: ``"model"``: estimates as published, of each channel on its own;
            ``"input"`` or ``"native"``: ratio masks, the same for all channels,
            estimated from their mean.
        tile_frames: Frames that the network estimates at once, 0: all. A multiple of
            its period affects memory and time only.
        griffin_lim: Griffin-Lim iterations on the estimates; the original counts the
            phase of the mixture as its first.

    Raises:
        SeparationError: A rate is unknown, or a number is negative.
    """

    sample_rate: Rate
    tile_frames: int
    griffin_lim: int

    def __post_init__(self) -> None:
        if self.sample_rate not in get_args(Rate):
            raise SeparationError(
                f"sample_rate is {self.sample_rate!r}; expected "
                f"{' or '.join(get_args(Rate))}"
            )
        for name in ("tile_frames", "griffin_lim"):
            if getattr(self, name) < 0:
                raise SeparationError(
                    f"{name} is {getattr(self, name)}; expected at least 0"
                )

    @property
    def masks(self) -> bool:
        """Whether ratio masks are applied to the mixture."""
        return self.sample_rate != "model"

    def context_samples(self, params: Stft, context_frames: int) -> int:
        """Return the context of an estimated sample on either side.

        Args:
            params: The transform.
            context_frames: Frames of context on either side of the network's output.
        """
        window = -(-params.window_samples // params.hop_samples)
        frames = context_frames + window * (1 + self.griffin_lim)
        return frames * params.hop_samples


def load(
    path: str | Path,
    *,
    sample_rate: Rate = "model",
    tile_frames: int | None = None,
    griffin_lim: int | None = None,
    **options: Any,
) -> Separator:
    """Make a separator of an exported network.

    Args:
        path: Folder that :mod:`adversarial.export` wrote.
        sample_rate: See :class:`Options`.
        tile_frames: See :class:`Options`; by default that of its configuration.
        griffin_lim: See :class:`Options`; by default that of its configuration.
        **options: ``segment_seconds`` and ``overlap``, by default as exported.

    Raises:
        ExportError: The folder holds no such network, or a damaged one.
        SeparationError: An option is out of range.
    """
    exported = opened(path, "adversarial")
    settings = exported.settings
    chosen = Options(
        sample_rate,
        settings["tile_frames"] if tile_frames is None else tile_frames,
        settings["griffin_lim"] if griffin_lim is None else griffin_lim,
    )
    unet = UNet(exported.session("model"), settings, chosen)
    context = chosen.context_samples(unet.params, settings["context_frames"])
    return exported.separator(
        unet, context_samples=context, together=chosen.masks, **options
    )


class UNet:
    """The network and what surrounds it: mixture in, vocals and accompaniment out.

    Args:
        estimate: The network, from log magnitudes to those of both sources.
        settings: Settings in the export.
        options: How a sound passes through the network.
    """

    def __init__(
        self,
        estimate: Callable[[np.ndarray], np.ndarray],
        settings: Mapping[str, Any],
        options: Options,
    ) -> None:
        self.estimate, self.settings, self.options = estimate, settings, options
        self.params = Stft(
            settings["num_fft"], settings["num_hop"], padding=settings["center_pad"]
        )

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate float32 [batch, channels, samples].

        Returns:
            Float32 [batch, sources, channels, samples].
        """
        samples = mixture.shape[-1]
        spectrum = self._transformed(mixture)[:, :, np.newaxis]
        masks = self.options.masks
        inputs = spectrum.mean(1, keepdims=True) if masks else spectrum
        magnitude = np.abs(inputs)
        estimates = self._magnitudes(magnitude[:, :, 0])
        if masks:
            gains = estimates / (np.float32(1e-10) + estimates.sum(2, keepdims=True))
        else:
            gains = estimates / np.maximum(magnitude, np.float32(LEAST))
            gains = np.where(magnitude > LEAST, gains, np.float32(0.0))
        spectra = gains * spectrum
        for _ in range(self.options.griffin_lim):
            spectra = self._consistent(spectra, samples)
        return istft(spectra, self.params, samples).swapaxes(1, 2)

    def _transformed(self, waveform: np.ndarray) -> np.ndarray:
        """STFT of whole sounds with half a frame of silence after their end."""
        pads = [(0, 0)] * (waveform.ndim - 1) + [(0, self.params.window_samples // 2)]
        return stft(np.pad(waveform, pads), self.params)

    def _magnitudes(self, magnitude: np.ndarray) -> np.ndarray:
        """Magnitudes [batch, channels, sources, frames, bins] of the sources."""
        batch, channels, count, bins = magnitude.shape
        flat = np.log1p(magnitude).reshape(-1, count, bins).swapaxes(1, 2)
        missing = self.settings["input_bins"] - bins
        below = missing // 2
        images = np.pad(flat, [(0, 0), (below, missing - below), (0, 0)])
        hop = min(self.options.tile_frames or count, count)
        logs = self._in_tiles(images, count, hop)
        # The network has the accompaniment first.
        below = (logs.shape[2] - bins) // 2
        linear = np.expm1(logs[:, ::-1, below : below + bins]).swapaxes(2, 3)
        return linear.reshape(batch, channels, 2, count, bins)

    def _in_tiles(self, images: np.ndarray, count: int, hop: int) -> np.ndarray:
        """Run the network tile by tile: outputs [batch, 2, bins, frames]."""
        settings = self.settings
        context, period = settings["context_frames"], settings["period"]
        output = hop + (settings["output_frames"] - hop) % period
        starts = range(0, count, hop)
        after = context + starts[-1] + output - count
        padded = np.pad(images, [(0, 0), (0, 0), (context, after)])
        width = output + 2 * context
        outputs = [self.estimate(padded[..., s : s + width]) for s in starts]
        return np.concatenate([frame[..., :hop] for frame in outputs], -1)[..., :count]

    def _consistent(self, spectra: np.ndarray, samples: int) -> np.ndarray:
        """Replace the phase by that of the waveforms (Griffin-Lim)."""
        consistent = self._transformed(istft(spectra, self.params, samples))
        magnitude = np.maximum(np.abs(consistent), np.float32(LEAST))
        return consistent * (np.abs(spectra) / magnitude)


def form(sample_rate: Rate) -> Form:
    """Return how stems are written.

    Args:
        sample_rate: ``"model"``: the estimates, at the rate of the network; ``"input"``
            or ``"native"``: at the rate of the input, where the accompaniment is the
            mixture minus the vocals, including the band above that of the network.
    """
    native = sample_rate != "model"
    return Form(
        "{name}_{source}",
        original=True,
        rate="input" if native else "model",
        remainder=SOURCES[1] if native else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(
        load,
        argv,
        DESCRIPTION,
        configure=add_options,
        form=lambda options: form(options["sample_rate"]),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :class:`Options`."""
    add = parser.add_argument
    add(
        "--sample-rate",
        default="input",
        choices=get_args(Rate),
        help="rate of the stems: that of the input (or native), where everything above "
        "the model's band goes to the accompaniment, or that of the model, as "
        "published (default: %(default)s)",
    )
    add(
        "--tile-frames",
        type=int,
        metavar="FRAMES",
        help="frames that the network estimates at once; 0: all of a segment "
        "(default: the model's own)",
    )
    add(
        "--griffin-lim",
        type=int,
        metavar="ITERATIONS",
        help="Griffin-Lim iterations (default: the model's own, mostly 0)",
    )


if __name__ == "__main__":
    sys.exit(main())
