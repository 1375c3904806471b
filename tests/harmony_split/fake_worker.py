"""A worker of the server without TensorFlow, whose models do what their names say."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common import audio
from common.weights.entry import Entry, File
from harmony_split import worker
from harmony_split.jobs import Part
from harmony_split.limits import RefusedError

NAMES = ("halves", "slow", "dies", "dies_once", "fails", "absent")
SHARES = {"high": 0.75, "low": 0.25}
PASS_SECONDS = 0.1
DIED = "--died="


class Model:
    """Gives each stem a share of the sound, in passes of one second."""

    def __init__(self, name: str) -> None:
        self.name = name

    def warm(self) -> None:
        """Nothing is to be done."""

    def separate(self, path: Path, tell: Callable[[float], None]) -> Part:
        info = audio.probe(path)
        sound, rate = audio.read(path)
        for first in range(0, info.samples, rate):
            tell(first / info.samples)
            self.work()
        path.with_suffix("").mkdir(exist_ok=True)
        for stem, share in SHARES.items():
            file = path.with_suffix("") / f"{stem}.wav"
            audio.write(file, (share * sound).astype("f4"), rate)
        return Part(0.0, info.samples, rate, info.channels, tuple(SHARES))

    def work(self) -> None:
        if self.name == "slow":
            time.sleep(PASS_SECONDS)
        if self.name == "fails":
            raise ValueError("the network returned estimates that are not finite")
        if self.name == "dies" or (self.name == "dies_once" and not died.exists()):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def entry(name: str) -> Entry:
    file = File(Path(name), "https://example.org" if name == "absent" else "")
    licence, ready = "Apache-2.0", name != "absent"
    return Entry(name, "fake", "made by code", licence, "6 dB", ready, [file])


def load(pillar: str, name: str) -> Model:
    if name not in NAMES or name == "absent":
        raise RefusedError("model_missing", f"{pillar}/{name} is not here.")
    return Model(name)


if __name__ == "__main__":
    (word,) = [word for word in sys.argv if word.startswith(DIED)]
    sys.argv.remove(word)
    died = Path(word.removeprefix(DIED))
    sys.exit(worker.main(load=load, models=lambda: [*map(entry, NAMES)]))
