"""Separation of files and arrays: ``python -m mixit.separate mix.wav --model RUN``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.checkpoint import restore_network
from common.config import load as load_config
from common.separation import Separator
from common.separation_command import command
from mixit import convert, process_wav
from mixit.config import MixitConfig
from mixit.model import Tdcn

SEGMENT_SECONDS = 10.0


def load(
    path: str | Path,
    *,
    segment_seconds: float = SEGMENT_SECONDS,
    overlap: float = 0.25,
    num_dilations: int = 8,
    sample_rate: int = 16000,
) -> Separator:
    """Make a separator from a run folder, or from a checkpoint of Google's program.

    Args:
        path: Output folder of a training run, or prefix or folder of a TF1 checkpoint.
        segment_seconds: Longest part that goes through the network in one pass.
        overlap: Part of a segment that it shares with the next one, 0 to 0.5.
        num_dilations: For a TF1 checkpoint, the blocks of one repeat.
        sample_rate: For a TF1 checkpoint, the rate of its training in Hz.

    Returns:
        The separator; its sources are named source0, source1, ... and keep their order
        from block to block, but have no meaning.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or of another model.
    """
    if (Path(path) / "config.json").exists():
        network = Tdcn(load_config(MixitConfig, Path(path) / "config.json").model)
        restore_network(path, network)
    else:
        network = convert.load(path, num_dilations, sample_rate)
    return separator(network, segment_seconds, overlap)


def separator(
    network: Tdcn, segment_seconds: float = SEGMENT_SECONDS, overlap: float = 0.25
) -> Separator:
    """Make a separator of a network."""
    signature = [tf.TensorSpec([None, network.config.num_mics, None], tf.float32)]
    graph = tf.function(network.images, input_signature=signature)

    def separate(mixture: np.ndarray) -> np.ndarray:
        return graph(tf.constant(mixture)).numpy()

    return Separator(
        separate,
        sources=tuple(f"source{i}" for i in range(network.config.num_sources)),
        sample_rate=network.config.sample_rate,
        channels=network.config.num_mics,
        segment_seconds=segment_seconds,
        overlap=overlap,
        grid_samples=network.config.hop_samples,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if process_wav.is_meant(argv):
        return process_wav.main(load, argv)
    return command(load, argv, "Separate sound files into unnamed sources.")


if __name__ == "__main__":
    sys.exit(main())
