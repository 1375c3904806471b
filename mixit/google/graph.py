"""Read facts from the meta graph beside a checkpoint, and run it as it is.

Names and shapes of weights do not state hop, dilations, mixture consistency, the
activation of the masks and padding. The graph that Google's program exports for
inference, and the one that it saves with each checkpoint, do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import tensorflow as tf

from common.weights.tf1 import (
    MetaGraphError,
    Session,
    check_tensors,
    locate,
    read_meta_graph,
)
from mixit.config import Network
from mixit.layers import NORM_EPSILON
from mixit.model import Tdcn

INPUT = "input_audio/receiver_audio:0"
OUTPUT = "denoised_waveforms:0"

TOLERANCE = 1e-4
"""Largest accepted difference of a network from its graph, full scale 1."""
AS_IT_IS = "run the graph as it is (metagraph=True, --metagraph)"

VIEWS = {
    "Cast", "ExpandDims", "GatherV2", "Identity", "Reshape", "Slice", "Squeeze",
    "StopGradient", "StridedSlice", "Transpose",
}  # fmt: skip
"""Operations that pass on the numbers of their first input."""

NORMS = {(1,): "instance_norm", (3,): "layer_norm", (1, 3): "global_layer_norm"}
"""Norm by the axes of its moments in [batch, frames, 1, channels]."""

Nodes = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """Facts that a graph states, with defaults for the others.

    Attributes:
        window_samples: Length of a frame.
        hop_samples: Distance between frames.
        dilations: Dilation of every block, in order; empty if unknown.
        mixture_consistency: As in :class:`mixit.config.Network`.
        mask: Activation of the masks.
        front_padding: Number of zeros in front of the mixture.
        num_mics: Microphones of the input.
        norm: As in :class:`mixit.config.Network`.
    """

    window_samples: int | None = None
    hop_samples: int | None = None
    dilations: tuple[int, ...] = ()
    mixture_consistency: str | None = None
    mask: str | None = None
    front_padding: int | None = None
    num_mics: int | None = None
    norm: str | None = None


def find(prefix: Path) -> Path | None:
    """Find the meta graph of a checkpoint, preferably the one for inference.

    Args:
        prefix: Prefix of the checkpoint, such as ``model.ckpt-3547330``.

    Returns:
        ``inference.meta``, or the ``*inference.meta`` that is named like the prefix or
        is the only one, or ``{prefix}.meta``; None if the folder holds none of them.
    """
    exact = prefix.with_name("inference.meta")
    if exact.exists():
        return exact
    named = prefix.with_name(prefix.name.replace("model", "inference") + ".meta")
    others = sorted(prefix.parent.glob("*inference.meta"))
    if named in others or len(others) == 1:
        return named if named in others else others[0]
    own = prefix.with_name(prefix.name + ".meta")
    return own if own.exists() else None


def read(path: str | Path, output_tensor: str = OUTPUT) -> Facts:
    """Read the facts of a meta graph.

    Only the nodes that the output depends on are read, so that losses and image
    summaries of a training graph do not matter.

    Args:
        path: File of the meta graph.
        output_tensor: Name of the tensor of the estimates.

    Raises:
        MetaGraphError: The file is damaged, lacks the output, or computes something
            that the native network does not.
    """
    meta = read_meta_graph(path)
    check_tensors(meta, [output_tensor], path)
    every = {node.name: node for node in meta.graph_def.node}
    output = _name(output_tensor)
    nodes = {name: every[name] for name in _reached(every, output)}
    try:
        _check_epsilon(nodes)
        return Facts(
            window_samples=_only(_scalars(nodes, "frame_length"), "window"),
            hop_samples=_only(_scalars(nodes, "frame_step"), "hop"),
            dilations=_dilations(nodes),
            mixture_consistency=_consistency(nodes, output),
            mask=_mask(nodes),
            front_padding=max(_front_paddings(nodes), default=0),
            num_mics=_mics(nodes),
            norm=_norm(nodes),
        )
    except _UnknownError as error:
        raise MetaGraphError(f"{path} {error}; {AS_IT_IS}") from error


class _UnknownError(Exception):
    """Something in the graph that the native network does not compute."""


def _reached(nodes: Nodes, output: str) -> set[str]:
    """Return the names of the nodes that the output depends on."""
    seen, waiting = {output}, [output]
    while waiting:
        for source in map(_name, nodes[waiting.pop()].input):
            if source not in seen and source in nodes:
                seen.add(source)
                waiting.append(source)
    return seen


def _name(source: str) -> str:
    return source.split(":", maxsplit=1)[0].lstrip("^")


def _constant(node: Any) -> np.ndarray | None:
    return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None


def _scalars(nodes: Nodes, leaf: str) -> set[int]:
    """Return the values of the integers of a name in any scope."""
    pattern = re.compile(rf"(^|/){leaf}(_\d+)?$")
    constants = [
        _constant(node) for name, node in nodes.items() if pattern.search(name)
    ]
    return {int(value) for value in constants if value is not None and value.ndim == 0}


def _only(values: set[int], what: str) -> int | None:
    if len(values) > 1:
        listed = ", ".join(map(str, sorted(values)))
        raise _UnknownError(f"holds transforms of more than one {what} ({listed})")
    return next(iter(values), None)


def _dilations(nodes: Nodes) -> tuple[int, ...]:
    """Return the dilation of every block: an attribute, or a block shape."""
    dilations: dict[int, int] = {}
    for name, node in nodes.items():
        block = re.search(r"conv_block_(\d+)/", name)
        if block is None or node.op != "DepthwiseConv2dNative":
            continue
        dilation = max(node.attr["dilations"].list.i or [1])
        before = nodes[_name(node.input[0])]
        if before.op == "SpaceToBatchND":
            shape = _constant(nodes[_name(before.input[1])])
            if shape is None:
                raise _UnknownError(f"does not tell the dilation of block {block[1]}")
            dilation *= int(shape.max())
        dilations[int(block[1])] = dilation
    return tuple(dilations[index] for index in sorted(dilations))


def _source(nodes: Nodes, name: str) -> Any:
    """Return the source node of a name, before slices and reshapes."""
    node = nodes[_name(name)]
    while node.op in VIEWS:
        node = nodes[_name(node.input[0])]
    return node


def _consistency(nodes: Nodes, output: str) -> str:
    """Identify the weights w of estimate + w (mixture - sum of the estimates)."""
    last = _source(nodes, output)
    if last.op not in ("Add", "AddV2"):
        return "none"
    for product in (_source(nodes, source) for source in last.input):
        factors = [_source(nodes, source) for source in product.input]
        differences = [factor.op == "Sub" for factor in factors]
        if product.op == "Mul" and differences.count(True) == 1:
            return _consistency_of(nodes, factors[differences.index(False)])
    raise _UnknownError("ends in a sum that is no mixture consistency")


def _consistency_of(nodes: Nodes, weights: Any) -> str:
    if weights.op == "Softmax":
        return "pred_source"
    if weights.op in ("Const", "Reciprocal"):
        return "uniform"
    if weights.op in ("RealDiv", "Div"):
        above = _source(nodes, weights.input[0])
        if above.op == "Const":
            return "uniform"
        # The baseline of DCASE 2020 adds no floor to the power.
        sources = [_source(nodes, source) for source in above.input]
        if any(node.op == "Mean" for node in (above, *sources)):
            return "magsq"
    raise _UnknownError(
        f"shares out what is missing by {weights.name} ({weights.op}), which is none "
        "of pred_source, magsq and uniform"
    )


def _mask(nodes: Nodes) -> str | None:
    names = [name for name in nodes if re.search(r"(^|/)mask(_\d+)?$", name)]
    activations = {_source(nodes, name).op.lower() for name in names}
    if activations <= {"sigmoid", "relu"} and len(activations) < 2:
        return next(iter(activations), None)
    raise _UnknownError(f"activates its masks by {', '.join(sorted(activations))}")


def _norm(nodes: Nodes) -> str | None:
    """Identify the norm of the blocks by its axes, because its name is ambiguous."""
    within = [node for name, node in nodes.items() if re.search(r"normact\d+/", name)]
    norms = {_normalised(nodes, node) for node in within if node.op == "Mean"}
    if any(node.op.startswith("FusedBatchNorm") for node in within):
        norms.add("layer_norm")  # Keras fuses the norm over the channels only.
    if len(norms) > 1:
        raise _UnknownError(f"holds blocks with {' and '.join(sorted(norms))}")
    return next(iter(norms), None)


def _normalised(nodes: Nodes, mean: Any) -> str:
    axes = _constant(nodes[_name(mean.input[1])])
    if axes is None:
        raise _UnknownError(f"does not tell the axes of {mean.name}")
    over = tuple(sorted(int(axis) % 4 for axis in axes.ravel()))
    if over not in NORMS:
        shown = ", ".join(map(str, over))
        raise _UnknownError(f"takes {mean.name} over the axes {shown}")
    return NORMS[over]


def _front_paddings(nodes: Nodes) -> Iterable[int]:
    """Yield the zeros that pad signals [batch, mics, samples] only in front."""
    for node in nodes.values():
        if node.op in ("Pad", "PadV2"):
            pads = _constant(nodes[_name(node.input[1])])
            if pads is not None and pads.shape == (3, 2) and pads.sum() == pads[2, 0]:
                yield int(pads[2, 0])


def _mics(nodes: Nodes) -> int | None:
    fed = [node for node in nodes.values() if node.op == "Placeholder"]
    shapes = [node.attr["shape"].shape.dim for node in fed]
    sizes = {shape[1].size for shape in shapes if len(shape) == 3}
    return next(iter(sizes)) if len(sizes) == 1 and min(sizes) > 0 else None


def _check_epsilon(nodes: Nodes) -> None:
    """Check that the epsilon of the variances is that of the native layers."""
    for name, node in nodes.items():
        if "_norm" not in name:
            continue
        if node.op.startswith("FusedBatchNorm"):
            epsilon = node.attr["epsilon"].f
        elif name.endswith("/add/y") and node.op == "Const":
            epsilon = float(tf.make_ndarray(node.attr["value"].tensor))
        else:
            continue
        if not np.isclose(epsilon, NORM_EPSILON):
            raise _UnknownError(f"adds {epsilon:g} to the variance in {name}")


def has(path: str | Path, tensor: str) -> bool:
    """Return whether a graph has a tensor; training graphs lack that of the input.

    Args:
        path: File of the meta graph.
        tensor: Name of the tensor.

    Raises:
        MetaGraphError: The file is damaged.
    """
    nodes = read_meta_graph(path).graph_def.node
    return any(node.name == _name(tensor) for node in nodes)


def _least_and_hop(path: Path) -> tuple[int, int]:
    """Return the shortest mixture that a graph separates, and the hop of its frames.

    Both are in samples, 1 if the graph does not state them. The learned basis has no
    frame for shorter sounds.
    """
    nodes = {node.name: node for node in read_meta_graph(path).graph_def.node}
    scopes = "(conv_encoder/frame|complex_spectrogram)/"
    hops = _scalars(nodes, f"{scopes}frame_step")
    windows = _scalars(nodes, "conv_encoder/frame/frame_length")
    hop = min(hops, default=1)
    return (max(windows) - hop + 1 if windows else 1), hop


@final
class MetaGraph:
    """A meta graph as a network.

    Args:
        path: Prefix or folder of the checkpoint.
        input_tensor: Name of the mixture [1, mics, samples].
        output_tensor: Name of the estimates [1, sources, samples].
        file: The meta graph; None finds the one beside the checkpoint.

    Attributes:
        num_mics: Microphones of its input.
        num_sources: Number of its estimates.
        hop_samples: Distance between its frames.
        files: The meta graph and the files of the weights.

    Raises:
        CheckpointError: There is no checkpoint.
        MetaGraphError: There is no meta graph, or it lacks these tensors.
    """

    def __init__(
        self,
        path: str | Path,
        input_tensor: str = INPUT,
        output_tensor: str = OUTPUT,
        file: Path | None = None,
    ) -> None:
        prefix = locate(path)
        meta_graph = file or find(prefix)
        if meta_graph is None:
            raise MetaGraphError(
                f"{prefix.parent} holds no meta graph (inference.meta or "
                f"{prefix.name}.meta); copy it there, or leave metagraph out"
            )
        if not meta_graph.is_file():
            raise MetaGraphError(
                f"the meta graph {meta_graph} is no file; expected one that TensorFlow "
                "1 exported, such as inference.meta; correct the path"
            )
        weights = prefix.parent.glob(f"{prefix.name}.data-*")
        self.files = (meta_graph, *sorted(weights))
        self._session = Session(meta_graph, prefix, input_tensor, output_tensor)
        fed, computed = self._session.input_shape, self._session.output_shape
        if len(fed) != 3 or len(computed) != 3 or None in (fed[1], computed[1]):
            raise MetaGraphError(
                f"{meta_graph}: {input_tensor} has shape {fed} and {output_tensor} "
                f"{computed}; expected [1, mics, samples] and [1, sources, samples] "
                "with known numbers of both"
            )
        self.num_mics, self.num_sources = int(fed[1] or 0), int(computed[1] or 0)
        self._least, self.hop_samples = _least_and_hop(meta_graph)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate mixtures one by one.

        Args:
            mixture: Float32 [batch, mics, samples] of at least one sample.

        Returns:
            Float32 [batch, sources, samples] at the first microphone.
        """
        samples = mixture.shape[-1]
        missing = max(0, self._least - samples)
        padded = np.pad(mixture, [(0, 0), (0, 0), (0, missing)])
        estimates = [self._session(signal[np.newaxis]) for signal in padded]
        return np.concatenate(estimates)[..., :samples]


def largest_difference(network: Tdcn, meta_graph: MetaGraph) -> float:
    """Compare the native network with the meta graph on signals of several lengths.

    Args:
        network: From [batch, mics, samples] to [batch, sources, samples], with its
            shape as ``config``.
        meta_graph: The graph.

    Returns:
        Largest difference of any two samples, full scale 1; infinity if the numbers
        of sources differ or a sample is not finite.
    """
    worst = 0.0
    for mixture in _signals(network.config, meta_graph.num_mics):
        expected, actual = meta_graph(mixture), np.asarray(network(mixture))
        if expected.shape != actual.shape:
            return float("inf")
        difference = float(np.abs(expected - actual).max())
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


def _signals(config: Network, mics: int) -> Iterator[np.ndarray]:
    """Noise, a chord that fades, and hiss [3, mics, samples] of growing lengths."""
    draw, rate = np.random.default_rng(0), config.sample_rate
    window = config.window_samples
    for samples in (window, 2 * window + 1, rate // 4 + 7, rate):
        time = np.arange(samples) / rate
        noise = 0.1 * draw.standard_normal((mics, samples))
        chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 277.2, 1318.5))
        fading = 0.2 * chord * np.exp(-3 * time) + 0.1 * noise
        yield np.stack([noise, fading, noise / 100]).astype(np.float32)
