"""Separation without TensorFlow: ``python -m adversarial.light a.mp3 --model FOLDER``.

``FOLDER`` is the output of ``python -m adversarial.export`` with ``--format onnx``. The
U-Net runs in onnxruntime, everything around it in numpy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.separation.exported import command, opened
from common.separation.outputs import Form
from common.separation.separator import SeparationError, Separator
from common.signal.framing import Stft
from common.signal.numpy_stft import istft, stft

RATES = ("model", "input", "native")
LEAST = 1e-10
"""Magnitude below which the mixture has no phase for an estimate."""


def load(
    path: str | Path,
    *,
    sample_rate: str = "model",
    tile_frames: int | None = None,
    griffin_lim: int | None = None,
    **options: Any,
) -> Separator:
    """Make a separator of an exported network.

    Args:
        path: Folder that :mod:`adversarial.export` wrote.
        sample_rate: ``"model"``: estimates as published; ``"input"``: ratio masks, the
            same for all channels, for sound of any sample rate.
        tile_frames: Frames that the network estimates at once, 0 for all; by default
            that of its configuration.
        griffin_lim: Griffin-Lim iterations, by default those of its configuration.
        **options: ``segment_seconds`` and ``overlap``, by default as exported.

    Raises:
        ExportError: The folder holds no such network, or a damaged one.
        SeparationError: An option is out of range.
    """
    if sample_rate not in RATES:
        raise SeparationError(
            f"sample_rate is {sample_rate!r}; expected {' or '.join(RATES)}"
        )
    exported = opened(path, "adversarial")
    settings = dict(exported.settings)
    chosen = {"tile_frames": tile_frames, "griffin_lim": griffin_lim}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    for name in chosen:
        if settings[name] < 0:
            raise SeparationError(f"{name} is {settings[name]}; expected at least 0")
    unet = UNet(exported.session("model"), settings, masks=sample_rate != "model")
    return exported.separator(
        unet, context_samples=unet.context_samples, together=unet.masks, **options
    )


class UNet:
    """The network and what surrounds it: mixture in, vocals and accompaniment out.

    Args:
        estimate: The network, from log magnitudes to those of both sources.
        settings: Settings in the export.
        masks: Apply ratio masks to the mixture, the same ones to all channels.
    """

    def __init__(
        self,
        estimate: Callable[[np.ndarray], np.ndarray],
        settings: Mapping[str, Any],
        masks: bool,
    ) -> None:
        self.estimate, self.settings, self.masks = estimate, settings, masks
        self.params = Stft(
            settings["num_fft"], settings["num_hop"], padding=settings["center_pad"]
        )

    @property
    def context_samples(self) -> int:
        """The context of an estimated sample on either side."""
        settings, hop = self.settings, self.params.hop_samples
        window = -(-self.params.window_samples // hop)
        frames = settings["context_frames"] + window * (1 + settings["griffin_lim"])
        return frames * hop

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate float32 [batch, channels, samples].

        Returns:
            Float32 [batch, sources, channels, samples].
        """
        samples = mixture.shape[-1]
        spectrum = self._transformed(mixture)[:, :, np.newaxis]
        inputs = spectrum.mean(1, keepdims=True) if self.masks else spectrum
        magnitude = np.abs(inputs)
        estimates = self._magnitudes(magnitude[:, :, 0])
        if self.masks:
            gains = estimates / (np.float32(1e-10) + estimates.sum(2, keepdims=True))
        else:
            gains = estimates / np.maximum(magnitude, np.float32(LEAST))
            gains = np.where(magnitude > LEAST, gains, np.float32(0.0))
        spectra = gains * spectrum
        for _ in range(self.settings["griffin_lim"]):
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
        hop = min(self.settings["tile_frames"] or count, count)
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


def form(sample_rate: str) -> Form:
    """Return how stems are written; see :func:`adversarial.separate.form`."""
    native = sample_rate != "model"
    return Form(
        "{name}_{source}",
        original=True,
        rate="input" if native else "model",
        remainder="accompaniment" if native else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(
        load,
        argv,
        "Separate singing from its accompaniment, to FOLDER/INPUT_vocals.wav and "
        "FOLDER/INPUT_accompaniment.wav beside a copy of the original.",
        configure=_configure,
        form=lambda options: form(options["sample_rate"]),
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--sample-rate",
        default="input",
        choices=RATES,
        help="of the stems: that of the input, or that of the model, as published "
        "(default: %(default)s)",
    )
    add("--tile-frames", type=int, help="frames at once (default: the model's own)")
    add("--griffin-lim", type=int, help="iterations (default: the model's own)")


if __name__ == "__main__":
    sys.exit(main())
