"""Weights of Google's TF1 program for the native network.

``python -m mixit.convert SOURCE DEST`` reads a TF1 checkpoint (Apache-2.0 weights of
google-research/sound-separation keep their licence) and writes a run folder that
``mixit.load`` and the other commands take. Every tensor must find its place: a missing,
extra or misshapen one is an error that lists all of them by name. ``--check`` compares
the native network with the meta graph that was shipped beside the checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common import run_folder
from common.checkpoint import CheckpointError, restore_network, save_network
from common.errors import exit_code
from common.inputs import refuse_overwriting
from common.tf1_checkpoint import locate
from mixit import published
from mixit.checkpoints import metagraph
from mixit.checkpoints.architecture import CONSISTENCIES, Options, derive
from mixit.checkpoints.shipped import TOLERANCE, Shipped, largest_difference
from mixit.checkpoints.tensors import SLOTS, STEM, canonical, ordered, read
from mixit.config import FUSS, Network
from mixit.model import Tdcn

__all__ = [
    "architecture", "assign", "canonical", "check", "load", "main", "names", "read",
    "start_from",
]  # fmt: skip

ADAM = "Adam", "Adam_1"
"""Slots of the two moments beside each variable."""


def names(network: Tdcn) -> dict[str, tf.Variable]:
    """Map canonical names of Google's program to the variables of our network."""
    table = _projection("initial_dense", network.initial)
    table.update(_projection("", network.mask))
    if network.config.basis == "learned":
        table.update(_projection("conv_encoder", network.basis.encoder))
        table.update(_projection("conv_decoder", network.basis.decoder))
    else:
        table["layer_norm_on_mag/gamma"] = network.basis.norm.gamma
        table["layer_norm_on_mag/beta"] = network.basis.norm.beta
    if network.weighting is not None:
        table.update(_projection("mix_weights", network.weighting))
    for edge, layer in network.skips.items():
        table.update(_projection(f"{STEM}/res_dense_{edge}", layer))
    for index, block in enumerate(network.blocks):
        root = f"{STEM}/conv_block_{index}/tdcn_block"
        table.update(_block(root, block, network.config.norm))
    return table


def assign(network: Tdcn, tensors: Mapping[str, np.ndarray]) -> None:
    """Give every variable of a network the tensor of its name.

    Args:
        network: The network to fill.
        tensors: Tensor by the name that Google's program gives it.

    Raises:
        CheckpointError: Tensors are missing, extra or misshapen; lists all of them.
    """
    table, found = names(network), ordered(tensors)
    problems = [f"missing {name}" for name in table if name not in found]
    problems += [f"extra {found[name]}" for name in found if name not in table]
    for name, variable in table.items():
        got = np.shape(tensors[found[name]]) if name in found else variable.shape
        if _long_axes(got) != _long_axes(variable.shape):
            wanted = tuple(variable.shape)
            problems.append(f"misshapen {found[name]}: {got}, expected {wanted}")
    if problems:
        raise CheckpointError(
            f"{len(problems)} tensors do not fit the network: {'; '.join(problems)}"
        )
    for name, variable in table.items():
        variable.assign(np.reshape(tensors[found[name]], variable.shape))


def architecture(
    tensors: Mapping[str, np.ndarray],
    options: Options | None = None,
    facts: metagraph.Facts | None = None,
) -> Network:
    """Derive the network; see :func:`mixit.checkpoints.architecture.derive`.

    Args:
        tensors: Tensor by name, as :func:`mixit.checkpoints.tensors.read` gives them.
        options: What names and shapes do not tell.
        facts: What the meta graph tells.

    Raises:
        CheckpointError: The tensors are those of something else.
    """
    shapes = {key: np.shape(tensors[name]) for key, name in ordered(tensors).items()}
    return derive(shapes, options, facts)


def load(
    path: str | Path, *, output_tensor: str = metagraph.OUTPUT, **options: Any
) -> Tdcn:
    """Build and fill the network of a TF1 checkpoint.

    Args:
        path: Checkpoint prefix, or the folder of one; a meta graph beside it is read.
        output_tensor: Name of the estimates in that graph.
        **options: Those of :class:`mixit.checkpoints.architecture.Options`.

    Raises:
        CheckpointError: The checkpoint is damaged or of another architecture.
        MetaGraphError: The meta graph beside it is.
    """
    prefix = locate(path)
    tensors = read(prefix)
    beside = metagraph.find(prefix)
    facts = metagraph.read(beside, output_tensor) if beside else None
    told = published.with_rate(prefix, Options(**options))
    network = Tdcn(architecture(tensors, told, facts))
    assign(network, tensors)
    return network


def start_from(model: Any, path: str | Path) -> int:
    """Let a training begin with the weights of a run folder or a TF1 checkpoint.

    Where a TF1 checkpoint has the moments of Adam, they and the step are taken too, so
    that the training goes on as Google's program would.

    Args:
        model: Compiled model of :func:`mixit.train.compiled`, fresh.
        path: Run folder, or prefix or folder of a TF1 checkpoint.

    Returns:
        Number of steps that the optimizer has behind it.

    Raises:
        CheckpointError: The weights are not those of the model's network.
    """
    if (Path(path) / "config.json").exists():
        restore_network(path, model.network)
        return 0
    tensors = read(path, slots=True)
    found = ordered(name for name in tensors if not SLOTS.search(name))
    assign(model.network, {name: tensors[name] for name in found.values()})
    slots = [[f"{name}/{slot}" for name in found.values()] for slot in ADAM]
    if not all(name in tensors for each in slots for name in each):
        return 0
    table, optimizer = names(model.network), model.optimizer
    places = {v.ref(): i for i, v in enumerate(model.network.trainable_variables)}
    # Keras keeps these two lists in the order of the variables and tells it nowhere.
    kept = optimizer._momentums, optimizer._velocities
    for moments, slot in zip(kept, slots, strict=True):
        for key, name in zip(found, slot, strict=True):
            variable = moments[places[table[key].ref()]]
            variable.assign(np.reshape(tensors[name], variable.shape))
    optimizer.iterations.assign(int(tensors.get("global_step", 0)))
    return int(optimizer.iterations.numpy())


def check(network: Tdcn, shipped: Shipped) -> float:
    """Compare a native network with the shipped graph.

    Returns:
        Largest difference of any two samples, full scale 1.

    Raises:
        CheckpointError: It is above 1e-4: the network is not that of the graph.
    """
    difference = largest_difference(network, shipped)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"the native network differs from the shipped graph by {difference:.3g}, "
            f"expected at most {TOLERANCE:g}; {metagraph.AS_IT_IS}"
        )
    return difference


def main(argv: Sequence[str] | None = None) -> int:
    """Turn a TF1 checkpoint into a run folder; returns the exit code."""
    parser = argparse.ArgumentParser("mixit.convert", description=main.__doc__)
    parser.add_argument("source", help="TF1 checkpoint prefix or folder, or a name")
    parser.add_argument("dest", nargs="?", help="run folder to make")
    parser.add_argument(
        "--check",
        action="store_true",
        help="run the meta graph beside the checkpoint too, print the largest "
        f"difference, refuse the network above {TOLERANCE:g}",
    )
    parser.add_argument("--input-tensor", default=metagraph.INPUT)
    parser.add_argument("--output-tensor", default=metagraph.OUTPUT)
    add_options(parser)
    options = parser.parse_args(argv)
    return exit_code("mixit.convert", lambda: _main(options))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the shapes of a TF1 checkpoint do not tell."""
    group = parser.add_argument_group("TF1 checkpoints")
    defaults = Options()
    add = group.add_argument
    add("--num-dilations", type=int, default=defaults.num_dilations)
    add("--window-samples", type=int, help="length of a frame")
    add("--hop-samples", type=int, help="distance between frames")
    add("--sample-rate", type=int, default=defaults.sample_rate, help="in Hz")
    add("--mixture-consistency", choices=CONSISTENCIES)
    add("--front-padding", action="store_true", default=None)


def _main(options: argparse.Namespace) -> int:
    if options.dest is None and not options.check:
        raise CheckpointError("DEST is not given; name a run folder, or give --check")
    if options.dest and (Path(options.dest) / "config.json").exists():
        raise CheckpointError(
            f"{options.dest} holds a run already; name another folder"
        )
    source = published.resolve(options.source)
    if options.dest:
        refuse_overwriting([options.dest], [source, locate(source).parent])
    told = {each.name: getattr(options, each.name, None) for each in _OPTIONS}
    network = load(source, output_tensor=options.output_tensor, **told)
    if options.check:
        shipped = Shipped(source, options.input_tensor, options.output_tensor)
        difference = check(network, shipped)
        sys.stdout.write(
            f"largest difference from the shipped graph: {difference:.3g}\n"
        )
    if options.dest:
        config = dataclasses.replace(FUSS, model=network.config, output=options.dest)
        run_folder.prepare(Path(options.dest), config)
        save_network(options.dest, network)
    sys.stdout.write(
        f"{options.dest or source}: {len(network.variables)} tensors, "
        f"{network.count_params()} weights, {network.config.num_sources} sources\n"
    )
    return 0


_OPTIONS = dataclasses.fields(Options)


def _long_axes(shape: Any) -> list[int]:
    """Sizes without axes of one element, which say nothing about the order."""
    return [int(size) for size in shape if int(size) != 1]


def _projection(root: str, layer: Any) -> dict[str, tf.Variable]:
    place = f"{root}/dense" if root else "dense"
    table = {f"{place}/kernel": layer.kernel}
    if layer.bias is not None:
        table[f"{place}/bias"] = layer.bias
    if layer.scale is not None:
        table[f"{place}_scale/scale_layer"] = layer.scale
    return table


def _block(root: str, block: Any, norm: str) -> dict[str, tf.Variable]:
    table = {
        **_projection(f"{root}/dense1", block.widen),
        **_projection(f"{root}/dense2", block.narrow),
        f"{root}/timeconv/separable_conv/depthwise_kernel": block.convolve.kernel,
        f"{root}/timeconv/separable_conv/bias": block.convolve.bias,
    }
    for name, layer in (("normact1", block.norm1), ("normact2", block.norm2)):
        table[f"{root}/{name}/prelu/prelu"] = layer.slope
        table[f"{root}/{name}/{norm}/gamma"] = layer.gamma
        table[f"{root}/{name}/{norm}/beta"] = layer.beta
    return table


if __name__ == "__main__":
    sys.exit(main())
