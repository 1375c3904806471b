"""Time of the TDCN++ beside a port layer by layer and beside its products alone.

``python benchmarks/network.py`` writes ``network.md`` beside itself, with a table for
every interpreter named by ``--python`` (its own by default); ``--quick`` runs
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

import turns

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "products": "its matrix products alone",
    "plain": "port layer by layer",
    "graph": "`mixit.model`",
    "fused": "`mixit.model`, fused by XLA",
}
FULL = {"frames": 4000, "bottleneck": 256, "channels": 512, "blocks": 8, "runs": 25}
QUICK = {"frames": 1000, "bottleneck": 256, "channels": 512, "blocks": 3, "runs": 5}
Run = Callable[[Any], Any]


def build(size: dict[str, int]) -> tuple[dict[str, Run], dict[str, list[Any]]]:
    """Make the networks, of the same weights, and list these."""
    import tensorflow as tf

    from mixit.config import Network
    from mixit.model import Block

    config = Network(
        bottleneck=size["bottleneck"],
        conv_channels=size["channels"],
        num_dilations=size["blocks"],
        num_repeats=1,
    )
    blocks = [Block(config, i, name=f"block_{i}") for i in range(size["blocks"])]
    ports = [port(block) for block in blocks]
    for run, _ in ports:
        run(tf.zeros([1, 1, size["bottleneck"]]))
    _share(blocks, ports)
    matrices = [[b.widen.kernel, b.narrow.kernel] for b in blocks]
    runs: dict[str, Run] = {
        "products": lambda core: _chain([_product(*pair) for pair in matrices], core),
        "plain": lambda core: _chain([run for run, _ in ports], core),
        "graph": lambda core: _chain(blocks, core),
        "fused": lambda core: _chain(
            [lambda inputs, b=block: b(inputs, fused=True) for block in blocks], core
        ),
    }
    ours = [v for block in blocks for v in block.trainable_variables]
    theirs = [v for _, layers in ports for layer in layers for v in layer.variables]
    weights = dict.fromkeys(runs, ours)
    weights["products"] = [kernel for pair in matrices for kernel in pair]
    return runs, weights | {"plain": theirs}


def port(block: Any) -> tuple[Run, list[Any]]:
    """One block by the layers of Keras; the layers in the order of our weights."""
    import tensorflow as tf
    import tf_keras as keras

    layers = keras.layers
    widen = layers.Dense(block.widen.kernel.shape[1], use_bias=False)
    narrow = layers.Dense(block.narrow.kernel.shape[1], use_bias=False)
    first, second = (layers.PReLU(shared_axes=[1, 2]) for _ in range(2))
    convolve = layers.DepthwiseConv2D(
        (3, 1), padding="same", dilation_rate=(block.convolve.dilation, 1)
    )
    scalars = tf.Module()
    norms = (block.norm1, block.norm2)
    scalars.numbers = [
        tf.Variable(tf.reshape(number, []))
        for number in (
            *[n for norm in norms for n in (norm.gamma, norm.beta)],
            block.widen.scale,
            block.narrow.scale,
        )
    ]

    def normalised(inputs: Any, gamma: Any, beta: Any) -> Any:
        mean, variance = tf.nn.moments(inputs, [1], keepdims=True)
        return (inputs - mean) * tf.math.rsqrt(variance + 1e-3) * gamma + beta

    def run(core: Any) -> Any:
        gamma1, beta1, gamma2, beta2, widening, narrowing = scalars.numbers
        wide = normalised(first(widen(core) * widening), gamma1, beta1)
        convolved = convolve(wide[:, :, tf.newaxis])[:, :, 0]
        normal = normalised(second(convolved), gamma2, beta2)
        return core + narrow(normal) * narrowing

    return run, [widen, first, convolve, second, narrow, scalars]


def step(run: Run, weights: list[Any]) -> Run:
    """Make a graph of the gradient of the power of the output by all weights."""
    import tensorflow as tf

    def gradients(core: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(core)
            loss = tf.reduce_mean(tf.square(run(core)))
        return tape.gradient(loss, [core, *weights])

    return tf.function(gradients, autograph=False)


def measure(size: dict[str, int]) -> dict[str, Any]:
    """Run all in turn; wall and CPU seconds of every run."""
    import numpy as np
    import tensorflow as tf

    from mixit.layers import is_fusion_faster

    runs, weights = build(size)
    if not is_fusion_faster():
        del runs["fused"]
    core = tf.random.stateless_normal([1, size["frames"], size["bottleneck"]], [1, 2])
    inference = {k: tf.function(run, autograph=False) for k, run in runs.items()}
    training = {k: step(runs[k], weights[k]) for k in runs if k != "fused"}
    outputs = {name: run(core).numpy() for name, run in inference.items()}
    scale = np.abs(outputs["plain"]).max()
    differences = {
        name: float(np.abs(outputs[name] - outputs["plain"]).max() / scale)
        for name in runs
        if name not in ("plain", "products")
    }
    return {
        "version": tf.__version__,
        "load": os.getloadavg()[0],
        "differences": differences,
        "inference": _interleaved(inference, core, size["runs"]),
        "training": _interleaved(training, core, size["runs"]),
    }


def table(measured: dict[str, Any], mode: str) -> list[str]:
    """Record one comparison and write its table in Markdown."""
    runs: dict[str, list[list[float]]] = measured[mode]
    turns.record(
        f"Blocks of the TDCN++, {mode}, TensorFlow {measured['version']}",
        {
            NAMES[name]: turns.timed(runs[name])
            for name in ("graph", "plain", "products", "fused")
            if name in runs
        },
    )
    lines = [
        f"| {mode} | wall s | CPU s | lowest CPU s | CPU of the products | lowest |",
        "|---|---|---|---|---|---|",
    ]
    rows = {name: _row(run) for name, run in runs.items()}
    for name, (wall, cpu, least) in rows.items():
        _, bound, least_bound = rows["products"]
        lines.append(
            f"| {NAMES[name]} | {wall:.3f} | {cpu:.3f} | {least:.3f} "
            f"| x {cpu / bound:.2f} | x {least / least_bound:.2f} |"
        )
    return [*lines, ""]


def text(size: dict[str, int], measured: list[dict[str, Any]]) -> str:
    """Write all tables with what they are of."""
    lines = [
        "# Blocks of the TDCN++",
        "",
        f"{size['blocks']} blocks of {size['bottleneck']} and {size['channels']} "
        f"channels, {size['frames']:,} frames, batch 1, float32; training is the "
        "gradient by all weights and by the input; written by "
        "`python benchmarks/network.py`.",
        "",
        f"{os.cpu_count()} cores of a shared machine; CPU seconds, summed over all "
        "threads, are the fairer measure. Medians of "
        f"{size['runs']} alternating runs.",
        "",
    ]
    for each in measured:
        differences = ", ".join(
            f"{NAMES[name]} {value:.0e}" for name, value in each["differences"].items()
        )
        lines += [
            f"## TensorFlow {each['version']}",
            "",
            f"Load {each['load']:.1f}. Differences from the port, of the largest "
            f"output: {differences}.",
            "",
            *table(each, "inference"),
            *table(each, "training"),
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


def _chain(runs: list[Run], core: Any) -> Any:
    for run in runs:
        core = run(core)
    return core


def _product(widen: Any, narrow: Any) -> Run:
    import tensorflow as tf

    return lambda core: tf.matmul(tf.matmul(core, widen), narrow)


def _share(blocks: list[Any], ports: list[tuple[Run, list[Any]]]) -> None:
    """Give the ports the weights of our blocks."""
    for block, (_, layers) in zip(blocks, ports, strict=True):
        widen, first, convolve, second, narrow, _ = layers
        widen.kernel.assign(block.widen.kernel)
        narrow.kernel.assign(block.narrow.kernel)
        for activation, norm in ((first, block.norm1), (second, block.norm2)):
            activation.alpha.assign([[norm.slope]])
        kernel = block.convolve.kernel.numpy()
        convolve.depthwise_kernel.assign(kernel[:, None, :, None])
        convolve.bias.assign(block.convolve.bias)


def _interleaved(
    runs: dict[str, Run], core: Any, count: int
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every run, one of each in turn, after one for warmth."""
    import tensorflow as tf

    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for round_ in range(count + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for result in tf.nest.flatten(run(core)):
                result.numpy()
            if round_:
                times = time.perf_counter() - wall, time.process_time() - cpu
                spent[name].append(times)
    return spent


def _row(runs: list[list[float]]) -> tuple[float, float, float]:
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
