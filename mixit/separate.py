"""Separation of files and arrays: ``python -m mixit.separate mix.wav --model RUN``."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tensorflow as tf

from common.config import load as load_config
from common.separation.command import RATE_HELP, command
from common.separation.graphs import graph
from common.separation.outputs import Rate
from common.separation.separator import Separator
from common.training.checkpoint import (
    CheckpointError,
    not_a_run,
    restore_network,
    run_of,
)
from common.weights.tf1 import MetaGraphError
from common.weights.tf1_checkpoint import locate
from mixit import convert, process_wav, published
from mixit.checkpoints.architecture import Options
from mixit.checkpoints.metagraph import INPUT, OUTPUT
from mixit.checkpoints.shipped import Shipped
from mixit.config import MixitConfig
from mixit.layers import fusion_pays
from mixit.model import Tdcn

SEGMENT_SECONDS = 10.0


def load(  # noqa: PLR0913 (each is one thing that a checkpoint does not tell)
    path: str | Path,
    *,
    segment_seconds: float = SEGMENT_SECONDS,
    overlap: float = 0.25,
    num_dilations: int | None = None,
    window_samples: int | None = None,
    hop_samples: int | None = None,
    sample_rate: int | None = None,
    mixture_consistency: str | None = None,
    front_padding: bool | None = None,
    norm: str | None = None,
    metagraph: bool = False,
    input_tensor: str | None = None,
    output_tensor: str | None = None,
    checkpoint: str | None = None,
) -> Separator:
    """Make a separator from a run folder, or from a checkpoint of Google's program.

    What neither the tensors of a TF1 checkpoint nor a meta graph beside it tell is
    taken from the options, see :class:`mixit.checkpoints.architecture.Options`.

    Args:
        path: Output folder of a training run or prefix of one of its checkpoints, or
            prefix or folder of a TF1 checkpoint, or ``mini``, which comes with the
            package, or the name of a model in :data:`mixit.published.MODELS`.
        segment_seconds: Longest part that goes through the network in one pass.
        overlap: Part of a segment that it shares with the next one, 0 to 0.5.
        num_dilations: Blocks of one repeat, by default 8.
        window_samples: Length of a frame.
        hop_samples: Distance between frames.
        sample_rate: Rate of the training in Hz, by default 16000.
        mixture_consistency: ``pred_source``, ``magsq``, ``uniform`` or ``none``.
        front_padding: Whether the STFT begins with frames that hold zeros.
        norm: ``instance_norm`` over frames, ``layer_norm`` over channels or
            ``global_layer_norm`` over both, whatever the checkpoint calls it.
        metagraph: Run the meta graph of a TF1 checkpoint as it is.
        input_tensor: Name of its input [1, mics, samples], by default Google's.
        output_tensor: Name of its output [1, sources, samples], likewise.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Returns:
        The separator; its sources are named source0, source1, ... in the order of the
        outputs and keep it from block to block, but have no meaning.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or of another model, or the
            network differs from the meta graph beside it.
        MetaGraphError: The meta graph is, or it is missing and was asked for.
    """
    path = published.resolve(path)
    blocks = {"segment_seconds": segment_seconds, "overlap": overlap}
    told = Options(
        num_dilations,
        window_samples,
        hop_samples,
        sample_rate,
        mixture_consistency,
        front_padding,
        norm,
    )
    run = run_of(path)
    if run is not None:
        if metagraph or input_tensor or output_tensor or told != Options():
            raise CheckpointError(
                f"{path} is a run folder, which tells all of its model and has no meta "
                "graph; leave out the options for TF1 checkpoints"
            )
        config = load_config(MixitConfig, run / "config.json")
        network = Tdcn(config.model, precision=config.train.precision)
        restore_network(path, network, checkpoint)
    elif checkpoint is not None:
        raise not_a_run(path, checkpoint)
    else:
        names = {
            "input_tensor": input_tensor or INPUT,
            "output_tensor": output_tensor or OUTPUT,
        }
        if metagraph:
            _demand_rate_alone(told)
            rate = published.with_rate(locate(path), told).rate
            return _of_graph(Shipped(path, **names), rate, blocks)
        network = convert.load(path, **names, **dataclasses.asdict(told))
    return separator(network, segment_seconds, overlap)


def separator(
    network: Tdcn, segment_seconds: float = SEGMENT_SECONDS, overlap: float = 0.25
) -> Separator:
    """Make a separator of a network."""
    signature = [tf.TensorSpec([None, network.config.num_mics, None], tf.float32)]
    plain = graph(network.images, input_signature=signature)
    fused = graph(
        functools.partial(network.images, fused=True), input_signature=signature
    )
    # Blocks of long sound have one or two numbers of frames, each compiled once.
    segment = segment_seconds * network.config.sample_rate - 0.5
    fused_from = segment if fusion_pays() else math.inf

    def separate(mixture: np.ndarray) -> np.ndarray:
        run = fused if mixture.shape[-1] >= fused_from else plain
        return run(tf.constant(mixture)).numpy()

    return Separator(
        separate,
        sources=tuple(f"source{i}" for i in range(network.config.num_sources)),
        sample_rate=network.config.sample_rate,
        channels=network.config.num_mics,
        segment_seconds=segment_seconds,
        overlap=overlap,
        grid_samples=network.config.hop_samples,
    )


def _demand_rate_alone(told: Options) -> None:
    """Refuse what a meta graph that is run as it is cannot obey."""
    given = dataclasses.asdict(dataclasses.replace(told, sample_rate=None))
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise MetaGraphError(
            f"the meta graph is run as it is, whatever {' and '.join(names)}; leave "
            "that out, or leave metagraph out"
        )


def _of_graph(shipped: Shipped, sample_rate: int, blocks: dict) -> Separator:
    """Make a separator of a meta graph, which estimates at one microphone."""
    if shipped.num_mics > 1:
        raise MetaGraphError(
            f"the meta graph takes {shipped.num_mics} microphones and estimates the "
            "sources at the first alone; use mixit.checkpoints.shipped.Shipped, or "
            "leave metagraph out"
        )
    return Separator(
        lambda mixture: shipped(mixture)[:, :, np.newaxis],
        sources=tuple(f"source{i}" for i in range(shipped.num_sources)),
        sample_rate=sample_rate,
        grid_samples=shipped.hop_samples,
        **blocks,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if process_wav.is_meant(argv):
        return process_wav.main(load, argv)
    return command(
        load, argv, "Separate sound files into unnamed sources.", configure=_configure
    )


class StemsOrTraining(argparse.Action):
    """Takes the rate of the stems by name, or that of the training as a number."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Put it to ``rate`` or to ``sample_rate``."""
        if values in get_args(Rate):
            namespace.rate = values
        elif values.isdecimal():
            namespace.sample_rate = int(values)
        else:
            parser.error(
                f"argument {option_string}: {values!r} is neither input, model nor a "
                "number of Hz"
            )


def _configure(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`load` takes for checkpoints of Google's program."""
    convert.add_options(parser)
    # Said before an option of the same name replaces that of the checkpoint.
    parser.set_defaults(sample_rate=parser.get_default("sample_rate"))
    parser.add_argument(
        "--sample-rate",
        action=StemsOrTraining,
        default=argparse.SUPPRESS,
        metavar="{input,model,HZ}",
        help=f"{RATE_HELP}; a number is that of the training of a TF1 checkpoint",
    )
    parser.add_argument(
        "--metagraph",
        action="store_true",
        help="run the meta graph beside a TF1 checkpoint as it is",
    )
    parser.add_argument("--input-tensor", help=f"of the meta graph, default {INPUT}")
    parser.add_argument("--output-tensor", help=f"of the meta graph, default {OUTPUT}")


if __name__ == "__main__":
    sys.exit(main())
