"""Memory and time of a training step with and without gradient checkpointing.

``python benchmarks/memory.py`` writes ``memory.md`` beside itself: the preset ``fuss``
at several lengths of its mixtures, up to the published one, which needs 16 GB;
``--quick`` runs a small network on short mixtures and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import turns

FULL = {2.0: (True, False), 4.0: (True, False), 10.0: (True, False)}
QUICK = {0.5: (True, False)}
SOURCES = 4
"""Sources of a recording of FUSS."""
CHECKPOINTING = {"gradient checkpointing": True, "without": False}


def measure(preset: str, seconds: float, checkpointing: bool) -> dict[str, float]:
    """Take two steps; peak of the process above its memory before the model, in GB."""
    from dataclasses import replace

    import tensorflow as tf

    from common.training import distribution
    from mixit.config import PRESETS
    from mixit.train import compiled

    distribution.prepare(1)
    config = replace(PRESETS[preset], gradient_checkpointing=checkpointing)
    samples = round(seconds * config.model.sample_rate)
    shape = config.batch_size // 2, 2, SOURCES, samples
    batch = {"sources": 0.1 * tf.random.stateless_normal(shape, (1, 2))}
    before = turns.megabytes("VmRSS") / 1024
    model = compiled(config, replicas=1)
    step = tf.function(model.train_step)
    step(batch)
    begin = time.perf_counter(), time.process_time()
    loss = float(step(batch)["loss"])
    return {
        "gigabytes": turns.megabytes("VmHWM") / 1024 - before,
        "wall": time.perf_counter() - begin[0],
        "cpu": time.process_time() - begin[1],
        "loss": loss,
    }


def table(results: dict[float, dict[bool, dict[str, float]]], version: str) -> str:
    """Write the table in Markdown."""
    lines = [
        "# A training step of the preset `fuss`",
        "",
        "Three mixtures of mixtures, 8 outputs, 32 blocks; written by "
        "`python benchmarks/memory.py`.",
        "",
        f"TensorFlow {version}, {os.cpu_count()} cores of a shared machine. Memory is "
        "the peak of a process of its own above what it held with the batch loaded; "
        "time is that of the second step.",
        "",
        "| mixtures s | gradient checkpointing | memory GB | CPU s | wall s | loss |",
        "|---|---|---|---|---|---|",
    ]
    for seconds, pair in results.items():
        lines += [
            f"| {seconds:g} | {'yes' if checkpointing else 'no'} "
            f"| {got['gigabytes']:.2f} | {got['cpu']:.1f} | {got['wall']:.1f} "
            f"| {got['loss']:.4f} |"
            for checkpointing, got in pair.items()
        ]
        if len(pair) == 2:
            turns.record(
                f"Training step of MixIT on {seconds:g} s",
                {name: [_spent(pair[kind])] for name, kind in CHECKPOINTING.items()},
            )
            memory, cpu = (pair[True][k] / pair[False][k] for k in ("gigabytes", "cpu"))
            lines.append(f"| {seconds:g} | ratio | {memory:.2f} | {cpu:.2f} | | |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure in processes of their own and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, writes nothing")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measured = measure(*arguments.measure)
        sys.stdout.write(json.dumps(measured) + "\n")
        return 0
    preset, sizes = ("tiny", QUICK) if arguments.quick else ("fuss", FULL)
    results = {
        seconds: {kind: _ask(preset, seconds, kind) for kind in kinds}
        for seconds, kinds in sizes.items()
    }
    written = table(results, version("tensorflow"))
    sys.stdout.write(written)
    if not arguments.quick:
        Path(__file__).with_suffix(".md").write_text(written, encoding="utf-8")
    return 0


def _spent(got: dict[str, float]) -> dict[str, float]:
    return {"wall": got["wall"], "cpu": got["cpu"], "peak": 1024 * got["gigabytes"]}


def _ask(preset: str, seconds: float, checkpointing: bool) -> Any:
    """Measure in another process, which ends with its answer."""
    what = json.dumps([preset, seconds, checkpointing])
    paths = [str(turns.ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        [sys.executable, __file__, "--measure", what],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
