"""Weights that PyTorch saved, as the variables of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from clustering.models.layers import Depthwise, Linear
from common.training.checkpoint import CheckpointError
from common.weights.foreign_tensors import check_fit

Tensors = Mapping[str, Any]
"""Tensor by its name in a file; a damaged file may hold something else."""

Table = dict[str, tf.Variable]
"""Variable of a network by its name in a file."""


class NetworkError(ValueError):
    """A network of a file without an equivalent one here."""


def unknown_value(where: str, key: str, value: object, expected: str) -> NetworkError:
    """Make the error about an argument of a network that has an unsupported value."""
    return NetworkError(
        f"{where} has {key}={str(value)[:80]}; expected {expected}, for which there is "
        "a network here"
    )


def linear(name: str, layer: Linear | Depthwise) -> Table:
    """List the matrix and the bias of a layer by their names in a file."""
    return {f"{name}.weight": layer.kernel, f"{name}.bias": layer.bias}


def assign(variables: Table, tensors: Tensors, source: str) -> None:
    """Give every variable the tensor of its name.

    Matrices of PyTorch have outputs before inputs, and may keep axes of length 1.

    Args:
        variables: Variables by the names of the file.
        tensors: Tensors by these names.
        source: Their file, for the error.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite; the
            message names all of them.
    """
    check_fit(
        source,
        variables,
        tensors,
        lambda name: _mismatch(name, tensors[name], variables[name].shape.as_list()),
    )
    for name, variable in variables.items():
        value = np.asarray(tensors[name], np.float32)
        variable.assign(value.T.reshape(variable.shape))


def _mismatch(name: str, value: Any, shape: Sequence[int | None]) -> list[str]:
    expected = tuple(reversed(shape))
    actual = value.shape if isinstance(value, np.ndarray) else type(value).__name__
    if isinstance(actual, str) or _long(actual) != _long(expected):
        return [f"misshapen {name}: {actual}, expected {expected}"]
    return [] if np.isfinite(value).all() else [f"not finite: {name}"]


def _long(shape: Sequence[int | None]) -> list[int | None]:
    """Return the lengths of axes that are not of length 1."""
    return [size for size in shape if size != 1]


def sample_rate(stored: object, requested: int | None) -> int:
    """Return the sample rate in Hz that a file states, or else the requested one.

    Args:
        stored: What the file or its publication states; None if neither does.
        requested: Of the command line, an experiment or a new run, if any.

    Raises:
        CheckpointError: The rate is unknown or invalid, or the two differ.

    >>> sample_rate(None, 8000)
    8000
    """
    if stored is None and requested is None:
        raise CheckpointError(
            "the file does not state its sample rate; give that of the training with "
            "--sample-rate HZ"
        )
    if requested is not None and stored not in (None, requested):
        raise CheckpointError(
            f"--sample-rate {requested}: expected {stored}, the rate of the model"
        )
    rate = requested if stored is None else stored
    if type(rate) is not int or rate < 1:
        raise CheckpointError(f"sample rate {rate}: expected a whole number above 0")
    return rate
