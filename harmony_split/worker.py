"""The worker process: reads jobs from standard input, writes events to standard output.

Each line is a JSON object. The first event lists the models, because only a worker
imports the packages. ``{"job": ID, "folder": ..., "model": "unmix/mini"}`` begins a job
and ``{"cancel": ID}`` ends it between two chunks. A worker ends with its server,
because its standard input closes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Protocol

from common import audio
from common.errors import exit_code
from common.files import write_json
from common.weights import registry
from common.weights.entry import Entry
from harmony_split import light
from harmony_split.jobs import OVERVIEW, PREVIEW, SONG, UPLOAD, Part
from harmony_split.limits import Limits, RefusedError, add_options, from_options
from harmony_split.overview import overview
from harmony_split.sound import decode

MOST_MODELS = 4
"""Models that are kept in memory between jobs."""

IDLE_SECONDS = 5.0
"""Time without an order, after which another model is loaded."""

LONGER_BY = 1.25
"""Only songs longer than their preview by this factor get one."""


class Model(Protocol):
    """A model, such as `harmony_split.separation.Model`."""

    def warm(self) -> None:
        """Run the network once, which compiles it."""

    def separate(self, path: Path, tell: Callable[[float], None]) -> Part:
        """Separate a wav, and report the fraction done after each chunk."""


Load = Callable[[str, str], Model]
Models = Callable[[], Sequence[Entry]]


class CancelledError(Exception):
    """The user cancelled the job."""


def load_model(pillar: str, name: str) -> Model:
    """Load a model of a package; TensorFlow is imported here, after orders are read."""
    from harmony_split import separation

    return separation.load(pillar, name)


def describe(entry: Entry) -> dict[str, Any]:
    """Return the attributes of a model that the page shows."""
    return {
        "name": f"{entry.pillar}/{entry.name}",
        "source": entry.source,
        "licence": entry.licence,
        "score": entry.score,
        "ready": entry.cached,
        "bundled": entry.bundled,
    }


class Worker:
    """Separates one job after the other and keeps the models.

    Args:
        load: Returns the model of a package and a name.
        limits: Limits on memory, time and length.
        send: Sends an event, a dictionary.
    """

    def __init__(
        self, load: Load, limits: Limits, send: Callable[[dict[str, Any]], None]
    ) -> None:
        self._load = load
        self._limits = limits
        self._send = send
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._decoder = ThreadPoolExecutor(1)
        self._decoded: dict[str, Future[None]] = {}
        self.cancelled: set[str] = set()

    def prepare(self, order: dict[str, Any]) -> None:
        """Start to decode, which needs no model, while a model is loaded."""
        job, folder = order["job"], Path(order["folder"])
        self._decoded[job] = self._decoder.submit(self._decode, job, folder)

    def warm(self, name: str) -> None:
        """Load a model and compile it."""
        self.model(name).warm()

    def model(self, name: str) -> Model:
        """Return a model by ``package/name``, loaded unless it is in memory."""
        if name not in self._models:
            while len(self._models) >= MOST_MODELS:
                self._models.popitem(last=False)
            pillar, _, within = name.partition("/")
            self._models[name] = self._load(pillar, within)
        self._models.move_to_end(name)
        return self._models[name]

    def run(self, order: dict[str, Any]) -> None:
        """Run a job and send its outcome."""
        job, folder = order["job"], Path(order["folder"])
        try:
            self._decoded.pop(job).result()
            self._check(job)
            self._send({"job": job, "event": "decoded"})
            model = self.model(order["model"])
            self._preview(job, folder, model)
            self._whole(job, folder, model)
        except CancelledError:
            self._send({"job": job, "event": "cancelled"})
        except RefusedError as error:
            self._fail(job, error.code, str(error))
        except (ValueError, OSError) as error:
            self._fail(job, "failed", _sentence(error, folder))

    def _fail(self, job: str, code: str, message: str) -> None:
        self._send({"job": job, "event": "failed", "code": code, "message": message})

    def _decode(self, job: str, folder: Path) -> None:
        song = folder / SONG
        if song.exists():  # an earlier worker died after this step
            return
        decode(folder / UPLOAD, song, self._limits, lambda: job in self.cancelled)
        if song.exists():
            (folder / UPLOAD).unlink()

    def _preview(self, job: str, folder: Path, model: Model) -> None:
        """Separate the loudest part first, if the song is longer."""
        song, excerpt = folder / SONG, folder / f"{PREVIEW}.wav"
        info = audio.probe(song)
        seconds = self._limits.preview_seconds
        if info.samples <= LONGER_BY * seconds * info.sample_rate:
            return
        start = audio.loudest(song, seconds)
        sound, rate = audio.read(song, start, round(seconds * info.sample_rate))
        audio.write(excerpt, sound, rate)
        part = self._separate(job, excerpt, model, lambda _: None)
        part = replace(part, start=start / rate)
        self._send({"job": job, "event": "preview", "part": vars(part)})

    def _whole(self, job: str, folder: Path, model: Model) -> None:
        def tell(progress: float) -> None:
            self._send({"job": job, "event": "progress", "progress": progress})

        # The server removes the wav once it has recorded that the job is done; without
        # it a job could not begin again.
        part = self._separate(job, folder / SONG, model, tell)
        self._send({"job": job, "event": "done", "part": vars(part)})

    def _separate(
        self, job: str, path: Path, model: Model, tell: Callable[[float], None]
    ) -> Part:
        """Separate a wav into the folder of its name, and describe the stems there."""

        def check_and_tell(progress: float) -> None:
            self._check(job)
            if progress:
                tell(progress)

        part = model.separate(path, check_and_tell)
        self._check(job)
        stems = path.with_suffix("")
        views = {name: overview(stems / f"{name}.wav") for name in part.stems}
        write_json({"stems": views}, stems / OVERVIEW)
        return part

    def _check(self, job: str) -> None:
        if job in self.cancelled:
            raise CancelledError


def _sentence(error: Exception, folder: Path) -> str:
    """Return the text of an error without the paths of this machine."""
    text = str(error).replace(str(folder / SONG), "the song")
    return text.replace(str(folder), "the folder of the job")


def main(
    argv: Sequence[str] | None = None,
    load: Load = load_model,
    models: Models = registry.entries,
) -> int:
    """Run a worker until its standard input closes; return the exit code."""
    parser = argparse.ArgumentParser("harmony_split.worker", description=__doc__)
    parser.add_argument("--first", metavar="MODEL", help="is loaded before the others")
    parser.add_argument("--light", metavar="FOLDER", type=Path, help="exported models")
    add_options(parser)
    options = parser.parse_args(argv)
    # Output of libraries must not mix with the events.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    if options.light:
        load = partial(light.load, options.light)
        models = partial(light.entries, options.light)
    worker = Worker(load, from_options(vars(options)), send)
    return exit_code("worker", lambda: _serve(worker, send, models, options.first))


def _serve(
    worker: Worker,
    send: Callable[[dict[str, Any]], None],
    models: Models,
    first: str | None,
) -> int:
    orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(
        target=_read, args=(sys.stdin, orders, worker), daemon=True
    ).start()
    send({"event": "ready"})
    descriptions = [describe(entry) for entry in models()]
    descriptions.sort(
        key=lambda m: (not m["ready"], not m["bundled"], m["name"] != first)
    )
    send({"event": "models", "models": descriptions})
    cold = [m["name"] for m in descriptions if m["ready"] and m["bundled"]][
        :MOST_MODELS
    ]
    seconds = 0.0
    while True:
        try:
            order = orders.get(timeout=seconds if cold else None)
        except Empty:
            began, model = time.perf_counter(), cold.pop(0)
            worker.warm(model)
            send({"event": "warm", "model": model, "took": time.perf_counter() - began})
            seconds = IDLE_SECONDS
            continue
        seconds = IDLE_SECONDS  # The next order arrives shortly after a job is done.
        if order["model"] in cold:  # the job itself compiles it
            cold.remove(order["model"])
        worker.run(order)
        worker.cancelled.discard(order["job"])


def _read(lines: IO[str], orders: SimpleQueue[dict[str, Any]], worker: Worker) -> None:
    """Read orders; end the process when the server is gone."""
    for line in lines:
        order = json.loads(line)
        if "cancel" in order:
            worker.cancelled.add(order["cancel"])
        else:
            worker.prepare(order)
            orders.put(order)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
