"""Convert weights of Google's TF1 program for the native network.

``python -m mixit.convert SOURCE DEST`` reads a TF1 checkpoint (Apache-2.0 weights of
google-research/sound-separation keep their licence) and writes a run folder that
``mixit.load`` and the other commands take. Every tensor must match a variable: the
error lists all missing, extra and misshapen ones by name. If a meta graph for inference
is beside the checkpoint, the native network is compared with it; ``--check`` requires
one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.config import load as load_config
from common.files import user_path
from common.overwriting import refuse_overwriting
from common.training import run_folder
from common.training.checkpoint import CheckpointError, restore_network, save_network
from common.weights import bundled, convert_command
from common.weights.bundled import BUNDLED, Form
from common.weights.card import Card, Score
from common.weights.tf1 import locate
from mixit import load, weights
from mixit.config import FUSS, MixitConfig
from mixit.google import graph
from mixit.google.architecture import CONSISTENCIES, NORMS
from mixit.google.graph import TOLERANCE, MetaGraph
from mixit.google.restore import OPTIONS, check, restore
from mixit.model import Tdcn


def main(argv: Sequence[str] | None = None) -> int:
    """Convert a TF1 checkpoint to a run folder."""
    parser = convert_command.parser(
        "mixit.convert",
        main.__doc__,
        "require a meta graph beside the checkpoint that can be run; if there is "
        "one, the network is always compared with it, and refused if any two "
        f"samples differ by more than {TOLERANCE:g} of full scale",
    )
    parser.add_argument("--input-tensor", default=graph.INPUT)
    parser.add_argument("--output-tensor", default=graph.OUTPUT)
    add_options(parser)
    return convert_command.command(parser, _main, bundle, load, argv)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the fields of :class:`Options`, which a TF1 checkpoint may not state."""
    group = parser.add_argument_group("TF1 checkpoints")
    add = group.add_argument
    add("--num-dilations", type=int, help="blocks in each repeat")
    add("--window-samples", type=int, help="length of a frame in samples")
    add("--hop-samples", type=int, help="distance between frames in samples")
    add("--sample-rate", type=int, help="rate of the training in Hz")
    add("--mixture-consistency", choices=CONSISTENCIES)
    add(
        "--front-padding",
        action=argparse.BooleanOptionalAction,
        help="whether the signal is padded with zeros before the first frame",
    )
    add(
        "--norm",
        choices=NORMS,
        help="over frames (instance_norm), channels (layer_norm) or both "
        "(global_layer_norm), whatever the checkpoint calls it",
    )


def _main(options: argparse.Namespace) -> int:
    dest = options.dest and user_path(options.dest)
    if dest and (dest / "config.json").exists():
        raise CheckpointError(f"{dest} holds a run already; name another folder")
    source = weights.locate(options.source).path
    if dest:
        refuse_overwriting([dest], [source, locate(source).parent])
    tensors = {"input_tensor": options.input_tensor}
    tensors["output_tensor"] = options.output_tensor
    chosen = {name: getattr(options, name) for name in OPTIONS}
    network, difference = restore(source, **tensors, **chosen)
    if options.check and difference is None:
        difference = check(network, MetaGraph(source, **tensors))
    if difference is not None:
        sys.stdout.write(f"largest difference from the meta graph: {difference:.3g}\n")
    if dest:
        config = dataclasses.replace(FUSS, model=network.config, output=str(dest))
        run_folder.prepare(dest, config)
        save_network(dest, network)
    sys.stdout.write(
        f"{dest or source}: {len(network.variables)} tensors, "
        f"{network.count_params()} weights, {network.config.num_sources} sources\n"
    )
    return 0


def bundle(run: str | Path, folder: str | Path, form: Form = BUNDLED) -> Card:
    """Write the network of a run, without optimizer and paths.

    Args:
        run: Run folder.
        folder: The folder to make, or of a bundled model to replace; its cards stay.
        form: How it is written.

    Returns:
        The card of the model.

    Raises:
        ConfigError: The network is too large for the package.
        CheckpointError: The run has no checkpoint.
    """
    config = load_config(MixitConfig, Path(run) / bundled.CONFIG)
    network = Tdcn(config.model)
    bundled.refuse_large(run, network.count_params(), form)
    restore_network(run, network)
    bare = dataclasses.replace(
        config,
        data_root=None,
        labelled_root=None,
        initial=None,
        records=None,
        output=None,
    )
    return bundled.write(run, folder, {"": (network, bare)}, load, form, card_scores)


def card_scores(summary: Mapping[str, Any]) -> list[Score]:
    """Make the scores of a card of the ``summary.json`` of an evaluation.

    Args:
        summary: Of :mod:`mixit.evaluate`.
    """
    where = f"{summary['examples']} examples of the split {summary['split']}"
    return [
        Score(
            {"1S": "SI-SNR of single sources"}.get(name, f"SI-SNRi ({name})"),
            "dB",
            where,
            not summary["synthetic"],
            {"mean": round(summary[name]["mean"], 2)},
        )
        for name in ("MSi", "1S", "MoMi")
        if name in summary and summary[name]["mean"] is not None
    ]


if __name__ == "__main__":
    sys.exit(main())
