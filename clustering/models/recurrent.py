"""The recurrent stack as the networks configure it."""

from __future__ import annotations

from clustering.shapes import Recurrent
from common.layers.recurrent import RecurrentStack


def recurrent_stack(
    inputs: int, config: Recurrent, name: str = "recurrent"
) -> RecurrentStack:
    """Make the stack of a network.

    Args:
        inputs: Width of its input.
        config: Its shape.
        name: Name of the layer, which the names of its weights begin with.

    >>> recurrent_stack(3, Recurrent(hidden=5)).cells[3][1].name
    'recurrent/layer3/backward'
    """
    return RecurrentStack(
        inputs,
        config.hidden,
        config.layers,
        config.bidirectional,
        config.dropout,
        forget_bias=config.forget_bias,
        initial=config.initial,
        kind=config.kind,
        dropout_last=config.dropout_last,
        name=name,
    )
