"""What several GPUs would gain, for every published preset.

``python benchmarks/scaling.py`` writes ``scaling.md`` beside itself. Gradients and
operations are counted from the graph of a training step, a step of one example is timed
on this CPU, and two processes here add up as many bytes. The rest is an estimate: a
step of one GPU takes ``t``, the batch's operations over the GPU's peak times
``--utilisation``; n GPUs exchange their gradients in a ring in
``c = 2 (n - 1) / n * bytes / link``. Their efficiency is ``t / (t + c)``, and with
overlap ``t / (t + max(0, c - 2 t / 3))``, because gradients appear in the last two
thirds of a step. ``--quick`` takes a preset of each package and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import flops
import turns

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (1, 2, 4, 8, 16, 32, 64)
PEAKS = {"V100": 15.7e12, "A100": 19.5e12, "H100": 66.9e12}
"""Operations a second in float32 without tensor cores, by the makers' data sheets."""

LINKS = {"10G": 1.25e9, "100G": 12.5e9, "NVLink": 300e9}
"""Bytes a second in one direction: Ethernet of 10 and 100 Gbit/s, NVLink of an A100."""

BACKWARD = 2 / 3
"""Part of a step in which gradients appear."""

QUICK = "mixit/fuss_supervised", "unmix/umxse", "adversarial/museval", "clustering/dpcl"
FLOAT_BYTES = 4
RUNS = 2
Example = dict[str, Any]


class Step(NamedTuple):
    """A training step.

    Attributes:
        model: The compiled training model.
        example: A batch of one example.
        batch: Examples of a step of each replica in the published training.
        exchanges: Networks whose gradients are exchanged, each as often as it is.
    """

    model: Any
    example: Example
    batch: int
    exchanges: list[Any]


class Cost(NamedTuple):
    """Cost of a step.

    Attributes:
        weights: Trainable ones, in all networks.
        gradient_bytes: Exchanged by each replica in a step.
        batch: Examples of a step of each replica.
        operations: Floating-point operations for one example.
        cpu: CPU seconds of all threads for one example on this machine.
    """

    weights: int
    gradient_bytes: int
    batch: int
    operations: float
    cpu: float


class Gpu(NamedTuple):
    """An assumed GPU: its name, and the part of its peak that a step reaches."""

    name: str
    utilisation: float

    def seconds(self, cost: Cost) -> float:
        """Estimate the time of a step."""
        speed = PEAKS[self.name] * self.utilisation
        return cost.batch * cost.operations / speed


def steps() -> Iterator[tuple[str, Callable[[], Step]]]:
    """Yield the name of every published training, and what makes its step."""
    import adversarial.config
    import clustering.presets
    import mixit.config
    import unmix.config

    for pillar, configs, make in (
        ("mixit", mixit.config.PRESETS, mixit_step),
        ("unmix", unmix.config.PRESETS, unmix_step),
        ("adversarial", adversarial.config.PRESETS, adversarial_step),
        ("clustering", clustering.presets.PRESETS, clustering_step),
    ):
        phases = {"": ""}
        if pillar == "adversarial":
            phases = {", first phase": "sup", ", second phase": "semisup"}
        for name in configs:
            for label, phase in phases.items() if "tiny" not in name else ():
                arguments = [configs[name], phase] if phase else [configs[name]]
                yield (
                    f"{pillar}/{name}{label}",
                    lambda make=make, arguments=arguments: make(*arguments),
                )


def noise(*shape: int) -> Any:
    """Draw waveforms."""
    import tensorflow as tf

    return 0.1 * tf.random.stateless_normal(shape, [1, 2])


def mixit_step(config: Any) -> Step:
    """Make a step on one mixture of mixtures."""
    from mixit import train

    model = train.compiled(config, 1)
    samples = round(config.segment_seconds * config.model.sample_rate)
    sources = noise(1, 2, min(4, config.model.num_sources), samples)
    return Step(model, {"sources": sources}, config.batch_size // 2, [model.network])


def unmix_step(config: Any) -> Step:
    """Make a step of the network of one target."""
    import numpy as np

    from common.training.optimizer import optimizer
    from unmix import train
    from unmix.model import OpenUnmix

    network = OpenUnmix(config.model)
    network.set_statistics(np.ones(network.bins), np.ones(network.bins))
    model = train.UnmixTraining(network, config, 1)
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(network.trainable_variables)
    samples = round(config.segment_seconds * config.model.sample_rate)
    sources = noise(1, 2, config.model.channels, samples)
    example = {"mixture": sources[:, 0] + sources[:, 1], "sources": sources[:, :1]}
    return Step(model, example, config.batch_size, [network])


def adversarial_step(config: Any, phase: str) -> Step:
    """Make a step of a phase; in the second one critics take steps too."""
    from adversarial import phases, train
    from adversarial.model import solve

    config = phases.part(config, phase)
    model, settings = train.compiled(config, 1), config.model_config
    images = solve(settings)
    outside, inside = (
        (frames - 1) * settings.num_hop + settings.num_fft
        for frames in (images.input_frames, images.output_frames)
    )
    edge, rounds = (outside - inside) // 2, settings.num_disc
    sources = noise(1, 2, outside)
    inner = sources[..., edge : edge + inside]
    example = {"mixture": sources[:, 0] + sources[:, 1], "sources": inner}
    exchanges = [model.network]
    if phase == "semisup":
        more = noise(1, rounds + 1, outside)
        example["mixtures"] = more
        example["accompaniments"] = example["vocals"] = more[:, :-1, :inside]
        example["epsilon"] = abs(noise(1, rounds, 2))
        exchanges += rounds * model.critics
    return Step(model, example, settings.batch_size, exchanges)


def clustering_step(config: Any) -> Step:
    """Make a step on a mixture of two sources."""
    from clustering import train
    from clustering.models import network
    from common.training.optimizer import optimizer

    made = network.network(config)
    model = train.ClusteringTraining(made, config, 1)
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(made.trainable_variables)
    samples = round(config.segment_seconds * config.sample_rate)
    sources = noise(1, 2, samples)
    example = {"mixture": sources[:, 0] + sources[:, 1], "sources": sources}
    return Step(model, example, config.batch_size, [made])


def measure(step: Step, known: dict[Any, tuple[float, float]]) -> Cost:
    """Count a step, and time it where no equal network with equal input is known."""
    sizes = [_shapes(network.trainable_variables) for network in step.exchanges]
    weights = {id(each): size for each, size in zip(step.exchanges, sizes, strict=True)}
    key = repr((sizes, _shapes(step.example.values())))
    if key not in known:
        known[key] = _operations_and_seconds(step)
    gradient = FLOAT_BYTES * sum(map(_total, sizes))
    total = sum(map(_total, weights.values()))
    return Cost(total, gradient, step.batch, *known[key])


def _shapes(tensors: Any) -> list[Any]:
    return [tensor.shape for tensor in tensors]


def _total(shapes: list[Any]) -> int:
    return sum(shape.num_elements() for shape in shapes)


def _operations_and_seconds(step: Step) -> tuple[float, float]:
    """Count the operations of the graph of a step; take the faster of two runs."""
    import tensorflow as tf

    function = tf.function(step.model.train_step)
    graph = function.get_concrete_function(step.example).graph
    seconds = []
    for _ in range(1 + RUNS):
        began = time.process_time()
        float(function(step.example)["loss"])
        seconds.append(time.process_time() - began)
    return flops.count(graph), min(seconds[1:])


def exchange(sizes: list[int]) -> list[float]:
    """Add up vectors of two processes on this machine.

    Args:
        sizes: Bytes of each vector.

    Returns:
        Seconds of each, the least of some.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": addresses}, "task": task}
        words = [sys.executable, __file__, "--exchange", json.dumps(sizes)]
        environment = os.environ | {"TF_CONFIG": json.dumps(cluster)}
        processes.append(
            subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        )
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a process of the exchange failed, see its messages above")
    return list(json.loads(answers[0].splitlines()[-1]))


def _free_ports(count: int) -> list[int]:
    with_ports = [socket.socket() for _ in range(count)]
    for each in with_ports:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in with_ports]
    for each in with_ports:
        each.close()
    return ports


def exchange_here(sizes: list[int]) -> list[float]:
    """Play one of both processes of :func:`exchange`."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function
    def add(vector: Any) -> Any:
        def replica() -> Any:
            context = tf.distribute.get_replica_context()
            # The copy lies on the device of the replica.
            return context.all_reduce("SUM", tf.identity(vector))

        return strategy.run(replica)

    def seconds(vector: Any) -> float:
        began = time.perf_counter()
        add(vector).numpy()
        return time.perf_counter() - began

    vectors = [tf.ones([size // FLOAT_BYTES]) for size in sizes]
    return [min([seconds(vector) for _ in range(2 + RUNS)][1:]) for vector in vectors]


def efficiency(
    seconds: float, gradient_bytes: float, link: float, gpus: int
) -> tuple[float, float]:
    """Estimate the efficiency of GPUs that take ``seconds`` for a step each.

    Returns:
        Without and with an exchange during the backward pass.

    >>> [round(each, 2) for each in efficiency(0.3, 3e9, 10e9, 2)]
    [0.5, 0.75]
    """
    spent = 2 * (gpus - 1) / gpus * gradient_bytes / link
    rest = max(0.0, spent - BACKWARD * seconds)
    return seconds / (seconds + spent), seconds / (seconds + rest)


def table(
    costs: dict[str, Cost], exchanged: dict[int, float], gpu: Gpu, links: list[str]
) -> str:
    """Write the table of what was measured, and one of estimates for each link."""
    names: dict[Cost, list[str]] = {}
    for name, cost in costs.items():
        names.setdefault(cost, []).append(f"`{name}`")
    lines = [
        *_head(gpu),
        "| preset | weights | gradients of a step | batch of a replica | operations "
        "for an example | CPU time for an example | exchange of two processes here |",
        "|---|---|---|---|---|---|---|",
    ]
    for cost, presets in names.items():
        size = cost.gradient_bytes
        lines.append(
            f"| {', '.join(presets)} | {cost.weights / 1e6:.2f} M | {size / 1e6:.1f} MB"
            f" | {cost.batch} | {cost.operations / 1e9:.1f} G | {cost.cpu:.2f} s | "
            f"{1000 * exchanged[size]:.0f} ms, {size / exchanged[size] / 1e9:.2f} GB/s"
            " |"
        )
    for link in links:
        speed = LINKS[link]
        lines += [
            f"\n{link}, {speed / 1e9:g} GB/s: percent without and with overlap\n",
            f"| preset | step of one {gpu.name} | {' | '.join(map(str, COUNTS))} |",
            f"|{'---|' * (2 + len(COUNTS))}",
        ]
        for cost, presets in names.items():
            seconds = gpu.seconds(cost)
            pairs = [efficiency(seconds, cost.gradient_bytes, speed, n) for n in COUNTS]
            cells = [f"{100 * a:.0f}, {100 * b:.0f}" for a, b in pairs]
            name = ", ".join(presets)
            lines.append(f"| {name} | {1000 * seconds:.0f} ms | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _head(gpu: Gpu) -> list[str]:
    return [
        "# Scaling",
        "",
        "Written by `python benchmarks/scaling.py`.",
        "",
        "<!-- begin -->",
        "",
        f"TensorFlow {version('tensorflow')}, {processor()}, {os.cpu_count()} cores of "
        f"a shared machine; {time.strftime('%Y-%m-%d')}. Measured: "
        f"the CPU time, which is that of all threads, the faster of {RUNS} runs, and "
        "the exchange, wall time of two processes that add up a vector of as many "
        "bytes over loopback. Counted: the weights, the gradients (float32), and the "
        "operations of matrix products, convolutions and transforms. Estimated: "
        f"everything about GPUs. The GPU is the {gpu.name}, "
        f"{PEAKS[gpu.name] / 1e12:g} TFLOP/s in float32, of which a step is assumed to "
        f"reach {100 * gpu.utilisation:g} %.",
        "",
    ]


def processor() -> str:
    """Name the processor."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", choices=list(PEAKS), default="A100")
    parser.add_argument("--utilisation", type=float, default=0.3)
    parser.add_argument("--link", choices=list(LINKS), nargs="+", default=list(LINKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--exchange", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if options.exchange:
        sys.stdout.write(json.dumps(exchange_here(options.exchange)) + "\n")
        return 0
    costs, known = {}, {}
    for name, make in steps():
        if not options.quick or name.startswith(QUICK):
            costs[name] = measure(make(), known)
            sys.stderr.write(f"{name}: {costs[name]}\n")
    sizes = sorted({cost.gradient_bytes for cost in costs.values()})
    exchanged = dict(zip(sizes, exchange(sizes), strict=True))
    gpu = Gpu(options.gpu, options.utilisation)
    page = table(costs, exchanged, gpu, options.link)
    turns.publish([page], __file__, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
