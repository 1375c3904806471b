"""Read models of nussl 1.x as our networks with their weights.

nussl's ``SeparationModel.save`` writes a graph (modules of some classes, and their
connections), tensors by name and metadata. Nothing in such a file is run, and no class
in it is imported.

The graphs of three builders of nussl are supported (nussl 1.1.9,
``ml/networks/builders.py``): deep clustering, mask inference and chimera. Any other is
refused, because a similar network would give other numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from clustering.config import Clustering, ClusteringConfig, NetworkName
from clustering.foreign import tensors as foreign_tensors
from clustering.foreign.tensors import (
    NetworkError,
    Table,
    linear,
    sample_rate,
    unknown_value,
)
from clustering.models import shapes
from clustering.models.network import HEADS
from clustering.models.spectral import Head, HeadName, SpectralNetwork
from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from common.weights.torch_file import TorchFileError

INPUT = "mixture"
"""Name of the input in :func:`parts`, for any name in a model."""

CLASSES: Mapping[str, tuple[str, ...]] = {
    "log_spectrogram": ("AmplitudeToDB",),
    "normalization": ("BatchNorm", "InstanceNorm"),
    "recurrent_stack": ("RecurrentStack",),
    "embedding": ("Embedding",),
    "mask": ("Embedding",),
    "estimates": ("Mask",),
}
"""Classes of modules by the names of the modules."""

GATED, NONLINEAR, NORM = (
    ("gated_tanh",),
    ("sigmoid", "tanh", "relu", "softmax"),
    ("unit_norm", "l1_norm"),
)
"""Activations in the order of nussl, which uses at most one of each."""

Modules = dict[str, dict[str, Any]]
"""Class and arguments of the modules of a model, by name."""

IGNORED = re.compile(r".*num_batches_tracked$")
RECURRENT = {
    "weight_ih": "kernel",
    "weight_hh": "recurrent_kernel",
    "bias_ih": "bias",
    "bias_hh": "recurrent_bias",
}
BATCH = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


@dataclass(frozen=True)
class NusslModel:
    """A model of nussl, restored.

    Attributes:
        network: Our network, with the weights of the file.
        heads: Heads of the network.
        graph: Configuration of the ``SeparationModel``.
        tensors: Its tensors by nussl's names.
        metadata: The metadata of the file.
    """

    network: SpectralNetwork
    heads: tuple[HeadName, ...]
    graph: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]

    @property
    def kind(self) -> NetworkName:
        """Name of the network."""
        return next(kind for kind, heads in HEADS.items() if heads == self.heads)

    def config(self, requested_rate: int | None = None) -> ClusteringConfig:
        """Make the configuration of the network.

        The file does not state how the model was trained and how its embedding is
        clustered: training has the defaults of a new run, clustering those of nussl
        1.x.

        Args:
            requested_rate: Sample rate in Hz, if the file does not state it.

        Raises:
            CheckpointError: The sample rate is unknown, or there is no such transform
                here.
        """
        shape = self.network.config
        window = 2 * (shape.features.bins // shape.features.channels - 1)
        sources = shape.sources if "mask" in self.heads else 2
        return ClusteringConfig(
            kind=self.kind,
            spectral=shape,
            cluster=Clustering(sources=sources),
            sample_rate=sample_rate(self.metadata.get("sample_rate"), requested_rate),
            window_samples=window,
            hop_samples=_hop(self.metadata, window),
        )


def load(path: str | Path) -> NusslModel:
    """Restore a model that nussl saved.

    Args:
        path: File of ``SeparationModel.save``.

    Raises:
        CheckpointError: There is no file, it holds no model of nussl or one of another
            architecture, or a tensor is missing or does not fit.
        TorchFileError: The file is damaged, or names a class; nothing in it was run.
    """
    graph, tensors, metadata = _read(path)
    try:
        shape, heads = translate(graph)
        network = SpectralNetwork(shape, heads)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be converted: {error}") from error
    assign(network, tensors, str(path))
    return NusslModel(network, heads, graph, tensors, metadata)


def translate(graph: Any) -> tuple[shapes.Spectral, tuple[HeadName, ...]]:
    """Find the shape and the heads of the network that a graph describes.

    Args:
        graph: Configuration of a ``SeparationModel`` of nussl.

    Raises:
        NetworkError: It is not such a configuration, or there is no such network here.
    """
    modules, connections = parts(graph)
    names: tuple[HeadName, ...] = "embedding", "mask"
    heads = tuple(name for name in names if name in modules)
    problem = _difference(modules, connections, graph["output"], heads)
    if problem:
        raise _foreign(problem)
    recurrent, features = _recurrent(modules), _features(modules, heads[0])
    values: dict[str, Any] = {}
    for name, size in (("embedding", "embedding"), ("mask", "sources")):
        if name in heads:
            bins = features.bins // features.channels, features.channels
            values[size], values[f"{name}_activation"] = _head(modules, name, bins)
    return shapes.Spectral(features, recurrent, **values), heads


def parts(graph: Any) -> tuple[Modules, list[Any]]:
    """Split a graph into modules and connections, its input renamed to ``mixture``.

    Raises:
        NetworkError: It is not the configuration of a model of nussl.
    """
    try:
        modules = {
            name: {
                "class": str(module["class"]),
                "args": dict(module.get("args") or {}),
            }
            for name, module in graph["modules"].items()
            if "class" in module
        }
        inputs = [name for name in graph["modules"] if name not in modules]
        connections = [
            [name, [INPUT if source in inputs else source for source in sources]]
            for name, sources in graph["connections"]
        ]
        set(graph["output"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        problem = f"{type(error).__name__}: {str(error)[:80]}"
        raise NetworkError(
            f"its configuration is not that of a model of nussl ({problem}); expected "
            "modules, connections and output"
        ) from error
    if len(inputs) != 1:
        raise _foreign(f"{len(inputs)} inputs ({', '.join(map(str, inputs))})")
    return modules, connections


def assign(
    network: SpectralNetwork, tensors: Mapping[str, np.ndarray], source: str
) -> None:
    """Assign the tensors of nussl to the variables of a network.

    Args:
        network: The network.
        tensors: Tensors by nussl's names.
        source: Their file, for the error.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite; the
            message names all of them.
    """
    kept = {name: value for name, value in tensors.items() if not IGNORED.match(name)}
    variables = table(network)
    foreign_tensors.assign(variables, kept, source)
    if network.stack.recurrent.kind == "gru":
        # The gates of PyTorch begin with the reset, those of Keras with the update.
        for variable in (v for n, v in variables.items() if "recurrent_stack" in n):
            reset, update, new = tf.split(variable, 3, axis=-1)
            variable.assign(tf.concat([update, reset, new], -1))


def table(network: SpectralNetwork) -> Table:
    """List the variables of a network by the names of nussl."""
    variables: Table = {}
    norm, stack = network.stack.features.norm, network.stack.recurrent
    if norm is not None:
        prefix = "layers.normalization.batch_norm"
        variables |= {
            f"{prefix}.{key}": getattr(norm, our) for key, our in BATCH.items()
        }
    variables |= {
        f"layers.recurrent_stack.rnn.{name}_l{number}{suffix}": getattr(cell, our)
        for number, cells in enumerate(stack.cells)
        for suffix, cell in zip(("", "_reverse"), cells, strict=False)
        for name, our in RECURRENT.items()
    }
    for name, head in (("embedding", network.embedding), ("mask", network.mask)):
        if head is not None:
            variables |= _head_table(f"layers.{name}", head)
    return variables


def _head_table(prefix: str, head: Head) -> Table:
    variables = linear(f"{prefix}.linear", head.linear)
    if head.value is not None and head.gate is not None:
        variables |= linear(f"{prefix}.embed_linear.0", head.value)
        variables |= linear(f"{prefix}.embed_gate.0", head.gate)
    return variables


def _read(path: str | Path) -> tuple[Any, dict[str, np.ndarray], Mapping[str, Any]]:
    """Read graph, tensors and metadata of a file."""
    if not Path(path).is_file():
        raise CheckpointError(
            f"{path} is no file; expected one as SeparationModel.save of nussl writes"
        )
    try:
        # Trainers of nussl keep parameters and transforms of the data beside weights.
        content = torch_file.read(path, inert="nussl")
    except TorchFileError as error:
        if "it was not run" not in str(error):
            raise
        raise TorchFileError(
            f"{error}; nussl keeps objects beside the weights where it is given data "
            "to save with; save without these: model, metadata = SeparationModel."
            f"load({str(path)!r}); model.save(NEW, metadata={{'sample_rate': metadata["
            "'sample_rate'], 'stft_params': tuple(metadata['stft_params'])})"
        ) from error
    content = content if isinstance(content, Mapping) else {}
    metadata, state = content.get("metadata", {}), content.get("state_dict", {})
    if not isinstance(metadata, Mapping) or not _are_tensors(state):
        raise CheckpointError(
            f"{path} is no model of nussl 1.x; expected a dictionary with state_dict, "
            "config and metadata"
        )
    graph = _graph(path, content.get("config", metadata.get("config")))
    return graph, _without_aliases(state), metadata


def _are_tensors(state: object) -> bool:
    return (
        isinstance(state, Mapping)
        and bool(state)
        and all(
            isinstance(name, str) and isinstance(tensor, np.ndarray)
            for name, tensor in state.items()
        )
    )


def _graph(path: str | Path, text: Any) -> Any:
    try:
        # A dictionary may have tuples instead of the lists of JSON.
        return json.loads(text if isinstance(text, str) else json.dumps(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: its config is no JSON ({error}); expected what nussl writes"
        ) from error


def _without_aliases(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out second names: nussl lists layers.mask.weight as mask.weight too."""
    return {
        name: tensor
        for name, tensor in state.items()
        if f"layers.{name}" not in state
        or not np.array_equal(state[f"layers.{name}"], tensor)
    }


def _hop(metadata: Mapping[str, Any], window: int) -> int:
    """Read the distance of frames; nussl's default is a quarter of the window."""
    stored = metadata.get("stft_params")
    if isinstance(stored, list | tuple):
        names = ("window_length", "hop_length", "window_type")
        stored = dict(zip(names, stored, strict=False))
    params = dict(stored) if isinstance(stored, Mapping) else {}
    expected = {"window_length": window, "window_type": "sqrt_hann"}
    for name, value in expected.items():
        if params.get(name) not in (None, value):
            raise CheckpointError(
                f"stft_params.{name} is {params[name]}; expected {value}, the only "
                "transform of such a network here"
            )
    samples = params.get("hop_length") or window // 4
    if type(samples) is not int or not 0 < samples <= window:
        raise CheckpointError(
            f"stft_params.hop_length is {samples}; expected a whole number up to "
            f"{window}"
        )
    return samples


def _difference(
    modules: Modules,
    connections: Sequence[Any],
    output: Sequence[str],
    heads: Sequence[HeadName],
) -> str | None:
    """Describe the first difference from the graph of nussl for some heads."""
    expected: list[list[Any]] = [
        ["log_spectrogram", [INPUT]],
        ["normalization", ["log_spectrogram"]],
        ["recurrent_stack", ["normalization"]],
        *([name, ["recurrent_stack"]] for name in heads),
    ]
    if "mask" in heads:
        expected.append(["estimates", ["mask", INPUT]])
    names = [name for name, _ in expected]
    for name, module in modules.items():
        if name not in names or module["class"] not in CLASSES[name]:
            return f"module {name} of the class {module['class']}"
    if not heads:
        return "no module embedding and no module mask"
    for name in names:
        if name not in modules:
            return f"no module {name}"
    for actual, built in zip_longest(connections, expected):
        if actual is None:
            return f"nothing that feeds module {built[0]} with {built[1]}"
        if actual != built:
            return f"module {actual[0]} fed with {actual[1]}"
    results = {"embedding": "embedding", "mask": "estimates"}
    missing = sorted({results[name] for name in heads} - set(output))
    return f"no output {missing[0]}" if missing else None


def _foreign(problem: str) -> NetworkError:
    return NetworkError(
        f"it has {problem}, for which there is no network here; expected what nussl "
        "builds for deep clustering, mask inference or chimera (its end-to-end and "
        "dual-path networks are not among them)"
    )


def _features(modules: Modules, head: HeadName) -> shapes.Features:
    _arguments(modules, "log_spectrogram")
    batch = modules["normalization"]["class"] == "BatchNorm"
    fixed = {"num_features": 1, "feature_dim": 2, "eps": 1e-5, "momentum": 0.1}
    fixed |= {"affine": batch, "track_running_stats": batch}
    _arguments(modules, "normalization", fixed=fixed)
    bins = modules["recurrent_stack"]["args"]["num_features"]
    channels = modules[head]["args"].get("num_audio_channels", 1)
    if type(channels) is not int or channels < 1 or bins % channels:
        raise unknown_value(
            f"module {head}",
            "num_audio_channels",
            channels,
            f"a divisor of the {bins} features",
        )
    norm: shapes.FeatureNorm = "batch" if batch else "instance"
    return shapes.Features(bins, norm=norm, channels=channels)


def _recurrent(modules: Modules) -> shapes.Recurrent:
    name = "recurrent_stack"
    sizes = ("num_features", "hidden_size", "num_layers")
    args = _arguments(
        modules,
        name,
        (*sizes, "bidirectional", "dropout"),
        {"init_forget": True, "rnn_type": "lstm"},
        {"batch_first": True},
        sizes,
    )
    dropout, forget, kind = args["dropout"], bool(args["init_forget"]), args["rnn_type"]
    if kind not in ("lstm", "gru"):
        raise unknown_value(f"module {name}", "rnn_type", kind, "'lstm' or 'gru'")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise unknown_value(
            f"module {name}", "dropout", dropout, "a number from 0 to below 1"
        )
    return shapes.Recurrent(
        args["hidden_size"],
        args["num_layers"],
        bool(args["bidirectional"]),
        float(dropout),
        initial="xavier" if forget else "uniform",
        forget_bias=1.0 if forget else None,
        kind=kind,
    )


def _head(
    modules: Modules, name: str, bins: tuple[int, int]
) -> tuple[int, tuple[Any, ...]]:
    """Read the number of outputs of a head for each bin, and their activations."""
    sizes = ("num_features", "hidden_size", "embedding_size")
    fixed: dict[str, Any] = {"bias": True, "reshape": True, "dim_to_embed": -1}
    fixed |= {"num_features": bins[0], "num_audio_channels": bins[1]}
    args = _arguments(modules, name, (*sizes, "activation"), {}, fixed, sizes)
    value = args["activation"]
    names = [value] if isinstance(value, str) else value
    supported = [*GATED, *NONLINEAR, *NORM, "none"]
    if not isinstance(names, list | tuple) or any(n not in supported for n in names):
        raise unknown_value(
            f"module {name}", "activation", value, f"some of {', '.join(supported)}"
        )
    # nussl searches a text for each name: gated_tanh also contains tanh.
    rows = (GATED, NONLINEAR, NORM)
    chosen = [next((name for name in row if name in value), None) for row in rows]
    return args["embedding_size"], tuple(filter(None, chosen))


def _arguments(
    modules: Modules,
    name: str,
    required: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    sizes: Sequence[str] = (),
) -> dict[str, Any]:
    """Check the arguments of a module, all of which must be supported.

    Args:
        modules: All modules.
        name: The module.
        required: Arguments without a default.
        defaults: Other arguments that may have several values.
        fixed: Arguments with a single supported value.
        sizes: Arguments that must be whole numbers above 0.

    Raises:
        NetworkError: An argument is unknown, missing, or has another value.
    """
    values, fixed = {**(defaults or {}), **modules[name]["args"]}, fixed or {}
    for key, value in values.items():
        if key not in (*required, *(defaults or {}), *fixed):
            raise NetworkError(f"module {name} has the unknown argument {key}")
        if value != fixed.get(key, value):
            raise unknown_value(f"module {name}", key, value, repr(fixed[key]))
    for key in required:
        if key not in values:
            raise NetworkError(f"module {name} lacks the argument {key}")
    for key in sizes:
        if type(values[key]) is not int or values[key] < 1:
            raise unknown_value(
                f"module {name}", key, values[key], "a whole number above 0"
            )
    return values
