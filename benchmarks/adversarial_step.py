"""Seconds of a training step of both phases, data included, and how long it waits.

``python benchmarks/adversarial_step.py`` prints a table: the network and the batches of
the original on synthetic songs, a round of the second phase being ten critic steps and
one of the separator. Beside ours stand the seconds that the original's graph took on
two quiet cores, without its data. ``--quick`` takes three steps of the smallest batch.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
ORIGINAL = {
    ("sup", 4): 0.093,
    ("sup", 16): 0.37,
    ("sup", 64): 0.92,
    ("semisup", 4): 1.2,
    ("semisup", 16): 4.5,
    ("semisup", 64): 12.0,
}
"""Seconds of its graph: a separator step, and a full round."""


def measure(phase: str, batch: int, steps: int) -> tuple[float, float]:
    """Train some steps; median seconds of one, and the share of waiting for data."""
    from adversarial import phases, train
    from adversarial.config import PRESETS
    from common.config import override
    from common.training import distribution

    distribution.prepare(0)
    keys = {"model_config.batch_size": batch, "model_config.segment_seconds": 5.0}
    config = phases.part(override(PRESETS["musdb_moisesdb"], keys), phase)
    job = train.build(config, tf.distribute.get_strategy())
    batches = iter(job.train(0))
    step = tf.function(job.model.train_step)
    step(next(batches))
    whole, waits = [], []
    for _ in range(steps):
        start = time.perf_counter()
        given = next(batches)
        waits.append(time.perf_counter() - start)
        float(step(given)["loss"])
        whole.append(time.perf_counter() - start)
    return statistics.median(whole), sum(waits) / sum(whole)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    if options.quick:
        options.batches, options.steps = [4], 3
    lines = ["| phase | batch | original's graph | ours with data | waiting |"]
    lines.append("|---|---|---|---|---|")
    for phase in ("sup", "semisup"):
        for batch in options.batches:
            seconds, waiting = measure(phase, batch, options.steps)
            cells = f"{ORIGINAL[phase, batch]:.2f} s | {seconds:.2f} s | {waiting:.1%}"
            lines.append(f"| {phase} | {batch} | {cells} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
