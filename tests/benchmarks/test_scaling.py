"""The estimate of what several GPUs gain, and the operations that it starts from."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import tensorflow as tf

from common.layers.recurrent import RecurrentStack

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scaling")


@pytest.fixture
def count(monkeypatch):
    """Count the operations of a function on tensors of zeros."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    flops = importlib.import_module("flops")

    def count_of(function, *shapes):
        specs = [tf.TensorSpec(shape) for shape in shapes]
        return flops.count(tf.function(function).get_concrete_function(*specs).graph)

    return count_of


def gradient(function):
    """The gradients of the sum of a function by all of its arguments."""

    def run(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            total = tf.reduce_sum(function(*arguments) ** 2)
        return tape.gradient(total, arguments)

    return run


@pytest.mark.parametrize(
    ("function", "shapes", "operations"),
    [
        (tf.matmul, ([3, 5], [5, 7]), 2 * 3 * 5 * 7),
        (
            lambda a, b: tf.matmul(a, b, transpose_a=True),
            ([5, 3], [5, 7]),
            2 * 3 * 5 * 7,
        ),
        (tf.matmul, ([4, 3, 5], [4, 5, 7]), 2 * 4 * 3 * 5 * 7),
        (lambda a, b: tf.einsum("bij,jk->bik", a, b), ([4, 3, 5], [5, 7]), 840),
        (
            lambda a, b: tf.nn.conv2d(a, b, 2, "SAME"),
            ([1, 8, 8, 3], [3, 3, 3, 5]),
            2 * 16 * 135,
        ),
        (
            lambda a, b: tf.nn.depthwise_conv2d(a, b, [1, 1, 1, 1], "VALID"),
            ([1, 8, 8, 3], [3, 3, 3, 1]),
            2 * 36 * 27,
        ),
    ],
)
def test_operations_of_products_and_of_their_gradients(
    count, function, shapes, operations
):
    assert count(function, *shapes) == operations
    assert count(gradient(function), *shapes) == 3 * operations


def test_operations_of_a_transform(count):
    assert count(tf.signal.rfft, [3, 16]) == 2.5 * 3 * 16 * 4


def test_a_loop_counts_each_of_its_iterations(count):
    stack = RecurrentStack(3, 5, layers=1)
    frames, weights = 11, 2 * (3 + 5) * 4 * 5
    forward = count(stack, [2, frames, 3])
    assert forward == 2 * 2 * frames * weights


def test_a_loop_without_a_known_limit_is_refused(count):
    def loop(matrix):
        return tf.while_loop(
            lambda product: tf.reduce_sum(product) < 9,
            lambda product: [tf.matmul(product, matrix)],
            [matrix],
        )

    with pytest.raises(ValueError, match="no known limit"):
        count(loop, [3, 3])


def test_a_ring_sends_each_gradient_almost_twice(scaling):
    assert scaling.efficiency(1.0, 1e9, 1e9, 1) == (1.0, 1.0)
    half, hidden = scaling.efficiency(1.0, 1e9, 1e9, 2)
    assert half == pytest.approx(1 / 2)
    assert hidden == pytest.approx(1 / (1 + 1 / 3))
    apart, _ = scaling.efficiency(1.0, 1e9, 1e9, 64)
    assert apart == pytest.approx(1 / (1 + 126 / 64))


def test_the_table_estimates_from_what_was_measured(scaling):
    cost = scaling.Cost(2_000_000, 8_000_000, 3, 40e9, 2.0)
    costs = {"mixit/fuss": cost, "mixit/yfcc100m": cost}
    gpu = scaling.Gpu("V100", 0.5)
    text = scaling.table(costs, {8_000_000: 0.04}, gpu, ["10G"])
    names = "`mixit/fuss`, `mixit/yfcc100m`"
    assert (
        f"| {names} | 2.00 M | 8.0 MB | 3 | 40.0 G | 2.00 s | 40 ms, 0.20 GB/s |"
        in text
    )
    # 3 * 40 / (0.5 * 15.7 T/s) are 15.3 ms; 2 * 63 / 64 * 8 MB at 1.25 GB/s 12.6 ms.
    row = next(line for line in text.splitlines() if line.startswith(f"| {names} | 15"))
    assert row.startswith(f"| {names} | 15 ms | 100, 100 | 70, 100 |")
    assert row.endswith("| 55, 86 |")


def test_the_written_table_has_every_preset(scaling):
    text = (BENCHMARKS / "scaling.md").read_text("utf-8")
    missing = [name for name, _ in scaling.steps() if f"`{name}`" not in text]
    assert not missing
