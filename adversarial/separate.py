"""Separation of singing: ``python -m adversarial.separate --input song.mp3``.

Writes ``separated/song_vocals.wav``, ``separated/song_accompaniment.wav`` and a copy of
the original.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from adversarial import convert, phases
from adversarial.config import ModelConfig
from adversarial.images import pad_bins
from adversarial.light import (
    DESCRIPTION,
    LEAST,
    SOURCES,
    Options,
    Rate,
    add_options,
    form,
)
from adversarial.model import Geometry, UNet, covering
from common.separation.command import command
from common.separation.separator import Network, Separator, graph
from common.signal.masking import ratio_mask
from common.signal.stft import Stft, istft, stft
from common.training.checkpoint import CheckpointError, is_choice
from common.weights.fingerprint import fingerprint

SEGMENT_SECONDS = 60.0
OVERLAP = 0.0


def load(
    path: str | Path = phases.NEWEST,
    *,
    sample_rate: Rate = "model",
    tile_frames: int | None = None,
    griffin_lim: int | None = None,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = OVERLAP,
    checkpoint: str | None = None,
    **settings: Any,
) -> Separator:
    """Make a separator of a trained network.

    Args:
        path: Run folder, of which the semi-supervised phase is preferred; folder of a
            phase; prefix of a checkpoint; ``newest``: the newest run below
            ``checkpoints``; the name of a bundled model; or prefix or folder of a
            checkpoint of the original.
        sample_rate: ``"model"``: estimates as published, of each channel on its own;
            ``"input"``: ratio masks, the same for all channels, for sound of any sample
            rate; ``"native"`` is its older name.
        tile_frames: Frames that the network estimates at once; 0: all of a segment;
            none: that of its configuration.
        griffin_lim: Griffin-Lim iterations; none: those of its configuration.
        segment_seconds: Longest sound in one pass; longer sound is separated in chunks,
            with the estimates of one long pass.
        overlap: Overlap of neighbouring chunks as a fraction of a segment; at least the
            context of the network.
        checkpoint: Checkpoint of a folder: ``latest``, ``best`` or ``step-N``; by
            default the best, else the latest.
        **settings: Settings that a checkpoint of the original does not hold: any of
            :data:`adversarial.convert.OPTIONS`.

    Returns:
        The separator, whose sources are vocals and accompaniment.

    Raises:
        CheckpointError: There is no checkpoint, or it does not fit its configuration.
        SeparationError: An option is out of range.
    """
    return separator(
        restored(path, checkpoint, **settings),
        sample_rate=sample_rate,
        tile_frames=tile_frames,
        griffin_lim=griffin_lim,
        segment_seconds=segment_seconds,
        overlap=overlap,
    )


def restored(path: str | Path, checkpoint: str | None = None, **settings: Any) -> UNet:
    """Restore a network of this program or of the original; see :func:`load`.

    >>> restored("mini").config.expected_sr
    8192
    """
    unknown = [name for name in settings if name not in convert.OPTIONS]
    if unknown:
        raise TypeError(f"load() got an unexpected keyword argument {unknown[0]!r}")
    location = phases.locate(path, checkpoint)
    if phases.is_original(location):
        restored = convert.load(location.path, convert.settings(**settings))
        convert.check(restored)
        return restored.separator
    surplus = [name for name, value in settings.items() if value is not None]
    if surplus:
        raise CheckpointError(
            f"{path} is a run of this program, whose configuration holds all settings; "
            f"leave {' and '.join(surplus)} out"
        )
    return phases.restore(path, checkpoint)


def separator(
    network: UNet,
    *,
    sample_rate: Rate = "model",
    tile_frames: int | None = None,
    griffin_lim: int | None = None,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = OVERLAP,
) -> Separator:
    """Make a separator of a network.

    Args:
        network: The network.
        sample_rate: See :func:`load`, as for all other options.
        tile_frames: Frames that the network estimates at once.
        griffin_lim: Griffin-Lim iterations.
        segment_seconds: Longest sound in one pass.
        overlap: Overlap of neighbouring chunks as a fraction of a segment.

    Raises:
        SeparationError: An option is out of range.
    """
    config, geometry = network.config, network.geometry
    options = Options(
        sample_rate,
        config.tile_hop if tile_frames is None else tile_frames,
        config.griffin_lim if griffin_lim is None else griffin_lim,
    )
    return Separator(
        separation_pass(network, options),
        sources=SOURCES,
        sample_rate=config.expected_sr,
        segment_seconds=segment_seconds,
        overlap=overlap,
        named=True,
        # Only shifts by whole periods leave the estimates unchanged.
        grid_samples=geometry.period * config.num_hop,
        context_samples=options.context_samples(
            _params(config), geometry.context_frames
        ),
        together=options.masks,
        complete=options.masks or (config.head == "mask" and not options.griffin_lim),
        digest=lambda: fingerprint(network.variables, config),
    )


def separation_pass(network: UNet, options: Options) -> Network:
    """Make the function that separates waveforms in one pass.

    Args:
        network: Built network.
        options: How a sound passes through it.

    Returns:
        Function from float32 [batch, channels, samples] to
        [batch, sources, channels, samples], sources as in :data:`SOURCES`.
    """
    config, geometry = network.config, network.geometry
    image = tf.TensorSpec([None, geometry.input_bins, None, 1], tf.float32)
    estimate = graph(network, input_signature=[image])

    def separate(mixture: np.ndarray) -> np.ndarray:
        spectrum = transform(tf.constant(mixture), config)[:, :, tf.newaxis]
        inputs = spectrum
        if options.masks:
            inputs = tf.reduce_mean(spectrum, 1, keepdims=True)
        estimates = estimate_magnitudes(
            estimate, tf.abs(inputs[:, :, 0]), geometry, options.tile_frames
        )
        if options.masks:
            gains = ratio_mask(estimates)
        else:
            gains = _gains(estimates, tf.abs(inputs))
        spectra = tf.cast(gains, tf.complex64) * spectrum
        samples = mixture.shape[-1]
        for _ in range(options.griffin_lim):
            spectra = griffin_lim_step(spectra, config, samples)
        return istft(spectra, _params(config), samples).numpy().swapaxes(1, 2)

    return separate


def transform(waveform: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Compute the STFT of whole sounds with half a frame of silence after their end.

    The original appends it too.

    Args:
        waveform: Float32 [..., samples].
        config: Gives frame length, hop and padding.

    Returns:
        complex64 [..., frames, bins].

    >>> transform(tf.zeros([2, 1]), ModelConfig()).shape
    TensorShape([2, 2, 257])
    """
    padding = [[0, 0]] * (waveform.shape.rank - 1) + [[0, config.num_fft // 2]]
    return stft(tf.pad(waveform, padding), _params(config))


def estimate_magnitudes(
    estimate: Callable[[tf.Tensor], tf.Tensor],
    magnitude: tf.Tensor,
    geometry: Geometry,
    tile_frames: int = 0,
) -> tf.Tensor:
    """Estimate the magnitudes of the sources of whole sounds.

    Args:
        estimate: The network.
        magnitude: Magnitude of the mixtures, float32 [batch, channels, frames, bins].
        geometry: Sizes of the network's images.
        tile_frames: Frames that are estimated at once; 0: all.

    Returns:
        Float32 [batch, channels, sources, frames, bins], sources as in
        :data:`SOURCES`.
    """
    batch, channels, frames, bins = (int(n or 0) for n in magnitude.shape)
    flat = tf.reshape(tf.math.log1p(magnitude), [-1, frames, bins])
    images = pad_bins(
        tf.linalg.matrix_transpose(flat)[..., tf.newaxis], geometry.input_bins
    )
    logs = _in_tiles(estimate, images, geometry, min(tile_frames or frames, frames))
    below = (geometry.output_bins - bins) // 2
    logs = logs[:, ::-1, below : below + bins, :, 0]
    linear = tf.linalg.matrix_transpose(tf.math.expm1(logs))
    return tf.reshape(linear, [batch, channels, len(SOURCES), frames, bins])


def griffin_lim_step(
    spectrum: tf.Tensor, config: ModelConfig, samples: int
) -> tf.Tensor:
    """Replace the phase of spectra by that of the waveforms they give (Griffin-Lim).

    Args:
        spectrum: complex64 [..., frames, bins].
        config: Gives frame length, hop and padding.
        samples: Length of the waveforms.
    """
    consistent = transform(istft(spectrum, _params(config), samples), config)
    magnitude = tf.maximum(tf.abs(consistent), LEAST)
    return consistent * tf.cast(tf.abs(spectrum) / magnitude, tf.complex64)


def _in_tiles(
    estimate: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    geometry: Geometry,
    hop: int,
) -> tf.Tensor:
    """Run the network tile by tile: outputs [batch, 2, bins, frames, 1]."""
    frames, context = int(images.shape[2] or 0), geometry.context_frames
    output = covering(hop, geometry)
    starts = range(0, frames, hop)
    after = context + starts[-1] + output - frames
    padded = tf.pad(images, [[0, 0], [0, 0], [context, after], [0, 0]])
    tiles = [padded[:, :, s : s + output + 2 * context] for s in starts]
    outputs = [estimate(tile)[..., :hop, :] for tile in tiles]
    return tf.concat(outputs, axis=-2)[..., :frames, :]


def _gains(estimates: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    """Divide estimates by the mixture; 0 where it is silent and has no phase."""
    gains = estimates / tf.maximum(magnitude, LEAST)
    return tf.where(magnitude > LEAST, gains, tf.zeros_like(gains))


def _params(config: ModelConfig) -> Stft:
    return Stft(config.num_fft, config.num_hop, padding=config.center_pad)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(
        _load,
        argv,
        DESCRIPTION,
        pillar="adversarial",
        model=phases.NEWEST,
        configure=_configure,
        form=lambda options: form(options["sample_rate"]),
        words={
            "input": ["-i", "--input"],
            "output": ["-o", "--output_dir"],
        },
    )


def _load(path: str, **options: Any) -> Separator:
    """Load a model, and print which run is the newest.

    The original's ``--checkpoint`` names a model.
    """
    checkpoint = options.get("checkpoint")
    if checkpoint is not None and not is_choice(checkpoint):
        if path != phases.NEWEST:
            raise CheckpointError(
                f"two models are named, {path} and {checkpoint}; give one, or choose "
                "its checkpoint: latest, best or step-N"
            )
        path = options.pop("checkpoint")
    if path != phases.NEWEST:
        return load(path, **options)
    run = phases.newest()
    sys.stdout.write(f"newest run: {phases.locate(run).path}\n")
    return load(run, **options)


def _configure(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    convert.add_options(parser)


if __name__ == "__main__":
    sys.exit(main())
