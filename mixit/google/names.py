"""Names of the tensors of a TF1 checkpoint that do not depend on the graph."""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.training.checkpoint import CheckpointError

# Tensors of the optimizer, and the step.
SLOTS = re.compile(r"/Adam(_1)?$|(^|/)(beta[12]_power|global_step)$")
SCOPE = re.compile(
    r"(?:^|/)((?:conv_block_\d+|res_dense_\d+_to_\d+|initial_dense|conv_encoder"
    r"|conv_decoder|mix_weights|layer_norm_on_mag)/.*)"
)
STEM = "improved_tdcn"


def canonical(name: str) -> str:
    """Normalise the name of a variable across graphs of one architecture.

    This removes the numbers that Keras gives to dense layers, double slashes and the
    outer scopes of the network, and replaces the older name of a block.

    >>> canonical("model_iter_0//conv_tasnet/conv_block_3/tasnet_block/dense1/a")
    'improved_tdcn/conv_block_3/tdcn_block/dense1/a'
    >>> canonical("conv_decoder/dense_1/kernel")
    'conv_decoder/dense/kernel'
    """
    name = re.sub(r"/{2,}", "/", name).replace("/tasnet_block/", "/tdcn_block/")
    name = re.sub(r"(^|/)dense_\d+/", r"\1dense/", name)
    match = SCOPE.search(name)
    if match is None:  # the dense layer of the masks has no scope of its own
        return re.sub(r"^.*/(?=dense/kernel$)", "", name)
    within = match[1].startswith(("conv_block_", "res_dense_"))
    return f"{STEM}/{match[1]}" if within else match[1]


def ordered(names: Iterable[str]) -> dict[str, str]:
    """Map canonical names to the tensors of a checkpoint.

    Args:
        names: Names in one checkpoint.

    Returns:
        The name in the checkpoint by the canonical one.

    Raises:
        CheckpointError: The checkpoint holds several networks, or two tensors for one
            variable.
    """
    table: dict[str, list[str]] = {}
    for name in names:
        table.setdefault(canonical(name), []).append(name)
    networks = sorted({_iteration(name) for names in table.values() for name in names})
    if len(networks) > 1 and any(len(names) > 1 for names in table.values()):
        shown = ", ".join(network or "the last" for network in networks)
        raise CheckpointError(
            f"the checkpoint holds {len(networks)} networks that run one after another "
            f"({shown}), which are not built natively; run its meta graph as it is "
            "(metagraph=True, --metagraph)"
        )
    twice = [" and ".join(names) for names in table.values() if len(names) > 1]
    if twice:
        raise CheckpointError(
            f"{len(twice)} tensors are in the checkpoint twice: {'; '.join(twice)}"
        )
    return {key: names[0] for key, names in table.items()}


def _iteration(name: str) -> str:
    match = re.search(r"(?:^|/)(model_iter_\d+)/", name)
    return match[1] if match else ""
