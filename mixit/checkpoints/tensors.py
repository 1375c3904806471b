"""Tensors of a TF1 checkpoint, under names that do not depend on the graph."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.checkpoint import CheckpointError

SLOTS = re.compile(r"/Adam(_1)?$|(^|/)(beta[12]_power|global_step)$")
PLACES = re.compile(
    r"(?:^|/)((?:conv_block_\d+|res_dense_\d+_to_\d+|initial_dense|conv_encoder"
    r"|conv_decoder|mix_weights|layer_norm_on_mag)/.*)"
)
STEM = "improved_tdcn"


def locate(path: str | Path) -> Path:
    """Find the prefix of a checkpoint.

    Args:
        path: The prefix, or its ``.index`` file, or a folder. Of several checkpoints
            in a folder, the one that its ``checkpoint`` file names is taken, else the
            one of the latest step.

    Raises:
        CheckpointError: There is no checkpoint, or a file of it is missing.
    """
    path = Path(path)
    if path.suffix == ".index":
        path = path.with_suffix("")
    prefix = path if not path.is_dir() else _named(path) or _newest(path) or path
    index = prefix.with_name(f"{prefix.name}.index")
    data = sorted(prefix.parent.glob(f"{prefix.name}.data-*-of-*"))
    if not index.exists() and data:
        raise CheckpointError(f"{prefix} lacks its file {index.name}; copy it here")
    if not index.exists():
        raise CheckpointError(
            f"{path} is no checkpoint: neither {path.name}.index nor a folder with "
            "*.index and *.data files was found"
        )
    if not data:
        raise CheckpointError(
            f"{prefix} lacks its file {prefix.name}.data-00000-of-00001; copy it here"
        )
    return prefix


def read(path: str | Path, slots: bool = False) -> dict[str, np.ndarray]:
    """Read the tensors of a TF1 checkpoint.

    Args:
        path: As in :func:`locate`.
        slots: Read those of the optimizer and the step too.

    Returns:
        Tensor by the name that it has in the checkpoint.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
    """
    prefix = locate(path)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        wanted = [name for name in names if slots or not SLOTS.search(name)]
        return {name: reader.get_tensor(name) for name in wanted}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"checkpoint {prefix} is damaged or incomplete "
            f"({str(error).splitlines()[0]}); copy its .index and .data files again"
        ) from error


def canonical(name: str) -> str:
    """Strip what differs between graphs of one architecture from a variable's name.

    These are the numbers that Keras gives to dense layers, double slashes, whatever
    scopes the network stands in, and the older name of a block.

    >>> canonical("model_iter_0//conv_tasnet/conv_block_3/tasnet_block/dense1/a")
    'improved_tdcn/conv_block_3/tdcn_block/dense1/a'
    >>> canonical("conv_decoder/dense_1/kernel")
    'conv_decoder/dense/kernel'
    """
    name = re.sub(r"/{2,}", "/", name).replace("/tasnet_block/", "/tdcn_block/")
    name = re.sub(r"(^|/)dense_\d+/", r"\1dense/", name)
    found = PLACES.search(name)
    if found is None:  # the masks have a dense layer without a scope of their own
        return re.sub(r"^.*/(?=dense/kernel$)", "", name)
    within = found[1].startswith(("conv_block_", "res_dense_"))
    return f"{STEM}/{found[1]}" if within else found[1]


def ordered(names: Iterable[str]) -> dict[str, str]:
    """Find the tensor that stands for every canonical name.

    Args:
        names: Names in one checkpoint.

    Returns:
        The name in the checkpoint by the canonical one.

    Raises:
        CheckpointError: The checkpoint holds several networks, or two tensors for one
            place.
    """
    table: dict[str, list[str]] = {}
    for name in names:
        table.setdefault(canonical(name), []).append(name)
    networks = sorted({_iteration(name) for each in table.values() for name in each})
    if len(networks) > 1 and any(len(each) > 1 for each in table.values()):
        shown = ", ".join(network or "the last" for network in networks)
        raise CheckpointError(
            f"the checkpoint holds {len(networks)} networks that run one after another "
            f"({shown}), which are not built natively; run its meta graph as it is "
            "(metagraph=True, --metagraph)"
        )
    twice = [" and ".join(each) for each in table.values() if len(each) > 1]
    if twice:
        raise CheckpointError(
            f"{len(twice)} tensors are in the checkpoint twice: {'; '.join(twice)}"
        )
    return {key: each[0] for key, each in table.items()}


def _iteration(name: str) -> str:
    found = re.search(r"(?:^|/)(model_iter_\d+)/", name)
    return found[1] if found else ""


def _named(folder: Path) -> Path | None:
    """Prefix that the ``checkpoint`` file names, wherever the folder was then."""
    state = tf.train.get_checkpoint_state(str(folder))
    if state is None or not state.model_checkpoint_path:
        return None
    prefix = folder / Path(state.model_checkpoint_path).name
    return prefix if any(folder.glob(f"{prefix.name}.*")) else None


def _newest(folder: Path) -> Path | None:
    found = sorted(folder.glob("*.index"), key=_step)
    return found[-1].with_suffix("") if found else None


def _step(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    return int(digits[1]) if digits else -1
