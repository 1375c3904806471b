"""How time and memory grow with the length of a sound, the batch, sources and cores.

``python benchmarks/growth.py`` writes ``growth.md`` beside itself: the bundled models
on noise of 1 s to an hour, training steps of the small presets with batches of 1 to 16,
MixIT with 2 to 16 outputs, and each of these on one core and on all. ``--quick``
takes two models, 30 s and two turns and writes nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import turns

MODELS = (
    *("mixit/mini", "mixit/universal", "unmix/mini", "unmix/singing"),
    *("adversarial/mini", "clustering/mini", "clustering/speech2"),
)
PRESETS = (
    *("mixit/tiny", "unmix/tiny", "adversarial/tiny", "clustering/tiny"),
    "clustering/tiny_conv_tasnet",
)
QUICK_MODELS = "mixit/mini", "unmix/mini"
QUICK_PRESETS = "unmix/tiny", "clustering/tiny_conv_tasnet"
LENGTHS, QUICK_LENGTHS = (1, 10, 60, 600, 3600), (1, 10, 30)
BATCHES, QUICK_BATCHES = (1, 2, 4, 8, 16), (1, 4, 16)
OUTPUTS, QUICK_OUTPUTS = (2, 4, 8, 16), (2, 8)
CHUNK_SECONDS = 10
PAIR_SECONDS, PAIR_BATCH = 10, 8
"""Size of the work on one core and on all."""


def separation(model: str) -> turns.Callable[..., None]:
    """Return what separates noise of some seconds, which is made chunk by chunk."""
    import numpy as np

    pillar, name = model.split("/")
    separator = importlib.import_module(pillar).load(name)
    rng = np.random.default_rng(0)
    shape = separator.channels, CHUNK_SECONDS * separator.sample_rate
    chunk = 0.1 * rng.standard_normal(shape, dtype=np.float32)

    def work(seconds: str) -> None:
        left = round(float(seconds) * separator.sample_rate)
        chunks = [chunk[:, :left]] if left < chunk.shape[1] else []
        whole = 0 if chunks else left // chunk.shape[1]
        for _ in separator.stream((*chunks, *[chunk] * whole)):
            pass

    return work


def training(preset: str, outputs: str = "") -> turns.Callable[..., None]:
    """Return what takes a training step of a preset with some batch."""
    import scaling
    import tensorflow as tf

    from common.config import override
    from common.training import distribution

    distribution.prepare(0)
    pillar, name = preset.split("/")
    module = "presets" if pillar == "clustering" else "config"
    config = importlib.import_module(f"{pillar}.{module}").PRESETS[name]
    if outputs:
        keys = {"model.num_sources": int(outputs), "assignment": "least_squares"}
        config = override(config, keys)
    phase = ["sup"] if pillar == "adversarial" else []
    made = getattr(scaling, f"{pillar}_step")(config, *phase)
    step = tf.function(made.model.train_step)

    def work(batch: str) -> None:
        examples = {
            name: tf.repeat(value, int(batch), axis=0)
            for name, value in made.example.items()
        }
        float(step(examples)["loss"])

    return work


ROLES = {"separate": separation, "train": training}


def worker(role: str, *what: str, cores: int = 0) -> turns.Worker:
    """Start a process for one of ROLES, on some cores or all."""
    words = [sys.executable, __file__, "--role", role, *what]
    if not cores:
        return turns.Worker(words, True)
    names = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
    pinned = ["taskset", "--cpu-list", f"0-{cores - 1}", *words]
    return turns.Worker(pinned, True, **dict.fromkeys(names, str(cores)))


def growth(
    title: str, unit: str, programs: Sequence[tuple[str, ...]], amounts: Sequence[int]
) -> Iterator[str]:
    """Measure each program at each amount; rows of CPU seconds for one of the unit."""
    head = " | ".join(f"{amount} {unit}" for amount in amounts)
    yield f"\n## {title}\n\n| | {head} | peak MB of the first | of the last |\n"
    yield f"|{'---|' * (3 + len(amounts))}\n"
    for program in programs:
        process, spent = worker(*program), []
        for amount in amounts:
            process.ask(amount)
            spent.append(process.ask(amount))
        process.end()
        cells = [f"{s['cpu'] / n:.4f}" for s, n in zip(spent, amounts, strict=True)]
        peaks = [f"{spent[index]['peak']:.0f}" for index in (0, -1)]
        yield f"| `{' '.join(program[1:])}` | {' | '.join([*cells, *peaks])} |\n"


def outputs(amounts: Sequence[int]) -> Iterator[str]:
    """Measure a step of MixIT by the number of its outputs."""
    yield "\n## MixIT's outputs, CPU s of a training step of `mixit/tiny`\n\n"
    yield f"| {' | '.join(map(str, amounts))} |\n|{'---|' * len(amounts)}\n"
    cells = []
    for amount in amounts:
        process = worker("train", "mixit/tiny", str(amount))
        process.ask(1)
        cells.append(f"{process.ask(PAIR_BATCH)['cpu']:.3f}")
        process.end()
    yield f"| {' | '.join(cells)} |\n"


def cores(models: Sequence[str], presets: Sequence[str], runs: int) -> Iterator[str]:
    """Let one core and all do the same in turn."""
    count = os.cpu_count() or 1
    yield f"\n## One core and {count}\n\n"
    yield f"| | one core, wall s | {count} cores, wall s | gain |\n|---|---|---|---|\n"
    tasks = [("separate", model, PAIR_SECONDS) for model in models]
    tasks += [("train", preset, PAIR_BATCH) for preset in presets]
    for role, name, amount in tasks:
        pair = {f"{n} cores": worker(role, name, cores=n) for n in (count, 1)}
        answers = turns.compare(pair, runs, amount)
        title = f"{role} `{name}`"
        turns.record(f"One core and {count}: {title}", answers)
        for process in pair.values():
            process.end()
        many, one = (
            statistics.median(s["wall"] for s in spent) for spent in answers.values()
        )
        yield f"| {title} | {one:.3f} | {many:.3f} | x {one / many:.2f} |\n"


def tables(quick: bool, runs: int) -> Iterator[str]:
    """Measure everything; parts of the text."""
    models = QUICK_MODELS if quick else MODELS
    presets = QUICK_PRESETS if quick else PRESETS
    yield (
        "# Growth\n\nWritten by `python benchmarks/growth.py`. CPU seconds are of all "
        "threads, on the second run with each amount.\n"
    )
    yield from growth(
        "Length of a sound, CPU s for a second of it",
        "s",
        [("separate", model) for model in models],
        QUICK_LENGTHS if quick else LENGTHS,
    )
    yield from growth(
        "Batch, CPU s of a training step for each example",
        "examples",
        [("train", preset) for preset in presets],
        QUICK_BATCHES if quick else BATCHES,
    )
    yield from outputs(QUICK_OUTPUTS if quick else OUTPUTS)
    yield from cores(models, presets, runs)


def main() -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        role, *what = options.role
        work: Any = ROLES[role](*what)
        turns.serve(work)
        return 0
    runs = 2 if options.quick else options.runs
    turns.publish(tables(options.quick, runs), __file__, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
