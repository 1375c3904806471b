"""Separation without TensorFlow: ``python -m clustering.light a.wav --model FOLDER``.

``FOLDER`` is the output of ``python -m clustering.export`` with ``--format onnx``. The
network runs in onnxruntime; transforms, k-means and masks are computed in numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clustering.clusterers import numpy_kmeans
from common import memory
from common.separation.exported import Exported, command, opened
from common.separation.separator import Network, Separator
from common.signal.framing import Stft
from common.signal.numpy_stft import istft, stft


def load(path: str | Path, *, consistent: bool = False, **options: Any) -> Separator:
    """Make a separator of an exported network.

    Args:
        path: Folder that :mod:`clustering.export` wrote.
        consistent: Add the rest of the mixture to all estimates in equal parts.
        **options: ``segment_seconds`` and ``overlap``, by default as exported.

    Raises:
        ExportError: The folder holds no such network, or a damaged one.
    """
    exported = opened(path, "clustering")
    spectral = "stft" in exported.settings
    estimate = _of_spectra(exported) if spectral else _of_waveforms(exported)

    def separate(mixture: np.ndarray) -> np.ndarray:
        estimates = estimate(mixture[:, 0])
        if consistent:
            rest = mixture - estimates.sum(1, keepdims=True)
            estimates = estimates + rest / np.float32(estimates.shape[1])
        return estimates[:, :, np.newaxis]

    if consistent:
        options["complete"] = True
    return exported.separator(separate, **options)


def _of_spectra(exported: Exported) -> Network:
    """Estimate waveforms [batch, sources, samples] by masks on the mixture."""
    memory.release_memory()
    params = Stft(**exported.settings["stft"])
    floor = exported.settings.get("power_floor", 0.0)
    run, masks = exported.session("model"), _masks(exported.settings)

    def one(waveform: np.ndarray) -> np.ndarray:
        spectrum = stft(waveform, params)
        inputs = magnitude(spectrum, floor)
        masked = masks(run(inputs), inputs) * spectrum[:, np.newaxis]
        return istft(masked, params, waveform.shape[-1])

    # Embeddings are many times as large as the sound: channel by channel.
    return lambda waveforms: np.concatenate(
        [one(waveform[np.newaxis]) for waveform in waveforms]
    )


def _masks(
    settings: dict[str, Any],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Make the function from the output of the network to masks."""
    if "cluster" not in settings:
        return lambda outputs, _: outputs
    options, chances = settings["cluster"], np.asarray(settings["chances"], np.float32)

    def cluster(embeddings: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        pairs = zip(embeddings, magnitudes, strict=True)
        return np.stack([numpy_kmeans.masks(*pair, options, chances) for pair in pairs])

    return cluster


def magnitude(spectrum: np.ndarray, power_floor: float) -> np.ndarray:
    """Compute sqrt(|X|^2 + floor) as :func:`clustering.models.spectral.magnitude`.

    >>> magnitude(np.array([3.0 + 4.0j], np.complex64), 1e-8).tolist()
    [5.0]
    """
    plain = np.abs(spectrum)
    return np.sqrt(plain**2 + np.float32(power_floor)) if power_floor else plain


def levelled(estimates: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Multiply all estimates by the gain that brings their sum nearest to the mixture.

    A network trained by SI-SDR gives estimates of any level, some of them thousands of
    times as loud as the mixture. The levels relative to each other are kept.

    Args:
        estimates: Float32 [batch, sources, samples].
        mixture: Float32 [batch, samples].

    Returns:
        Float32 [batch, sources, samples].
    """
    total = estimates.astype(np.float64).sum(1)
    power = np.sum(total**2, axis=-1)
    along = np.sum(total * mixture, axis=-1)
    gain = np.divide(along, power, out=np.ones_like(power), where=power > 0.0)
    return (estimates * gain[:, np.newaxis, np.newaxis]).astype(np.float32)


def _of_waveforms(exported: Exported) -> Network:
    """Estimate waveforms; zeros pad the last frame, which would be left out."""
    size, stride = exported.settings["size"], exported.settings["stride"]
    run = exported.session("model")

    def estimate(waveform: np.ndarray) -> np.ndarray:
        samples = waveform.shape[-1]
        missing = max(size - samples, (size - samples) % stride)
        estimates = run(np.pad(waveform, [(0, 0), (0, missing)]))[..., :samples]
        if exported.settings.get("levelled"):
            return levelled(estimates, waveform)
        return estimates

    return estimate


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(load, argv, "Separate speech or music into sources.")


if __name__ == "__main__":
    sys.exit(main())
