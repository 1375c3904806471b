"""Floating-point operations of a graph of TensorFlow, counted from its shapes.

Products of matrices, convolutions and Fourier transforms count, with their gradients;
a multiplication and an addition are two operations. Operations on single elements do
not count. The body of a loop counts once for each iteration, which the profiler of
TensorFlow leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

CALLS = "PartitionedCall", "StatefulPartitionedCall"
LOOPS = "While", "StatelessWhile"
BRANCHES = "If", "StatelessIf", "Case", "StatelessCase"


def count(graph: Any) -> float:
    """Count the operations of a graph and of all functions that it calls.

    Args:
        graph: Graph of a concrete function whose shapes are all known.

    Returns:
        The number of operations of one call; of branches, the most expensive one.

    Raises:
        ValueError: The shape of a product or the length of a loop is not known.
    """
    return sum(_operation(graph, each) for each in graph.get_operations())


def _operation(graph: Any, operation: Any) -> float:
    kind = operation.type
    if kind in CALLS:
        return count(_function(graph, operation.get_attr("f")))
    if kind in LOOPS:
        body = count(_function(graph, operation.get_attr("body")))
        return body and body * _iterations(operation)
    if kind in BRANCHES:
        return max(count(_function(graph, name)) for name in _branches(operation))
    return COSTS[kind](operation) if kind in COSTS else 0.0


def _function(graph: Any, name: Any) -> Any:
    return graph._get_function(name.name).graph


def _branches(operation: Any) -> list[Any]:
    if operation.type.endswith("Case"):
        return list(operation.get_attr("branches"))
    return [operation.get_attr(name) for name in ("then_branch", "else_branch")]


def _iterations(loop: Any) -> int:
    """Return the limit of a loop, which is its second input."""
    from tensorflow.python.framework.tensor_util import try_evaluate_constant

    limit = try_evaluate_constant(loop.inputs[1])
    if limit is None or limit < 0:
        raise ValueError(
            f"the loop {loop.name} has no known limit; expected maximum_iterations and "
            "inputs of known shape"
        )
    return int(limit)


def _size(tensor: Any) -> int:
    number = tensor.shape.num_elements()
    if number is None:
        raise ValueError(
            f"{tensor.name} has the shape {tensor.shape}; expected a known one"
        )
    return number


def _product(operation: Any) -> float:
    """Return twice the output times the length of the axis that is summed."""
    left, flag = operation.inputs[0], "transpose_a"
    if operation.type != "MatMul":
        flag = "adj_x"
    axis = -2 if operation.get_attr(flag) else -1
    return 2.0 * _size(operation.outputs[0]) * left.shape[axis]


def _einsum(operation: Any) -> float:
    """Return twice the product of the lengths of all axes."""
    terms = operation.get_attr("equation").decode().split("->")[0].split(",")
    lengths = {
        axis: length
        for term, tensor in zip(terms, operation.inputs, strict=True)
        for axis, length in zip(term, tensor.shape, strict=True)
    }
    return 2.0 * math.prod(lengths.values())


def _convolution(image: Any, filters: Any) -> float:
    """Return two operations for each position of the small image and each weight."""
    rows = _size(image) // image.shape[-1]
    return 2.0 * rows * _size(filters)


def _sized(operation: Any, index: int) -> Any:
    """Return the output if the input with this index is only its shape."""
    return operation.outputs[0] if index < 0 else operation.inputs[index]


def _of(image: int, filters: int) -> Callable[[Any], float]:
    """Make the cost of a convolution or gradient; -1 stands for the output."""
    return lambda each: _convolution(_sized(each, image), _sized(each, filters))


def _transform(operation: Any) -> float:
    """Return 5 n log2 n operations for a transform, half of them for a real one."""
    real = operation.type in ("RFFT", "IRFFT")
    waveform = operation.outputs[0]
    if operation.type == "RFFT":
        waveform = operation.inputs[0]
    length = waveform.shape[-1]
    return (2.5 if real else 5.0) * _size(waveform) * math.log2(length)


COSTS: Mapping[str, Callable[[Any], float]] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2"), _product),
    "Einsum": _einsum,
    # A convolution has the image that it makes; a gradient gets that image's gradient.
    "Conv2D": _of(-1, 1),
    "Conv2DBackpropInput": _of(2, 1),
    "Conv2DBackpropFilter": _of(2, -1),
    "DepthwiseConv2dNative": _of(-1, 1),
    "DepthwiseConv2dNativeBackpropInput": _of(2, 1),
    "DepthwiseConv2dNativeBackpropFilter": _of(2, -1),
    **dict.fromkeys(("FFT", "IFFT", "RFFT", "IRFFT"), _transform),
}
