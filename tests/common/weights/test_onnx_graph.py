"""Graphs of ONNX against numpy and the layers that they stand for."""

import numpy as np
import pytest

from common.layers.recurrent import RecurrentStack
from common.weights.onnx_graph import Graph


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_equal_ours(run_onnx, kind, bidirectional):
    stack = RecurrentStack(3, 5, 2, bidirectional, kind=kind, name="stack")
    for number, weight in enumerate(stack.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(0.0, 0.5, weight.shape))
    graph, rows = Graph("recurrent"), noise(2, 7, 3)
    made = graph.recurrent(graph.input("rows", ["batch", "frames", 3]), stack)
    graph.output("outputs", made, ["batch", "frames", made_width(stack)])
    np.testing.assert_allclose(run_onnx(graph, rows), stack(rows), atol=1e-6)


def made_width(stack):
    return stack.units * stack.directions


def test_padding_and_lengths_follow_the_input(run_onnx):
    graph = Graph("pad")
    line = graph.input("line", ["batch", "samples"])
    padded = graph.pad(line, 2, 1, 1, graph.length(line, 1))
    square = graph.reshape(graph.slice(padded, 1, 1, graph.length(padded, 1)), 0, 2, -1)
    graph.output("made", square, ["batch", 2, "half"])
    line = noise(3, 4)
    expected = np.stack([line, np.zeros_like(line)], axis=1)
    np.testing.assert_array_equal(run_onnx(graph, line), expected)


def test_normalisation_keeps_digits_far_from_zero(run_onnx):
    graph, signal = Graph("norm"), noise(2, 3, 500) + 100
    made = graph.normalised(graph.input("x", ["b", 3, "n"]), (1, 2), 1e-5)
    graph.output("y", made, ["b", 3, "n"])
    wide = signal.astype(np.float64)
    mean, variance = (f(wide, (1, 2), keepdims=True) for f in (np.mean, np.var))
    expected = (wide - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(run_onnx(graph, signal), expected, atol=1e-4)


def test_equal_constants_are_stored_once():
    pytest.importorskip("onnx")
    graph = Graph("constants")
    x = graph.input("x", ["n"])
    graph("Mul", graph("Mul", x, 2.0), 2.0)
    assert len({name for node in graph.nodes for name in node.input if name != x}) == 2
