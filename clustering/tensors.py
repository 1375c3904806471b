"""Weights by the names of nussl and asteroid: which variable each tensor belongs to.

A matrix of theirs has outputs before inputs, ours inputs before outputs, and an axis of
length 1 that they keep is dropped here. Gates have one order in all: input, forget,
cell, output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from clustering.models.channels import Linear, Normalisation
from clustering.models.chimera import Chimera
from clustering.models.conv_tasnet import ConvTasnet
from clustering.models.deep_clustering import DeepClustering
from clustering.models.dual_path import DualPath
from clustering.models.embedding import Embedding
from clustering.models.end_to_end import EndToEnd
from clustering.models.mask_inference import MaskInference
from clustering.models.tasnet import Tasnet
from common.layers.recurrent import RecurrentStack
from common.weights.foreign_tensors import demand_fit

Table = dict[str, tf.Variable]
"""Variable of ours by the original's name."""

IGNORED = re.compile(r".*num_batches_tracked$|.*window$|encoder\.encoder_relu\.")
"""What a file may hold beside the weights; asteroid names one bank of filters twice."""

UNTURNED = re.compile(r".*\.(transform|inverse)_filters$")
"""Matrices that nussl too has inputs first."""

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


def nussl(model: Any) -> Table:
    """Map the names of nussl to the variables of a network.

    Args:
        model: A :class:`DeepClustering`, :class:`MaskInference`, :class:`Chimera`,
            :class:`EndToEnd` or :class:`DualPath`.

    Raises:
        ValueError: nussl has no such network.
    """
    if isinstance(model, DualPath):
        return _dual_path(model)
    if isinstance(model, EndToEnd):
        audio = "layers.audio"
        table = {f"{audio}.transform_filters": model.analysis_filters}
        table |= {f"{audio}.inverse_filters": model.synthesis_filters}
        return table | nussl(model.network)
    if not isinstance(model, DeepClustering | MaskInference | Chimera):
        raise ValueError(f"{type(model).__name__}: nussl has no such network")
    table, norm = {}, model.stack.features.norm
    if norm is not None:
        prefix = "layers.normalization.batch_norm"
        table |= {f"{prefix}.{key}": getattr(norm, ours) for key, ours in BATCH.items()}
    table |= _recurrent("layers.recurrent_stack.rnn", model.stack.recurrent)
    for name in ("embedding", "mask"):
        head = getattr(model, name, None)
        if isinstance(head, Embedding):
            table |= _head(f"layers.{name}", head)
    return table


def asteroid(model: Any, recipe: bool = False) -> Table:
    """Map the names of asteroid to the variables of a network.

    Args:
        model: A :class:`ConvTasnet`, :class:`Tasnet` or :class:`Chimera`. asteroid's
            chimera lists the masks of all bins source after source, so its
            ``mask_layer`` must pass through :func:`bins_first` first.
        recipe: The names of the recipe ``whamr/TasNet``, not those of the library.

    Raises:
        ValueError: asteroid has no such network.
    """
    if isinstance(model, ConvTasnet):
        return _conv_tasnet(model)
    if isinstance(model, Tasnet):
        return _tasnet(model, recipe)
    if not isinstance(model, Chimera):
        raise ValueError(f"{type(model).__name__}: asteroid has no such network")
    return {
        **_recurrent("masker.rnn.rnn", model.stack.recurrent),
        **_linear("masker.embedding_layer", model.embedding.linear),
        **_linear("masker.mask_layer", model.mask.linear),
    }


def assign(table: Table, tensors: Mapping[str, Any], source: str) -> None:
    """Give every variable the original's tensor.

    Args:
        table: Variable by the original's name.
        tensors: Tensor by the original's name.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite; all of
            them are named.
    """
    found = {name: value for name, value in tensors.items() if not IGNORED.match(name)}
    demand_fit(source, table, found, lambda n: _misfit(n, found[n], table[n]))
    for name, variable in table.items():
        variable.assign(_turned(name, found[name]).reshape(variable.shape))


def bins_first(tensor: np.ndarray, sources: int) -> np.ndarray:
    """Reorder the rows of asteroid's mask layer from (source, bin) to (bin, source).

    >>> bins_first(np.arange(6), 2).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    rows = np.reshape(tensor, (sources, -1, *np.shape(tensor)[1:]))
    return np.swapaxes(rows, 0, 1).reshape(np.shape(tensor))


def _recurrent(prefix: str, stack: RecurrentStack) -> Table:
    return {
        f"{prefix}.{name}_l{number}{suffix}": getattr(cell, ours)
        for number, cells in enumerate(stack.cells)
        for suffix, cell in zip(("", "_reverse"), cells, strict=False)
        for name, ours in RECURRENT.items()
    }


def _linear(prefix: str, layer: Linear) -> Table:
    return {f"{prefix}.weight": layer.kernel, f"{prefix}.bias": layer.bias}


def _norm(prefix: str, layer: Normalisation, names: Iterable[str]) -> Table:
    return {f"{prefix}.{n}": v for n, v in zip(names, layer.weights, strict=True)}


def _head(prefix: str, head: Embedding) -> Table:
    table = _linear(f"{prefix}.linear", head.linear)
    if head.value is not None and head.gate is not None:
        table |= _linear(f"{prefix}.embed_linear.0", head.value)
        table |= _linear(f"{prefix}.embed_gate.0", head.gate)
    return table


def _conv_tasnet(model: ConvTasnet) -> Table:
    affine = ("gamma", "beta")
    table = {
        "encoder.filterbank._filters": model.analysis.filters,
        **_norm("masker.bottleneck.0", model.input_norm, affine),
        **_linear("masker.bottleneck.1", model.bottleneck),
    }
    for number, block in enumerate(model.blocks):
        prefix = f"masker.TCN.{number}"
        shared = f"{prefix}.shared_block"
        table |= {
            **_linear(f"{shared}.0", block.widen),
            f"{shared}.1.weight": block.activation1.slope,
            **_norm(f"{shared}.2", block.norm1, affine),
            **_linear(f"{shared}.3", block.depthwise),
            f"{shared}.4.weight": block.activation2.slope,
            **_norm(f"{shared}.5", block.norm2, affine),
            **_linear(f"{prefix}.res_conv", block.residual),
        }
        if block.skip is not None:
            table |= _linear(f"{prefix}.skip_conv", block.skip)
    return {
        **table,
        "masker.mask_net.0.weight": model.activation.slope,
        **_linear("masker.mask_net.1", model.mask),
        "decoder.filterbank._filters": model.synthesis.filters,
    }


def _tasnet(model: Tasnet, recipe: bool) -> Table:
    inner, relu, gate = "", "encoder_relu", "encoder_sig"
    if not recipe:
        inner, relu, gate = "masker.", "encoder", "encoder.encoder_sig"
    table = {
        f"{relu}.filterbank._filters": model.analysis.filters,
        f"{gate}.filterbank._filters": model.gate.filters,
        "decoder.filterbank._filters": model.synthesis.filters,
        **_recurrent(f"{inner}masker.0.rnn", model.recurrent),
        **_linear(f"{inner}masker.1", model.mask),
    }
    if model.norm is not None:
        table |= _norm(f"{inner}bn_layer", model.norm, ("gamma", "beta"))
    return table


def _dual_path(model: DualPath) -> Table:
    affine = ("weight", "bias")
    path = "layers.dual_path"
    table = {
        "layers.audio.transform_filters": model.analysis_filters,
        "layers.audio.inverse_filters": model.synthesis_filters,
        **_norm(f"{path}.bottleneck_norm", model.input_norm, affine),
        **_linear(f"{path}.bottleneck", model.bottleneck),
        f"{path}.prelu.weight": model.activation.slope,
        **_linear(f"{path}.inv_bottleneck", model.widen),
        **_linear("layers.mask.linear", model.mask),
    }
    for number, block in enumerate(model.blocks):
        for side in ("intra", "inter"):
            part, prefix = getattr(block, side), f"{path}.layers.{number}.{side}"
            table |= _recurrent(f"{prefix}_processor.rnn", part.recurrent)
            table |= _linear(f"{prefix}_fc", part.linear)
            table |= _norm(f"{prefix}_norm", part.norm, affine)
    return table


def _turned(name: str, tensor: Any) -> np.ndarray:
    array = np.asarray(tensor, np.float32)
    return array if UNTURNED.match(name) else array.T


def _misfit(name: str, value: Any, variable: tf.Variable) -> list[str]:
    wanted = tuple(variable.shape)
    got = tuple(size for size in _turned(name, value).shape if size != 1)
    if got != tuple(size for size in wanted if size != 1):
        return [f"misshapen {name}: {np.shape(value)}, expected {wanted} turned round"]
    return [] if np.isfinite(value).all() else [f"not finite: {name}"]
