"""Load weights of Google's TF1 program into the native network, and compare both.

Every tensor must match a variable: the error lists all missing, extra and misshapen
ones by name. If a meta graph for inference is beside the checkpoint, the native network
is compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common.training.checkpoint import (
    CheckpointError,
    restore_network,
    restore_training,
)
from common.weights.tf1 import locate, read
from mixit import published, weights
from mixit.config import Network
from mixit.google import graph
from mixit.google.architecture import NORMS, Options, derive, norm_names
from mixit.google.graph import TOLERANCE, MetaGraph, largest_difference
from mixit.google.names import SLOTS, STEM, ordered
from mixit.layers import Projection
from mixit.model import Block, Tdcn

OPTIONS = tuple(field.name for field in fields(Options))
"""Names of properties that a checkpoint may not state."""

ADAM = "Adam", "Adam_1"
"""Slots of the two moments beside each variable."""


def names(network: Tdcn, norm: str | None = None) -> dict[str, tf.Variable]:
    """Map canonical names of Google's program to the variables of our network.

    Args:
        network: The network.
        norm: Name that its norms have in the checkpoint; None: that of our
            configuration.
    """
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
        table.update(_block(root, block, norm or network.config.norm))
    return table


def assign(network: Tdcn, tensors: Mapping[str, np.ndarray]) -> None:
    """Assign a tensor to every variable of a network by name.

    Args:
        network: The network to fill.
        tensors: Tensors by their names in Google's program.

    Raises:
        CheckpointError: Tensors are missing, extra or misshapen; lists all of them.
    """
    names_by_key = ordered(tensors)
    table = _table(network, names_by_key)
    problems = [f"missing {key}" for key in table if key not in names_by_key]
    problems += [f"extra {n}" for key, n in names_by_key.items() if key not in table]
    for key in (key for key in table if key in names_by_key):
        shape, expected = np.shape(tensors[names_by_key[key]]), tuple(table[key].shape)
        if _long_axes(shape) != _long_axes(expected):
            problems.append(
                f"misshapen {names_by_key[key]}: {shape}, expected {expected}"
            )
    if problems:
        raise CheckpointError(
            f"{len(problems)} tensors do not fit the network: {'; '.join(problems)}"
        )
    for key, variable in table.items():
        variable.assign(np.reshape(tensors[names_by_key[key]], variable.shape))


def architecture(
    tensors: Mapping[str, np.ndarray],
    options: Options | None = None,
    facts: graph.Facts | None = None,
) -> Network:
    """Derive the network; see :func:`mixit.google.architecture.derive`.

    Args:
        tensors: Tensor by the name that it has in the checkpoint.
        options: Properties that names and shapes do not state.
        facts: Facts of the meta graph.

    Raises:
        CheckpointError: The tensors are those of another network.
    """
    shapes = {key: np.shape(tensors[name]) for key, name in ordered(tensors).items()}
    return derive(shapes, options, facts)


def restore(
    path: str | Path,
    *,
    input_tensor: str = graph.INPUT,
    output_tensor: str = graph.OUTPUT,
    **options: Any,
) -> tuple[Tdcn, float | None]:
    """Build and fill the network of a TF1 checkpoint, and compare it with its graph.

    Args:
        path: Name of a published model, checkpoint prefix, or the folder of one; a
            meta graph beside it is read, and run if it has the input.
        input_tensor: Name of the mixture in that graph.
        output_tensor: Name of the estimates in it.
        **options: Those of :class:`mixit.google.architecture.Options`.

    Returns:
        The network, and its largest difference from the graph, see :func:`check`; None
        if no graph could be run.

    Raises:
        CheckpointError: The checkpoint is damaged or of another architecture, or the
            network differs from the graph.
        MetaGraphError: The meta graph beside it is damaged or of another model.
    """
    location = weights.locate(path)
    if location.run is not None:
        raise CheckpointError(
            f"{path} is of this suite and needs no conversion; give it to "
            "mixit.separate as it is"
        )
    prefix = locate(location.path)
    tensors, beside = read(prefix, SLOTS), graph.find(prefix)
    facts = graph.read(beside, output_tensor) if beside else None
    stated = published.with_rate(prefix, Options(**options))
    network = Tdcn(architecture(tensors, stated, facts))
    assign(network, tensors)
    if beside is None or not graph.has(beside, input_tensor):
        return network, None
    return network, check(network, MetaGraph(prefix, input_tensor, output_tensor))


def start_from(model: keras.Model, path: str | Path, with_moments: bool = True) -> int:
    """Initialise a training with the weights of a run folder or a TF1 checkpoint.

    If the checkpoint has the moments of Adam, they and the step may be restored too, so
    that the training continues.

    Args:
        model: Compiled model of :func:`mixit.train.compiled`, fresh.
        path: Run folder, prefix or folder of a TF1 checkpoint, or name of a model.
        with_moments: Whether to restore the moments and the step.

    Returns:
        Number of steps of the optimizer.

    Raises:
        CheckpointError: The weights are not those of the model's network.
    """
    location = weights.locate(path)
    path = location.path
    if location.run is not None:
        if with_moments:
            restore_training(path, model)
        else:
            restore_network(path, model.network)
        return int(model.optimizer.iterations.numpy())
    tensors = read(path)
    names_by_key = ordered(name for name in tensors if not SLOTS.search(name))
    _check_graph(model.network.config, tensors, path)
    assign(model.network, {name: tensors[name] for name in names_by_key.values()})
    slots = [[f"{name}/{slot}" for name in names_by_key.values()] for slot in ADAM]
    if not with_moments or not all(
        name in tensors for names in slots for name in names
    ):
        return 0
    table, optimizer = _table(model.network, names_by_key), model.optimizer
    positions = {v.ref(): i for i, v in enumerate(model.network.trainable_variables)}
    # Keras keeps these two lists in the order of the variables, without documentation.
    kept = optimizer._momentums, optimizer._velocities
    for moments, slot in zip(kept, slots, strict=True):
        for key, name in zip(names_by_key, slot, strict=True):
            variable = moments[positions[table[key].ref()]]
            variable.assign(np.reshape(tensors[name], variable.shape))
    optimizer.iterations.assign(int(tensors.get("global_step", 0)))
    return int(optimizer.iterations.numpy())


def check(network: Tdcn, meta_graph: MetaGraph) -> float:
    """Compare a native network with the meta graph.

    Returns:
        Largest difference of any two samples, full scale 1.

    Raises:
        CheckpointError: It is above 1e-4, so the network differs from the graph.
    """
    difference = largest_difference(network, meta_graph)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"the native network differs from the meta graph by {difference:.3g}, "
            f"expected at most {TOLERANCE:g}; {graph.AS_IT_IS}"
        )
    return difference


def _table(network: Tdcn, names_by_key: Mapping[str, str]) -> dict[str, tf.Variable]:
    """Map names to variables, with the name of our norm in the checkpoint."""
    norms = norm_names(names_by_key)
    is_ours = len(norms) == 1 and network.config.norm in NORMS.get(norms[0], ())
    return names(network, norms[0] if is_ours else None)


def _check_graph(
    config: Network, tensors: Mapping[str, np.ndarray], path: str | Path
) -> None:
    """Check that a network is that of the meta graph beside a checkpoint."""
    beside = graph.find(locate(path))
    if beside is not None and graph.has(beside, graph.OUTPUT):
        weights = {n: tensor for n, tensor in tensors.items() if not SLOTS.search(n)}
        stated = Options(**{name: getattr(config, name) for name in OPTIONS})
        architecture(weights, stated, graph.read(beside))


def _long_axes(shape: Any) -> list[int]:
    """Return the sizes without axes of one element, which do not affect the order."""
    return [int(size) for size in shape if int(size) != 1]


def _projection(root: str, layer: Projection) -> dict[str, tf.Variable]:
    scope = f"{root}/dense" if root else "dense"
    table = {f"{scope}/kernel": layer.kernel}
    if layer.bias is not None:
        table[f"{scope}/bias"] = layer.bias
    if layer.scale is not None:
        table[f"{scope}_scale/scale_layer"] = layer.scale
    return table


def _block(root: str, block: Block, norm: str) -> dict[str, tf.Variable]:
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
