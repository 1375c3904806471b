"""Time and memory of the MixIT loss beside the unrolled search of all assignments.

``python benchmarks/mixit_loss.py`` writes ``mixit_loss.md`` beside itself;
``--quick`` runs everything on small signals and writes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import turns

NAMES = {"unrolled": "all assignments, unrolled", "ours": "`mixit.loss.mixit`"}
FULL = {"batch": 3, "sources": 8, "samples": 160_000, "runs": 15}
QUICK = {"batch": 2, "sources": 6, "samples": 40_000, "runs": 5}
MEASURED_STEPS = 3
Step = Callable[[Any, Any], Any]


def unrolled(references: Any, estimates: Any) -> Any:
    """Mean loss by mixing the estimates in every way, each a branch of the graph."""
    import numpy as np
    import tensorflow as tf

    mixtures, sources = references.shape[1], estimates.shape[1]
    floor = 1e-3 * tf.reduce_sum(tf.square(references), axis=-1) + 1e-8
    losses = []
    for owners in itertools.product(range(mixtures), repeat=sources):
        matrix = tf.constant(np.eye(mixtures, dtype=np.float32)[list(owners)].T)
        error = tf.square(references - tf.matmul(matrix[tf.newaxis], estimates))
        energy = tf.reduce_sum(error, axis=-1) + floor
        decibels = 10.0 / math.log(10.0) * tf.math.log(energy)
        losses.append(tf.reduce_mean(decibels, axis=-1))
    table = tf.stack(losses, axis=1)  # [batch, assignments]
    best = tf.argmin(table, axis=1)
    return tf.reduce_mean(tf.gather(table, best, axis=1, batch_dims=1))


def ours(references: Any, estimates: Any) -> Any:
    """Mean loss of the package."""
    import tensorflow as tf

    from mixit.loss import mixit

    return tf.reduce_mean(mixit(references, estimates)[0])


def step(loss: Callable[[Any, Any], Any]) -> Step:
    """Make a graph of the loss and its gradient."""
    import tensorflow as tf

    def run(references: Any, estimates: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(estimates)
            value = loss(references, estimates)
        return value, tape.gradient(value, estimates)

    return tf.function(run)


def signals(size: dict[str, int]) -> tuple[Any, Any]:
    """Two mixtures of noises for each example, and estimates that leak by 10 %."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    shape = size["batch"], size["sources"], size["samples"]
    noises = 0.1 * rng.standard_normal(shape, dtype=np.float32)
    owners = np.eye(2, dtype=np.float32)[rng.integers(0, 2, shape[:2])]
    leaks = np.eye(shape[1]) + 0.1 * rng.uniform(0, 1, (shape[1], shape[1]))
    estimates = (leaks / leaks.sum(0)).astype(np.float32) @ noises
    return tf.constant(owners.transpose(0, 2, 1) @ noises), tf.constant(estimates)


def measure_time(size: dict[str, int]) -> dict[str, Any]:
    """Run both in turn; every run's wall and CPU seconds, and how far they differ."""
    import numpy as np
    import tensorflow as tf

    references, estimates = signals(size)
    steps = {"unrolled": step(unrolled), "ours": step(ours)}
    results = {name: run(references, estimates) for name, run in steps.items()}
    (expected, expected_gradient), (value, actual_gradient) = (
        results["unrolled"],
        results["ours"],
    )
    scale = float(np.abs(expected_gradient).max())
    report: dict[str, Any] = {
        "loss_difference": abs(float(value) - float(expected)),
        "gradient_difference": float(np.abs(actual_gradient - expected_gradient).max())
        / scale,
        "version": tf.__version__,
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(size["runs"]):
        for name, run in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            value, gradient = run(references, estimates)
            value.numpy(), gradient[0, 0, 0].numpy()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            runs[name].append(spent)
    return {**report, "runs": runs}


def measure_memory(size: dict[str, int], name: str) -> dict[str, float]:
    """Run one of them alone; peak of the process above what it held before, in MB."""
    inputs = signals(size)
    before, begin = turns.megabytes("VmRSS"), time.perf_counter()
    run = step({"unrolled": unrolled, "ours": ours}[name])
    for step_number in range(MEASURED_STEPS):
        run(*inputs)[0].numpy()
        if step_number == 0:
            build = time.perf_counter() - begin
    return {"megabytes": turns.megabytes("VmHWM") - before, "build": build}


def table(size: dict[str, int], timed: dict[str, Any], held: dict[str, Any]) -> str:
    """Write the table in Markdown."""
    rows = {name: _row(timed["runs"][name], held[name]) for name in NAMES}
    turns.record(
        f"MixIT loss with gradient, {size['sources']} estimates",
        {
            NAMES[name]: turns.timed(timed["runs"][name], peak=held[name]["megabytes"])
            for name in ("ours", "unrolled")
        },
    )
    count = 2 ** size["sources"]
    lines = [
        "# MixIT loss, forward and backward",
        "",
        f"{size['batch']} x 2 mixtures, {size['sources']} estimates, "
        f"{size['samples']:,} samples, float32, in a graph; written by "
        "`python benchmarks/mixit_loss.py`.",
        "",
        f"TensorFlow {timed['version']}, {os.cpu_count()} cores of a shared machine, "
        f"load {os.getloadavg()[0]:.1f}; CPU seconds, summed over all threads, are the "
        f"fairer measure. Medians of {size['runs']} alternating runs; memory is the "
        "peak of a "
        "process of its own above what it held with the signals loaded, graph "
        "included.",
        "",
        "| | wall s | CPU s | lowest CPU s | memory MB | first step s |",
        "|---|---|---|---|---|---|",
    ]
    for name, label in NAMES.items():
        wall, cpu, least, memory, build = rows[name]
        lines.append(
            f"| {label} | {wall:.4f} | {cpu:.4f} | {least:.4f} | {memory:.0f} "
            f"| {build:.1f} |"
        )
    ratios = [a / b for a, b in zip(rows["unrolled"], rows["ours"], strict=True)]
    lines.append("| ratio | " + " | ".join(f"{ratio:.0f}" for ratio in ratios) + " |")
    lines += [
        "",
        f"The best of {count} assignments: losses differ by "
        f"{timed['loss_difference']:.1e} dB, gradients by "
        f"{timed['gradient_difference']:.1e} of the largest value.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure in processes of their own and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, writes nothing")
    parser.add_argument("--measure", choices=["time", *NAMES], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.measure == "time":
        return _answer(measure_time(size))
    if arguments.measure:
        return _answer(measure_memory(size, arguments.measure))
    held = {name: _ask(name, arguments.quick) for name in NAMES}
    text = table(size, _ask("time", arguments.quick), held)
    sys.stdout.write(text)
    if not arguments.quick:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


def _row(
    runs: list[tuple[float, float]], held: dict[str, float]
) -> tuple[float, float, float, float, float]:
    walls, cpus = zip(*runs, strict=True)
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    return wall, cpu, min(cpus), held["megabytes"], held["build"]


def _ask(what: str, quick: bool) -> Any:
    """Measure in another process, which ends with its answer."""
    command = [sys.executable, __file__, "--measure", what, *["--quick"] * quick]
    paths = [str(turns.ROOT), os.environ.get("PYTHONPATH", "")]
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


def _answer(measured: dict[str, Any]) -> int:
    sys.stdout.write(json.dumps(measured) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
