"""Graphs and checkpoints of TensorFlow 1, whose API is used only in this file."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from common.training.checkpoint import CheckpointError, literal

v1 = tf.compat.v1  # noqa: TID251 (TF1 is used only here)

IDLE = {"NoOp", "Shape", "Assert"}
"""Operations that are not outputs of a model."""


class MetaGraphError(ValueError):
    """A meta graph that is damaged or unexpected."""


def read_meta_graph(path: str | Path) -> Any:
    """Read a meta graph, such as ``inference.meta``.

    Args:
        path: File that ``export_meta_graph`` of TensorFlow 1 wrote.

    Returns:
        The ``MetaGraphDef``.

    Raises:
        MetaGraphError: The file is damaged or something else.
        OSError: It cannot be read.
    """
    meta = v1.MetaGraphDef()
    try:
        meta.ParseFromString(Path(path).read_bytes())
    except DecodeError as error:
        raise MetaGraphError(
            f"{path} is not a meta graph or is truncated ({error}); copy it again"
        ) from error
    if not meta.graph_def.node:
        raise MetaGraphError(f"{path} holds a graph without nodes; copy it again")
    return meta


@final
class Session:
    """A meta graph with the weights of a checkpoint, run as it is.

    Args:
        meta_graph: File of the graph.
        checkpoint: Prefix of the checkpoint.
        input_tensor: Name of the tensor that is fed, such as ``audio:0``.
        output_tensor: Name of the tensor that is computed.

    Raises:
        MetaGraphError: The graph is damaged, lacks one of the tensors, or is not the
            graph of the checkpoint.
    """

    def __init__(
        self,
        meta_graph: str | Path,
        checkpoint: str | Path,
        input_tensor: str,
        output_tensor: str,
    ) -> None:
        meta = read_meta_graph(meta_graph)
        check_tensors(meta, (input_tensor, output_tensor), meta_graph)
        graph = tf.Graph()
        self._session = v1.Session(graph=graph)
        try:
            with graph.as_default():
                saver = v1.train.import_meta_graph(meta, clear_devices=True)
        except (ValueError, tf.errors.OpError) as error:
            raise MetaGraphError(
                f"{meta_graph} cannot be run by TensorFlow {tf.__version__} "
                f"({str(error).splitlines()[0]})"
            ) from error
        self._input = _tensor(graph, input_tensor, meta_graph)
        self._output = _tensor(graph, output_tensor, meta_graph)
        try:
            with graph.as_default():
                _restore(saver, self._session, literal(checkpoint))
        except (tf.errors.OpError, ValueError) as error:
            raise MetaGraphError(
                f"checkpoint {checkpoint} does not fit the graph {meta_graph}, or is "
                f"damaged ({str(error).splitlines()[0]}); give those of one model"
            ) from error

    @property
    def input_shape(self) -> list[int | None]:
        """Shape of the input, None for axes of any length."""
        shape = self._input.shape
        return [] if shape.rank is None else shape.as_list()

    @property
    def output_shape(self) -> list[int | None]:
        """Shape of the output, as far as the graph states it."""
        shape = self._output.shape
        return [] if shape.rank is None else shape.as_list()

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Compute the output of one input."""
        output: np.ndarray = self._session.run(self._output, {self._input: array})
        return output


def check_tensors(meta: Any, tensors: Iterable[str], path: str | Path) -> None:
    """Make sure that a meta graph has the expected tensors.

    Args:
        meta: The ``MetaGraphDef``.
        tensors: Their names.
        path: Its file, for the error.

    Raises:
        MetaGraphError: It lacks some; the message lists its inputs and outputs.
    """
    nodes = {node.name: node for node in meta.graph_def.node}
    absent = [name for name in tensors if name.split(":")[0] not in nodes]
    if not absent:
        return
    used = {i.split(":")[0].lstrip("^") for n in nodes.values() for i in n.input}
    inputs = [node.name for node in nodes.values() if node.op == "Placeholder"]
    outputs = [
        name
        for name, node in nodes.items()
        if name not in used and "/" not in name and node.op not in IDLE and node.input
    ]
    raise MetaGraphError(
        f"{path} has no tensor {' and no '.join(absent)}; its placeholders are "
        f"{_listed(inputs)}, and it computes {_listed(outputs)}"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{name}:0" for name in names[:8])
    return (shown or "none") + (", ..." if len(names) > 8 else "")


def _tensor(graph: tf.Graph, name: str, path: str | Path) -> Any:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        raise MetaGraphError(f"{path} has no tensor {name} ({error})") from error


def _restore(saver: Any, session: Any, checkpoint: str) -> None:
    """Restore a checkpoint, without the line that TensorFlow logs."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        saver.restore(session, checkpoint)
    finally:
        logger.setLevel(level)


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
            f"{path} is no checkpoint: there is neither {path.name}.index nor a "
            "folder with *.index and *.data files"
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
        without: Pattern of the names of tensors to leave out.

    Returns:
        Tensor by the name that it has in the checkpoint.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
    """
    prefix = locate(path)
    try:
        reader = tf.train.load_checkpoint(literal(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        kept = [name for name in names if not without or not without.search(name)]
        return {name: reader.get_tensor(name) for name in kept}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"checkpoint {prefix} is damaged or incomplete "
            f"({str(error).splitlines()[0]}); copy its .index and .data files again"
        ) from error


def _named(folder: Path) -> Path | None:
    """Return the prefix in the ``checkpoint`` file, also after the folder was moved."""
    state = tf.train.get_checkpoint_state(str(folder))
    if state is None or not state.model_checkpoint_path:
        return None
    prefix = folder / Path(state.model_checkpoint_path).name
    return prefix if any(folder.glob(f"{glob.escape(prefix.name)}.*")) else None


def _newest(folder: Path) -> Path | None:
    indices = sorted(folder.glob("*.index"), key=_step)
    return indices[-1].with_suffix("") if indices else None


def _step(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    return int(digits[1]) if digits else -1
