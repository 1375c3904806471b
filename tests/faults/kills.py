"""Kills tiny trainings at random times, and starts them again.

    python kills.py RESULTS COUNT SEED PILLAR...

A run is killed up to five times, at times that are uniform over the processor time of
an undisturbed run, and then goes on to its end. Its weights, its optimizer and its
scalars must be those of the undisturbed run, to the bit. Each run is a fork of this
process, which has imported TensorFlow and run nothing of it.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from operation import digest
from trials import differing, in_fork

KILLS_A_RUN = 5
SCHEDULE = ("epochs=2", "steps_per_epoch=4", "checkpoint_steps=1")
COMMANDS = {
    "adversarial": (
        *("adversarial.train", "with", "tiny", "phases=semisup", "initial_filters=2"),
        *("disc_filters=2", "num_disc=1", "batch_size=2", "epoch_it=4"),
    ),
    "clustering": (
        *("clustering.train", "with", "tiny", "dataset=mix_folders"),
        *("segment_seconds=0.2", "batch_size=2", "spectral.recurrent.hidden=6"),
    ),
    "mixit": (
        *("mixit.train", "with", "tiny", "segment_seconds=0.5", "batch_size=2"),
        *("num_coeffs=16", "bottleneck=8", "conv_channels=16", "num_dilations=1"),
    ),
    "unmix": (
        *("unmix.train", "with", "tiny", "target=bass", "seq_dur=1"),
        *("hidden_size=8", "batch_size=2"),
    ),
}
TICKS = os.sysconf("SC_CLK_TCK")


def start(words: list[str], log: Path) -> int:
    """Start a training in a fork; returns its process id."""
    child = os.fork()
    if not child:
        code = 99
        try:
            handle = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            code = importlib.import_module(words[0]).main(words[1:])
            sys.stdout.flush()
        finally:
            os._exit(code)
    return child


def processor_seconds(process: int) -> float:
    """Return what a process has used of the processor, also once it has ended."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def has_ended(process: int) -> bool:
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process, options) is not None


def run(
    words: list[str], log: Path, seconds: float = float("inf")
) -> tuple[int, float]:
    """Train to the end, or kill it after some processor time; returns code and time."""
    process = start(words, log)
    while not has_ended(process):
        if processor_seconds(process) >= seconds:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.005)
    used = processor_seconds(process)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), used


def finish(words: list[str], log: Path) -> float:
    """Train to the end, which must succeed; returns the processor time."""
    code, used = run(words, log)
    if code:
        raise RuntimeError(f"{words} ended with {code}:\n{log.read_text('utf-8')}")
    return used


def result(folder: Path) -> dict[str, Any]:
    """Read all tensors of the latest checkpoint of each phase, and the scalars."""
    found: dict[str, Any] = {}
    for latest in sorted(folder.rglob("latest")):
        phase = latest.parent.relative_to(folder)
        reader = tf.train.load_checkpoint(str(latest))
        for name in reader.get_variable_to_shape_map():
            if name.endswith("VALUE") and "save_counter" not in name:
                tensor = np.asarray(reader.get_tensor(name))
                found[f"{phase}/{name}"] = digest(tensor.tobytes())
    for scalars in sorted(folder.rglob("scalars.jsonl")):
        found[str(scalars.relative_to(folder))] = digest(scalars)
    return found


def survive(pillar: str, count: int, seed: int, root: Path) -> dict[str, Any]:
    """Kill a training again and again; returns counts and what went wrong."""
    words = [*COMMANDS[pillar], *SCHEDULE]
    log, draw, began = root / "log.txt", random.Random(seed), time.monotonic()
    # The first run makes the data, which is not training.
    finish([*words, f"output={root / 'first'}"], log)
    whole = finish([*words, f"output={root / 'straight'}"], log)
    expected = in_fork(lambda: result(root / "straight"))
    killed, runs, wrong = 0, 0, []
    while killed < count:
        runs += 1
        again = [*words, f"output={root / f'run-{runs}'}"]
        for _ in range(min(KILLS_A_RUN, count - killed)):
            killed += run(again, log, draw.uniform(0, whole))[0] == -signal.SIGKILL
        finish(again, log)
        found = in_fork(lambda: result(root / f"run-{runs}"))  # noqa: B023
        wrong += [f"run {runs}: {name}" for name in differing(found, expected)]
        sys.stdout.write(f"{pillar}: {killed} kills, {len(wrong)} differences\n")
        sys.stdout.flush()
    return {
        "killed": killed,
        "runs": runs,
        "tensors": len(expected),
        "processor_seconds": round(whole, 1),
        "seconds": round(time.monotonic() - began),
        "problems": wrong,
    }


def main(results: str, count: str, seed: str, *pillars: str) -> int:
    """Kill trainings and write what came of it as JSON."""
    for pillar in pillars:
        importlib.import_module(COMMANDS[pillar][0])
    found = {}
    for pillar in pillars:
        with tempfile.TemporaryDirectory() as root:
            found[pillar] = survive(pillar, int(count), int(seed), Path(root))
        Path(results).write_text(json.dumps(found, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
