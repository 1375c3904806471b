"""Folders of networks in the format of the original, and the names of its tensors.

``vocals.pth`` holds the weights, ``vocals.json`` their training and ``separator.json``
the transform. Downloads come without the last two, and with the
first digits of their SHA-256 in the name: ``vocals-b62c91ce.pth``.

Matrices of the original are [outputs, inputs], ours [inputs, outputs]. The order of the
gates is the same: input, forget, cell, output.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common.layers.batch_norm import BatchNormalisation
from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from common.weights.foreign_tensors import check_fit
from unmix.config import UMX, UMXL, UMXSE, Network, in_order
from unmix.model import OpenUnmix, num_input_bins

SEPARATOR = "separator.json"

WEIGHTS = re.compile(r"(?P<target>.+?)(?:[-_][0-9a-f]{8})?\.pth$")

PUBLISHED_NETWORKS = (UMX.model, UMXL.model, UMXSE.model)
"""Published networks, whose shape determines rate and hop."""

IGNORED = re.compile(
    r"(bn\d\.num_batches_tracked|stft\.window|transform\.\d+\.window|sample_rate)$"
)
"""Further tensors that a file may hold; the last three are from version 1.0."""

NORMALISATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
RECURRENT = {
    "weight_ih": "kernel",
    "weight_hh": "recurrent_kernel",
    "bias_ih": "bias",
    "bias_hh": "recurrent_bias",
}
"""Variables of a layer of ours by the original's names."""

RANKS = {
    "input_mean": 1,
    "output_scale": 1,
    "fc1.weight": 2,
    "lstm.weight_hh_l0": 2,
    "fc3.weight": 2,
}
"""Number of axes of the tensors that determine the shape of the network."""

CELL = re.compile(r"lstm\.\w+?_l(\d+)(_reverse)?$")
logger = logging.getLogger(__name__)

Tensors = Mapping[str, Any]
"""Tensor by the original's name; a damaged file may hold something else."""


class Shape(NamedTuple):
    """Shape of the network, as far as the tensors of a file determine it."""

    window_samples: int
    input_bins: int
    channels: int
    hidden_size: int
    layers: int
    bidirectional: bool


def files(folder: Path) -> dict[str, Path]:
    """Find the weight file of every target, in the order of the sources.

    Raises:
        CheckpointError: Two files are of the same target.
    """
    by_target: dict[str, Path] = {}
    # The shorter name first: vocals.pth has priority over vocals-b62c91ce.pth.
    for path in sorted(folder.glob("[!.]*.pth"), key=lambda p: (len(p.name), p)):
        target = WEIGHTS.match(path.name)["target"]
        if target in by_target and by_target[target].stem != target:
            raise CheckpointError(
                f"{folder} holds {by_target[target].name} and {path.name}, both of the "
                f"target {target}; remove one of them"
            )
        by_target.setdefault(target, path)
    described = [target for target in by_target if (folder / f"{target}.json").exists()]
    if described and len(described) < len(by_target):
        logger.info("%s: left out weights without a .json beside them", folder)
    return {target: by_target[target] for target in in_order(described or by_target)}


def read(path: Path) -> dict[str, Any]:
    """Read the tensors of one target; of a whole training state, its network.

    Raises:
        TorchFileError: The file is damaged, or holds something else.
    """
    content = torch_file.read(path)
    if not isinstance(content, dict):
        raise torch_file.TorchFileError(
            f"{path} holds a {type(content).__name__}, expected a dictionary of tensors"
        )
    return content.get("state_dict", content)


def network(path: Path, target: str, tensors: Tensors) -> Network:
    """Derive the shape of a network from its tensors and the files beside them.

    Args:
        path: The weight file.
        target: Its target.
        tensors: Its tensors.

    Raises:
        CheckpointError: The tensors are of another network, or the files beside them
            contradict the shape or are incomplete.
    """
    shape = _shape(tensors, str(path))
    rate, hop = _rate_and_hop(path.parent, shape)
    frequencies = np.linspace(0.0, rate / 2, shape.window_samples // 2 + 1)
    last = min(shape.input_bins, len(frequencies)) - 1
    by_bins = Network(
        sample_rate=rate,
        hop_samples=hop,
        bandwidth=float(frequencies[last]),
        dropout=0.4 if shape.layers > 1 else 0.0,
        **{key: value for key, value in shape._asdict().items() if key != "input_bins"},
    )
    beside = path.with_name(f"{target}.json")
    arguments = _json(beside).get("args", {}) if beside.exists() else {}
    if not isinstance(arguments, dict) or "bandwidth" not in arguments:
        return by_bins
    exact = replace(by_bins, bandwidth=float(arguments["bandwidth"]))
    return exact if num_input_bins(exact) == shape.input_bins else by_bins


def variables(model: OpenUnmix) -> dict[str, tf.Variable]:
    """Map the original's names to our variables, in the original's order."""
    table = {
        name: getattr(model, name)
        for name in ("input_mean", "input_scale", "output_scale", "output_mean")
    }
    table |= {"fc1.weight": model.fc1.kernel, **_norm("bn1", model.bn1)}
    for number, cells in enumerate(model.lstm.cells):
        for suffix, cell in zip(("", "_reverse"), cells, strict=False):
            table |= {
                f"lstm.{name}_l{number}{suffix}": getattr(cell, ours)
                for name, ours in RECURRENT.items()
            }
    table |= {"fc2.weight": model.fc2.kernel, **_norm("bn2", model.bn2)}
    return table | {"fc3.weight": model.fc3.kernel, **_norm("bn3", model.bn3)}


def assign(model: OpenUnmix, tensors: Tensors, source: str) -> None:
    """Assign the original's tensors to the variables of a network.

    Args:
        model: The network to fill.
        tensors: Tensor by the original's name.
        source: Their file, for the error.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite; the
            message names all of them.
    """
    table = variables(model)
    weights = {
        name: value for name, value in tensors.items() if not IGNORED.match(name)
    }
    shapes = {name: tuple(table[name].shape)[::-1] for name in table}
    check_fit(source, table, weights, lambda n: _mismatch(n, weights[n], shapes[n]))
    for name, variable in table.items():
        variable.assign(np.asarray(weights[name], np.float32).T)


def collect(model: OpenUnmix) -> dict[str, np.ndarray]:
    """Return the weights of a network with the names and shapes of the original."""
    tensors: dict[str, np.ndarray] = {}
    for name, variable in variables(model).items():
        tensors[name] = variable.numpy().T
        if name.endswith(".running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            tensors[counter] = np.zeros([], np.int64)
    return tensors


def separator(network: Network) -> dict[str, Any]:
    """Describe the transform as ``separator.json`` does."""
    return {
        "nb_channels": network.channels,
        "nfft": network.window_samples,
        "nhop": network.hop_samples,
        "sample_rate": float(network.sample_rate),
    }


def results(target: str, network: Network) -> dict[str, Any]:
    """Describe a network as ``TARGET.json`` does, without the history of training."""
    return {
        "args": {
            "bandwidth": network.bandwidth,
            "hidden_size": network.hidden_size,
            "nb_channels": network.channels,
            "nfft": network.window_samples,
            "nhop": network.hop_samples,
            "target": target,
            "unidirectional": not network.bidirectional,
        },
        "best_epoch": 0,
        "best_loss": None,
        "epochs_trained": 0,
        "num_bad_epochs": 0,
        "train_loss_history": [],
        "train_time_history": [],
        "valid_loss_history": [],
    }


def is_loadable(network: Network) -> bool:
    """Whether the original's loader supports networks of this shape."""
    return network.bidirectional and network.layers == 3


def _shape(tensors: Tensors, source: str) -> Shape:
    """Derive the shape of a network from the shapes of its tensors."""
    sizes = {name: np.shape(value) for name, value in tensors.items()}
    lacking = [k for k, rank in RANKS.items() if len(sizes.get(k, ())) != rank]
    if lacking:
        raise CheckpointError(
            f"{source} lacks {', '.join(lacking)}; expected the weights of a target "
            "of Open-Unmix 1.0 or later"
        )
    bins = sizes["output_scale"][0]
    cells = list(filter(None, map(CELL.match, sizes)))
    return Shape(
        window_samples=2 * (bins - 1),
        input_bins=sizes["input_mean"][0],
        channels=sizes["fc3.weight"][0] // max(bins, 1),
        hidden_size=sizes["fc1.weight"][0],
        layers=1 + max(int(cell[1]) for cell in cells),
        bidirectional=any(cell[2] for cell in cells),
    )


def _rate_and_hop(folder: Path, shape: Shape) -> tuple[int, int]:
    path = folder / SEPARATOR
    if path.exists():
        return _described(path, shape)
    for network in PUBLISHED_NETWORKS:
        if _shape_of(network) == shape:
            return network.sample_rate, network.hop_samples
    raise CheckpointError(
        f"{folder} has no {SEPARATOR}, and its networks are not of a published shape; "
        f'expected {path} with {{"sample_rate": ..., "nfft": {shape.window_samples}, '
        f'"nhop": ..., "nb_channels": {shape.channels}}}'
    )


def _described(path: Path, shape: Shape) -> tuple[int, int]:
    """Read rate and hop of ``separator.json``, which must fit the weights."""
    values = _json(path)
    try:
        rate, hop = round(values["sample_rate"]), int(values["nhop"])
        window, channels = int(values["nfft"]), int(values["nb_channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} lacks {error}; expected the numbers sample_rate, nfft, nhop and "
            "nb_channels"
        ) from error
    fits = (window, channels) == (shape.window_samples, shape.channels)
    if not fits or min(rate, hop) < 1:
        raise CheckpointError(
            f"{path} states nfft={window}, nhop={hop}, nb_channels={channels}, "
            f"sample_rate={rate}, but the weights are those of "
            f"nfft={shape.window_samples}, nb_channels={shape.channels}"
        )
    return rate, hop


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON ({error}); copy it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object; copy it again")
    return values


def _shape_of(network: Network) -> Shape:
    return Shape(
        network.window_samples,
        num_input_bins(network),
        network.channels,
        network.hidden_size,
        network.layers,
        network.bidirectional,
    )


def _norm(name: str, layer: BatchNormalisation) -> dict[str, tf.Variable]:
    return {f"{name}.{key}": getattr(layer, o) for key, o in NORMALISATION.items()}


def _mismatch(name: str, value: object, expected: tuple[int | None, ...]) -> list[str]:
    if not isinstance(value, np.ndarray) or value.shape != expected:
        shape = getattr(value, "shape", type(value).__name__)
        return [f"misshapen {name}: {shape}, expected {expected}"]
    return [] if np.isfinite(value).all() else [f"not finite: {name}"]
