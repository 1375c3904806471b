"""Separation of files and arrays: ``python -m mixit.separate mix.wav --model RUN``.

Flags of Google's ``process_wav`` work too: ``-i mix.wav -o out.wav -m MODEL`` writes
``out_source0.wav``, ``out_source1.wav``, ... as it does, but all of them, at any sample
rate and for any number of channels, in chunks, and as 32-bit floats, which do not clip.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tensorflow as tf

from common.files import digest, user_path
from common.separation.command import RATE_HELP, command
from common.separation.outputs import Form, Rate
from common.separation.separator import SeparationError, Separator, graph
from common.training.checkpoint import CheckpointError, is_choice
from common.weights.fingerprint import fingerprint
from common.weights.locate import exists
from common.weights.tf1 import MetaGraphError, locate
from mixit import published, weights
from mixit.convert import add_options
from mixit.google.architecture import Options
from mixit.google.graph import INPUT, OUTPUT, MetaGraph
from mixit.google.restore import restore
from mixit.layers import is_fusion_faster
from mixit.model import Tdcn

SEGMENT_SECONDS = 10.0
DEFAULT = "universal"
"""Model of the command line: speech, music and other sounds, bundled."""
FORM = ("stem", "stem_rate")
"""Options of the stems, which a model does not take."""


def load(  # noqa: PLR0913 (each is one property that a checkpoint may not state)
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
    metagraph: bool | str | Path = False,
    input_tensor: str | None = None,
    output_tensor: str | None = None,
    checkpoint: str | None = None,
) -> Separator:
    """Make a separator from a run folder, or from a checkpoint of Google's program.

    What neither the tensors of a TF1 checkpoint nor a meta graph beside it state is
    taken from the options, see :class:`mixit.google.architecture.Options`.

    Args:
        path: Output folder of a training run or prefix of one of its checkpoints, or
            prefix or folder of a TF1 checkpoint, or ``universal`` or ``mini``, which
            come with the package, or the name of a model in
            :data:`mixit.published.MODELS`.
        segment_seconds: Longest chunk that goes through the network in one pass.
        overlap: Fraction of a chunk that it shares with the next one, above 0, below 1.
        num_dilations: Blocks of one repeat, by default 8.
        window_samples: Length of a frame.
        hop_samples: Distance between frames.
        sample_rate: Rate of the training in Hz, by default 16000.
        mixture_consistency: ``pred_source``, ``magsq``, ``uniform`` or ``none``.
        front_padding: Whether the STFT begins with frames that hold zeros.
        norm: ``instance_norm`` over frames, ``layer_norm`` over channels or
            ``global_layer_norm`` over both, whatever the checkpoint calls it.
        metagraph: Run the meta graph of a TF1 checkpoint as it is: the one beside it,
            or the file of this path.
        input_tensor: Name of its input [1, mics, samples], by default Google's.
        output_tensor: Name of its output [1, sources, samples], likewise.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Returns:
        The separator; its sources are named source0, source1, ... in the order of the
        outputs. The order is kept from chunk to chunk, but has no meaning.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or of another model, or the
            network differs from the meta graph beside it.
        MetaGraphError: The meta graph is damaged, or it is missing and required.
    """
    location = weights.locate(path, checkpoint)
    chunks = {"segment_seconds": segment_seconds, "overlap": overlap}
    options = Options(
        num_dilations,
        window_samples,
        hop_samples,
        sample_rate,
        mixture_consistency,
        front_padding,
        norm,
    )
    if location.run is not None:
        if metagraph or input_tensor or output_tensor or options != Options():
            raise CheckpointError(
                f"{path} is a run folder, which states its model and has no meta "
                "graph; leave out the options for TF1 checkpoints"
            )
        return separator(weights.restore_run(location, checkpoint), **chunks)
    tensors = {
        "input_tensor": input_tensor or INPUT,
        "output_tensor": output_tensor or OUTPUT,
    }
    if metagraph:
        _check_rate_alone(options)
        rate = published.with_rate(locate(location.path), options).rate
        file = None if metagraph is True else user_path(metagraph)
        return _of_graph(MetaGraph(location.path, **tensors, file=file), rate, chunks)
    network, _ = restore(location.path, **tensors, **dataclasses.asdict(options))
    return separator(network, **chunks)


def separator(
    network: Tdcn, segment_seconds: float = SEGMENT_SECONDS, overlap: float = 0.25
) -> Separator:
    """Make a separator of a network."""
    signature = [tf.TensorSpec([None, network.config.num_mics, None], tf.float32)]
    plain = graph(network.images, input_signature=signature)
    fused = graph(
        functools.partial(network.images, fused=True), input_signature=signature
    )
    # Chunks of long sound have one or two lengths in frames, each compiled once.
    segment = segment_seconds * network.config.sample_rate - 0.5
    fused_from = segment if is_fusion_faster() else math.inf

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
        complete=network.config.mixture_consistency != "none",
        digest=lambda: fingerprint(network.variables, network.config),
    )


def _check_rate_alone(options: Options) -> None:
    """Refuse options that do not apply to a meta graph that is run as it is."""
    others = dataclasses.asdict(dataclasses.replace(options, sample_rate=None))
    names = [name for name, value in others.items() if value is not None]
    if names:
        raise MetaGraphError(
            f"the meta graph is run as it is, whatever {' and '.join(names)}; leave "
            "that out, or leave metagraph out"
        )


def _of_graph(meta_graph: MetaGraph, sample_rate: int, chunks: dict) -> Separator:
    """Make a separator of a meta graph, which estimates at one microphone."""
    if meta_graph.num_mics > 1:
        raise MetaGraphError(
            f"the meta graph takes {meta_graph.num_mics} microphones and estimates the "
            "sources at the first alone; leave metagraph out, or if the network is not "
            "built natively, call mixit.google.graph.MetaGraph(PATH) in Python"
        )
    return Separator(
        lambda mixture: meta_graph(mixture)[:, :, np.newaxis],
        sources=tuple(f"source{i}" for i in range(meta_graph.num_sources)),
        sample_rate=sample_rate,
        grid_samples=meta_graph.hop_samples,
        digest=lambda: fingerprint([], *map(digest, meta_graph.files)),
        **chunks,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(
        _load,
        argv,
        "Separate sound files into unnamed sources.",
        pillar="mixit",
        model=DEFAULT,
        configure=_configure,
        form=_form,
        words={"input": ["-i", "--input"], "model": ["-m", "--model_dir"]},
    )


def _load(
    path: str,
    num_sources: int | None = None,
    checkpoint: str | None = None,
    **options: Any,
) -> Separator:
    """Load a model; ``num_sources`` must be the number of its outputs.

    Google's ``--checkpoint`` is the path of a checkpoint, which names the model.
    """
    if checkpoint and not is_choice(checkpoint) and exists(user_path(checkpoint)):
        path, checkpoint = checkpoint, None
    chosen = {name: value for name, value in options.items() if name not in FORM}
    separator = load(path, checkpoint=checkpoint, **chosen)
    outputs = len(separator.sources)
    if num_sources not in (None, outputs):
        raise SeparationError(
            f"--num_sources is {num_sources}, but the model has {outputs} outputs; "
            "leave it out, and give --targets to write some of them"
        )
    return separator


def _form(options: Mapping[str, Any]) -> Form:
    """Return the form with stems named after the output file, if there is one."""
    stem, rate = options["stem"], options["stem_rate"]
    return Form("{name}/{source}" if stem is None else f"{stem}_{{source}}", rate=rate)


class FolderOrFile(argparse.Action):
    """Reads the folder of the stems, or ``X.wav`` for ``X_source0.wav``, ..."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the folder in ``output`` and the beginning of names in ``stem``."""
        path = Path(values)
        is_file = path.suffix.lower() == ".wav"
        namespace.output = str(path.parent) if is_file else values
        escaped = path.stem.replace("{", "{{").replace("}", "}}")
        namespace.stem = escaped if is_file else None


class Refused(argparse.Action):
    """Refuses a flag of Google's program; ``const`` is the cure.

    Without it ``-oc 2`` would be read as ``-o c`` and an input ``2``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """End with an error."""
        parser.error(f"argument {option_string}: not supported; {self.const}")


class StemsOrTraining(argparse.Action):
    """Reads the rate of the stems by name, or that of the training as a number."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value in ``stem_rate`` or ``sample_rate``."""
        if values in get_args(Rate):
            namespace.stem_rate = values
        elif values.isdecimal():
            namespace.sample_rate = int(values)
        else:
            parser.error(
                f"argument {option_string}: {values!r} is neither input, model nor a "
                "number of Hz"
            )


def _configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`load` for checkpoints of Google's program."""
    add_options(parser)
    # Must precede an option of the same name, which replaces that of the checkpoint.
    parser.set_defaults(sample_rate=parser.get_default("sample_rate"))
    parser.add_argument(
        "--sample-rate",
        action=StemsOrTraining,
        default=argparse.SUPPRESS,
        metavar="{input,model,HZ}",
        help=f"{RATE_HELP}; a number states the rate of a TF1 checkpoint in Hz",
    )
    parser.add_argument(
        "--metagraph",
        action="store_true",
        help="run the meta graph beside a TF1 checkpoint unchanged",
    )
    add = parser.add_argument
    add(
        *("--input-tensor", "-it", "--input_tensor"),
        help=f"input of the meta graph (default: {INPUT})",
    )
    add(
        *("--output-tensor", "-ot", "--output_tensor"),
        help=f"output of the meta graph (default: {OUTPUT})",
    )
    _add_google_words(parser)


def _add_google_words(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``process_wav`` that are not aliases of other options."""
    add = parser.add_argument
    parser.set_defaults(stem=None, stem_rate="input")
    add(
        *("--output", "-o"),
        action=FolderOrFile,
        default="separated",
        metavar="FOLDER",
        help="folder of the stems, or X.wav to write X_source0.wav, ... of one input "
        "(default: %(default)s)",
    )
    add(
        *("--segment", "-bs", "--block_size_in_seconds"),
        type=float,
        metavar="SECONDS",
        help="longest sound that goes through the network in one pass, in seconds "
        "(default: 10)",
    )
    add(
        *("--checkpoint", "-c"),
        metavar="WHICH",
        help="which checkpoint of a run folder: latest, best or step-N (default: best "
        "if there is one, else latest); or the path of a TF1 checkpoint, instead of "
        "--model",
    )
    refused = {
        ("-ic", "--input_channels"): "leave it out: all channels are separated",
        ("-oc", "--output_channels"): "choose outputs with --targets source0,source1",
    }
    for flags, cure in refused.items():
        add(
            *flags,
            action=Refused,
            const=cure,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )
    add(
        *("-ns", "--num_sources"),
        type=int,
        metavar="N",
        help="must be the model's number of outputs",
    )


if __name__ == "__main__":
    sys.exit(main())
