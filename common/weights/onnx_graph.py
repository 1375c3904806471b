"""Build graphs of ONNX operation by operation.

A network is written as its few dozen operations and not converted from a graph of
TensorFlow: recurrent layers become the LSTM and GRU of ONNX, for which runtimes have
fast kernels, and no converter has to support the versions of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.layers.recurrent import Direction, RecurrentStack
from common.training.checkpoint import CheckpointError

OPSET = 17
IR_VERSION = 8
"""Version of the format in the oldest runtimes with this set of operations."""

LSTM_ORDER = (0, 3, 1, 2)
"""Index among our gates (input, forget, cell, output) of each gate of ONNX."""

Constant = float | Sequence[int] | np.ndarray
"""A number, an array, or lengths that become a constant of the graph."""


class Graph:
    """A graph under construction; tensors are their names.

    Args:
        name: Name of the graph.

    >>> graph = Graph("double")
    >>> doubled = graph("Mul", graph.input("x", ["batch"]), 2.0)
    >>> graph.output("y", doubled, ["batch"])
    >>> [node.op_type for node in graph.nodes]
    ['Mul', 'Identity']
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[Any] = []

    def __call__(self, op: str, *inputs: str | Constant | None, **options: Any) -> str:
        """Add an operation.

        Args:
            op: Its type, such as ``"MatMul"``.
            *inputs: Tensors by name, or numbers and arrays, which become constants;
                None leaves an optional input out.
            **options: Its attributes.

        Returns:
            Name of its first output.
        """
        name = f"{op}_{len(self.nodes)}_0"
        tensors = [self._named(value) for value in inputs]
        self.nodes.append(_onnx().helper.make_node(op, tensors, [name], **options))
        return name

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Add an input of float32; a name in its shape stands for any length."""
        self._inputs.append(_float_tensor(name, shape))
        return name

    def output(self, name: str, tensor: str, shape: Sequence[int | str]) -> None:
        """Name a tensor of float32 as an output."""
        self.nodes.append(_onnx().helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(_float_tensor(name, shape))

    def length(self, tensor: str, axis: int) -> str:
        """Return the length of an axis, int64 [1]."""
        return self("Slice", self("Shape", tensor), [axis], [axis + 1])

    def reshape(self, tensor: str, *shape: int | str) -> str:
        """Reshape to lengths; 0 keeps that of the same axis, -1 is inferred.

        A length may be a tensor [1].
        """
        parts = [[size] if isinstance(size, int) else size for size in shape]
        if all(isinstance(size, int) for size in shape):
            return self("Reshape", tensor, np.array(shape))
        return self("Reshape", tensor, self("Concat", *parts, axis=0))

    def transpose(self, tensor: str, *order: int) -> str:
        """Reorder the axes."""
        return self("Transpose", tensor, perm=order)

    def slice(self, tensor: str, axis: int, start: int | str, stop: int | str) -> str:
        """Slice along an axis; bounds are numbers or tensors [1]."""
        bounds = (
            [bound] if isinstance(bound, int) else bound for bound in (start, stop)
        )
        return self("Slice", tensor, *bounds, [axis])

    def pad(
        self, tensor: str, rank: int, axis: int, front: int | str, back: int | str
    ) -> str:
        """Pad an axis by zeros; lengths are numbers or tensors [1]."""
        before, after = np.zeros(axis, np.int64), np.zeros(rank - 1 - axis, np.int64)
        ends = [[end] if isinstance(end, int) else end for end in (front, back)]
        parts = [before, ends[0], after, before, ends[1], after]
        return self("Pad", tensor, self("Concat", *parts, axis=0))

    def mean(self, tensor: str, axes: Sequence[int]) -> str:
        """Average over axes, which keep length 1.

        The axes are averaged one after another, because sums of fewer numbers keep more
        digits.
        """
        for axis in sorted(axes, reverse=True):
            tensor = self("ReduceMean", tensor, axes=[axis], keepdims=1)
        return tensor

    def normalised(self, tensor: str, axes: Sequence[int], epsilon: float) -> str:
        """Normalise to mean 0 and variance 1 over axes."""
        centred = self("Sub", tensor, self.mean(tensor, axes))
        variance = self.mean(self("Mul", centred, centred), axes)
        deviation = self("Sqrt", self("Add", variance, epsilon))
        return self("Div", centred, deviation)

    def recurrent(self, rows: str, stack: RecurrentStack) -> str:
        """Run a :class:`common.layers.recurrent.RecurrentStack`.

        Args:
            rows: [batch, frames, inputs].
            stack: The layers with their weights.

        Returns:
            [batch, frames, units * directions].
        """
        signal = self.transpose(rows, 1, 0, 2)
        for cells in stack.cells:
            weights = [_gates_first(cell, stack.kind) for cell in cells]
            options: dict[str, Any] = {"hidden_size": stack.units}
            if stack.kind == "gru":
                options["linear_before_reset"] = 1
            if stack.directions == 2:
                options["direction"] = "bidirectional"
            parts = (np.stack(part) for part in zip(*weights, strict=True))
            made = self(stack.kind.upper(), signal, *parts, **options)
            # [frames, directions, batch, units]
            signal = self.transpose(made, 0, 2, 1, 3)
            signal = self.reshape(signal, 0, 0, stack.units * stack.directions)
        return self.transpose(signal, 1, 0, 2)

    def save(self, path: Path) -> None:
        """Check the graph and write it to a file."""
        onnx = _onnx()
        graph = onnx.helper.make_graph(
            self.nodes, self.name, self._inputs, self._outputs, self._initializers
        )
        opset = onnx.helper.make_opsetid("", OPSET)
        model = onnx.helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())

    def _named(self, value: str | Constant | None) -> str:
        if value is None:
            return ""
        return value if isinstance(value, str) else self._constant(value)

    def _constant(self, value: Constant) -> str:
        """Add a constant: float32, or int64 for whole numbers; equal ones once."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        key = array.dtype.kind, array.shape, array.tobytes()
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = name
            made = _onnx().numpy_helper.from_array(np.ascontiguousarray(array), name)
            self._initializers.append(made)
        return self._constants[key]


def _float_tensor(name: str, shape: Sequence[int | str]) -> Any:
    onnx = _onnx()
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def write_graphs(folder: Path, **graphs: Graph) -> None:
    """Write each graph to ``{its name}.onnx`` in a folder."""
    for name, graph in graphs.items():
        graph.save(folder / f"{name}.onnx")


def _gates_first(cell: Direction, cell_type: str) -> tuple[np.ndarray, ...]:
    """Return the weights of a direction as ONNX has them: W, R and both biases."""
    order = LSTM_ORDER if cell_type == "lstm" else (0, 1, 2)

    def ordered(weight: tf.Variable) -> np.ndarray:
        parts = np.split(weight.numpy(), len(order), axis=-1)
        return np.concatenate([parts[gate] for gate in order], axis=-1).T

    biases = ordered(cell.bias), ordered(cell.recurrent_bias)
    return ordered(cell.kernel), ordered(cell.recurrent_kernel), np.concatenate(biases)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise CheckpointError(
            f"the package onnx is missing ({error}); install it: pip install onnx"
        ) from error
    return onnx
