"""Weights by the names of the original: which variable each of its tensors belongs to.

A matrix of the original has outputs before inputs, ours inputs before outputs. Gates
have one order in both: input, forget, cell, output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common.training.checkpoint import CheckpointError
from common.weights.foreign_tensors import demand_fit
from unmix.model import OpenUnmix

IGNORED = re.compile(
    r"(bn\d\.num_batches_tracked|stft\.window|transform\.\d+\.window|sample_rate)$"
)
"""What a file may hold beside the weights; the last three stem from version 1.0."""

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

TELLING = {
    "input_mean": 1,
    "output_scale": 1,
    "fc1.weight": 2,
    "lstm.weight_hh_l0": 2,
    "fc3.weight": 2,
}
"""Number of axes of the tensors whose shapes tell that of the network."""

CELL = re.compile(r"lstm\.\w+?_l(\d+)(_reverse)?$")


class Shape(NamedTuple):
    """What the shapes of a file's tensors tell of the network."""

    window_samples: int
    input_bins: int
    channels: int
    hidden_size: int
    layers: int
    bidirectional: bool


def names(model: OpenUnmix) -> dict[str, tf.Variable]:
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


def assign(model: OpenUnmix, tensors: Mapping[str, Any], source: str) -> None:
    """Give every variable of a network the original's tensor.

    Args:
        model: The network to fill.
        tensors: Tensor by the original's name.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite; all of
            them are named.
    """
    table = names(model)
    found = {name: value for name, value in tensors.items() if not IGNORED.match(name)}
    shapes = {name: tuple(table[name].shape)[::-1] for name in table}
    demand_fit(source, table, found, lambda n: _misfit(n, found[n], shapes[n]))
    for name, variable in table.items():
        variable.assign(np.asarray(found[name], np.float32).T)


def collect(model: OpenUnmix) -> dict[str, np.ndarray]:
    """Take the weights out of a network, with the names and shapes of the original."""
    tensors: dict[str, np.ndarray] = {}
    for name, variable in names(model).items():
        tensors[name] = variable.numpy().T
        if name.endswith(".running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            tensors[counter] = np.zeros([], np.int64)
    return tensors


def shape(tensors: Mapping[str, Any], source: str) -> Shape:
    """Tell the network from the shapes of its tensors.

    Args:
        tensors: Tensor by the original's name.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: They are those of something else.
    """
    sizes = {name: np.shape(value) for name, value in tensors.items()}
    lacking = [k for k, rank in TELLING.items() if len(sizes.get(k, ())) != rank]
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


def _norm(name: str, layer: Any) -> dict[str, tf.Variable]:
    return {f"{name}.{key}": getattr(layer, o) for key, o in NORMALISATION.items()}


def _misfit(name: str, value: Any, wanted: tuple[int | None, ...]) -> list[str]:
    if not isinstance(value, np.ndarray) or value.shape != wanted:
        got = getattr(value, "shape", type(value).__name__)
        return [f"misshapen {name}: {got}, expected {wanted}"]
    return [] if np.isfinite(value).all() else [f"not finite: {name}"]
