"""Time of the recurrent stack beside Keras' LSTM.

``python benchmarks/recurrent.py`` writes ``recurrent.md`` beside itself, with tables
for every interpreter named by ``--python`` (its own by default); ``--quick`` runs
everything at a small size and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import turns

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "keras": "`Bidirectional(LSTM)` of Keras",
    "ours": "`common.layers.recurrent`",
    "loop": "`common.layers.recurrent` without XLA",
}
FULL = {"frames": 1292, "excerpt": 255, "batch": 16, "units": 256, "runs": 5}
QUICK = {"frames": 300, "excerpt": 60, "batch": 8, "units": 128, "runs": 3}
TARGETS, LAYERS = 4, 3
Run = Callable[[Any], Any]
Times = dict[str, list[tuple[float, float]]]


def twins(size: dict[str, int]) -> tuple[Any, list[Any]]:
    """Make our stack and the layers of Keras, of the same weights."""
    import tensorflow as tf
    import tf_keras as keras

    from common.layers.recurrent import RecurrentStack

    units = size["units"]
    stack = RecurrentStack(2 * units, units, LAYERS)
    layers = []
    for forward, backward in stack.cells:
        lstm = keras.layers.LSTM(units, return_sequences=True)
        layer = keras.layers.Bidirectional(lstm)
        layer(tf.zeros([1, 2, 2 * units]))
        pairs = (forward, layer.forward_layer), (backward, layer.backward_layer)
        for ours, theirs in pairs:
            kernel, recurrent, bias, recurrent_bias = ours.get_weights()
            theirs.set_weights([kernel, recurrent, bias + recurrent_bias])
        layers.append(layer)
    return stack, layers


def inference(size: dict[str, int]) -> dict[str, Run]:
    """Runs of the networks of all targets, each with weights of its own."""
    import tensorflow as tf

    from common.layers import lstm_inference as recurrent_block

    pairs = [twins(size) for _ in range(TARGETS)]
    plain = [tf.function(_chain(layers), autograph=False) for _, layers in pairs]
    with mock.patch.object(recurrent_block, "compiles", return_value=False):
        signature = [tf.TensorSpec([1, None, 2 * size["units"]])]
        loops = [tf.function(stack.infer, signature) for stack, _ in pairs]
        for loop in loops:
            loop.get_concrete_function()
    return {
        "keras": lambda inputs: [run(inputs) for run in plain],
        "ours": lambda inputs: [stack.infer(inputs) for stack, _ in pairs],
        "loop": lambda inputs: [run(inputs) for run in loops],
    }


def training(size: dict[str, int]) -> dict[str, Run]:
    """Gradients of one network by all weights and by the input."""
    stack, layers = twins(size)
    theirs = [weight for layer in layers for weight in layer.trainable_weights]
    return {
        "keras": _step(_chain(layers), theirs),
        "ours": _step(stack, stack.trainable_weights),
    }


def measure(size: dict[str, int]) -> dict[str, Any]:
    """Run all in turn; wall and CPU seconds of every run."""
    import tensorflow as tf

    width = 2 * size["units"]
    song = tf.random.stateless_normal([1, size["frames"], width], [1, 2])
    shape = [size["batch"], size["excerpt"], width]
    excerpts = tf.random.stateless_normal(shape, [3, 4])
    tables, differences = {}, {}
    for mode, runs, inputs in (
        ("inference", inference(size), song),
        ("training", training(size), excerpts),
    ):
        tables[mode], results = _interleaved(runs, inputs, size["runs"])
        differences[mode] = _difference(results["ours"], results["keras"])
    return {
        "version": tf.__version__,
        "load": os.getloadavg()[0],
        "differences": differences,
        **tables,
    }


def text(size: dict[str, int], measured: list[dict[str, Any]]) -> str:
    """Write all tables with what they are of."""
    units, width = size["units"], 2 * size["units"]
    lines = [
        "# The recurrent stack",
        "",
        f"{LAYERS} layers of two directions of {units} units, input of width {width}, "
        "float32; written by `python benchmarks/recurrent.py`.",
        "",
        f"- Inference: {TARGETS} networks, {size['frames']:,} frames, batch 1.",
        f"- Training: output and gradient by all weights and by the input, batch "
        f"{size['batch']}, {size['excerpt']} frames, without dropout.",
        "",
        f"{os.cpu_count()} cores of a shared machine; CPU seconds, summed over all "
        "threads, are the fairer measure. Medians of "
        f"{size['runs']} alternating runs.",
        "",
    ]
    for each in measured:
        lines += [
            f"## TensorFlow {each['version']}",
            "",
            f"Load {each['load']:.1f}. Largest difference from Keras, of the largest "
            f"value: outputs {each['differences']['inference']:.0e}, gradients "
            f"{each['differences']['training']:.0e}.",
            "",
            *_table(each, "inference"),
            *_table(each, "training"),
        ]
    return "\n".join(lines)


def main() -> int:
    """Measure in a process of each interpreter and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, writes nothing")
    parser.add_argument(
        "--python", nargs="+", default=[sys.executable], help="interpreters"
    )
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(size)) + "\n")
        return 0
    measured = [_ask(python, arguments.quick) for python in arguments.python]
    written = text(size, measured)
    sys.stdout.write(written)
    if not arguments.quick:
        Path(__file__).with_suffix(".md").write_text(written, encoding="utf-8")
    return 0


def _chain(layers: list[Any]) -> Run:
    def run(inputs: Any) -> Any:
        for layer in layers:
            inputs = layer(inputs)
        return inputs

    return run


def _step(run: Run, weights: list[Any]) -> Run:
    """Make a graph of the gradient of the power of the output by all weights."""
    import tensorflow as tf

    def gradients(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.square(run(inputs)))
        return tape.gradient(loss, [inputs, *weights])

    return tf.function(gradients, autograph=False)


def _difference(ours: list[Any], theirs: list[Any]) -> float:
    """Largest difference of the first tensor, as a part of its largest value."""
    import numpy as np

    return float(np.abs(ours[0] - theirs[0]).max() / np.abs(theirs[0]).max())


def _interleaved(
    runs: dict[str, Run], inputs: Any, count: int
) -> tuple[Times, dict[str, list[Any]]]:
    """Wall and CPU seconds of every run, one of each in turn, after one for warmth."""
    import tensorflow as tf

    spent: Times = {name: [] for name in runs}
    results: dict[str, list[Any]] = {}
    for round_ in range(count + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            results[name] = [tensor.numpy() for tensor in tf.nest.flatten(run(inputs))]
            if round_:
                times = time.perf_counter() - wall, time.process_time() - cpu
                spent[name].append(times)
    return spent, results


def _table(measured: dict[str, Any], mode: str) -> list[str]:
    """Record one comparison and write its table in Markdown."""
    runs: Times = measured[mode]
    turns.record(
        f"The recurrent stack, {mode}, TensorFlow {measured['version']}",
        {
            NAMES[name]: turns.timed(runs[name])
            for name in ("ours", "keras", "loop")
            if name in runs
        },
    )
    lines = [
        f"| {mode} | wall s | CPU s | lowest CPU s | Keras takes | of the lowest |",
        "|---|---|---|---|---|---|",
    ]
    rows = {name: _row(run) for name, run in runs.items()}
    for name, (wall, cpu, least) in rows.items():
        _, most, least_of_keras = rows["keras"]
        lines.append(
            f"| {NAMES[name]} | {wall:.3f} | {cpu:.3f} | {least:.3f} "
            f"| x {most / cpu:.2f} | x {least_of_keras / least:.2f} |"
        )
    return [*lines, ""]


def _row(runs: list[tuple[float, float]]) -> tuple[float, float, float]:
    walls, cpus = zip(*runs, strict=True)
    return statistics.median(walls), statistics.median(cpus), min(cpus)


def _ask(python: str, quick: bool) -> Any:
    """Measure in another process, which ends with its answer."""
    command = [python, __file__, "--measure", *["--quick"] * quick]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
