"""Weights by the names of the original program: which variable each tensor belongs to.

Its graph numbers convolutions in the order in which they are made, so a name tells
nothing without the number of layers. Tensors have the axes of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adversarial.critic import Critic
from adversarial.model import Separator
from common.weights.foreign_tensors import demand_fit

Table = dict[str, tf.Variable]
"""Variable of ours by the original's name."""

SEPARATOR = "separator"
CRITICS = "acc_disc", "voice_disc"
"""Scopes of the critics, that of the accompaniment first."""

TRAINING = re.compile(
    r"_solver/|^(beta[12]_power|global_step|(disc|sup_sep|unsup_sep)_lr)$"
)
"""What a checkpoint holds for the training alone."""


def separator(network: Separator) -> Table:
    """Map the names of the original to the variables of a separator."""
    convolutions = [*network.encoder, *network.decoder, *network.heads]
    scope = SEPARATOR
    return {
        **_numbered(f"{scope}/conv2d", convolutions),
        **_numbered(f"{scope}/conv2d_transpose", network.upsampling),
    }


def critic(network: Critic, scope: str) -> Table:
    """Map the names of the original to the variables of a critic.

    Args:
        network: The critic.
        scope: One of :data:`CRITICS`.
    """
    return {
        **_numbered(f"{scope}/conv2d", network.convolutions),
        **_numbered(f"{scope}/dense", [network.hidden, network.score]),
    }


def numbered(kind: str, number: int) -> str:
    """Name a layer as TensorFlow 1 does.

    >>> numbered("separator/conv2d", 0), numbered("separator/conv2d", 2)
    ('separator/conv2d', 'separator/conv2d_2')
    """
    return f"{kind}_{number}" if number else kind


def assign(table: Table, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Give every variable the original's tensor.

    Args:
        table: Variable by the original's name.
        tensors: Tensor by the original's name.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite; all of
            them are named.
    """
    demand_fit(source, table, tensors, lambda n: _misfit(n, tensors[n], table[n]))
    for name, variable in table.items():
        variable.assign(tensors[name])


def _numbered(kind: str, layers: Sequence[Any]) -> Table:
    table = {}
    for number, layer in enumerate(layers):
        name = numbered(kind, number)
        table[f"{name}/kernel"] = layer.kernel
        if layer.bias is not None:
            table[f"{name}/bias"] = layer.bias
    return table


def _misfit(name: str, tensor: np.ndarray, variable: tf.Variable) -> list[str]:
    wanted = tuple(variable.shape)
    if np.shape(tensor) != wanted:
        return [f"misshapen {name}: {np.shape(tensor)}, expected {wanted}"]
    return [] if np.isfinite(tensor).all() else [f"not finite: {name}"]
