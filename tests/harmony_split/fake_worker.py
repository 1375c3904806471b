"""A worker of the server without TensorFlow, whose models do what their names say."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from common.separation import Separator
from common.weights.registry import Entry, File
from harmony_split import worker

RATE = 8000
NAMES = ("halves", "slow", "dies", "dies_once", "fails", "absent")
PASS_SECONDS = 0.15


def entry(name: str) -> Entry:
    file = File(Path(name), "https://example.org" if name == "absent" else "")
    licence, ready = "Apache-2.0", name != "absent"
    return Entry(name, "fake", "made by code", licence, "6 dB", ready, [file])


def halves(batch: np.ndarray) -> np.ndarray:
    return np.stack([0.75 * batch, 0.25 * batch], 1)


def network(name: str):
    def run(batch: np.ndarray) -> np.ndarray:
        if name == "slow":
            time.sleep(PASS_SECONDS)
        if name == "fails":
            raise ValueError("the network returned estimates that are not finite")
        if name == "dies" or (name == "dies_once" and not _died.exists()):
            _died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return halves(batch)

    return run


def load(pillar: str, name: str) -> Separator:
    entries = [each for each in map(entry, NAMES) if each.name == name and each.cached]
    if not entries:
        raise worker.RefusedError("model_missing", f"{pillar}/{name} is not here.")
    return Separator(
        network(name),
        ["high", "low"],
        RATE,
        segment_seconds=1.0,
        named=True,
    )


if __name__ == "__main__":
    (died,) = [word for word in sys.argv if word.startswith("--died=")]
    _died = Path(died.removeprefix("--died="))
    sys.argv.remove(died)
    # Nothing to warm: models that die would.
    worker.Worker.warm = lambda self, model: None  # type: ignore[method-assign]
    sys.exit(worker.main(load=load, models=lambda: [*map(entry, NAMES)]))
