"""Checkpoints that programs of TensorFlow 1 wrote: where they are, what they hold."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.training.checkpoint import CheckpointError
from common.training.literal_path import literal


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
    data = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*"))
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


def read(
    path: str | Path, without: re.Pattern[str] | None = None
) -> dict[str, np.ndarray]:
    """Read the tensors of a checkpoint.

    Args:
        path: As in :func:`locate`.
        without: What is found in the names of those that are left out.

    Returns:
        Tensor by the name that it has in the checkpoint.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
    """
    prefix = locate(path)
    try:
        reader = tf.train.load_checkpoint(literal(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        wanted = [name for name in names if not without or not without.search(name)]
        return {name: reader.get_tensor(name) for name in wanted}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"checkpoint {prefix} is damaged or incomplete "
            f"({str(error).splitlines()[0]}); copy its .index and .data files again"
        ) from error


def _named(folder: Path) -> Path | None:
    """Prefix that the ``checkpoint`` file names, wherever the folder was then."""
    state = tf.train.get_checkpoint_state(str(folder))
    if state is None or not state.model_checkpoint_path:
        return None
    prefix = folder / Path(state.model_checkpoint_path).name
    return prefix if any(folder.glob(f"{glob.escape(prefix.name)}.*")) else None


def _newest(folder: Path) -> Path | None:
    found = sorted(folder.glob("*.index"), key=_step)
    return found[-1].with_suffix("") if found else None


def _step(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    return int(digits[1]) if digits else -1
