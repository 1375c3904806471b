"""Worker processes that separate a batch of files, each with its own copy of the model.

A worker that dies fails only the file that it was separating; a new one continues with
the rest.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from tqdm import tqdm

from common.files import scratch_folder
from common.separation.batch import Outcome, Settings, attempt, failure
from common.separation.inputs import Input
from common.separation.separator import SeparationError, Separator
from common.startup import choose_device

END_SECONDS = 10
"""Time that a process has to remove its drafts before it is killed."""


@dataclass(frozen=True)
class Loader:
    """Loads the same separator in any process.

    Attributes:
        load: ``load(model, **options)`` returns it; a function of a module.
        model: Name or folder of the model.
        options: Options of ``load``.
        device: As `choose_device` takes it; None leaves the choice to TensorFlow.
        threads: Threads of an operation; None leaves it to TensorFlow.
    """

    load: Callable[..., Separator]
    model: str
    options: Mapping[str, Any]
    device: str | None = None
    threads: int | None = None

    def __call__(self) -> Separator:
        """Load the separator."""
        if self.threads:
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(self.threads)
            os.environ["TF_NUM_INTEROP_THREADS"] = str(self.threads)
        if self.device:
            choose_device(self.device)
        return self.load(self.model, **self.options)


class InProcess:
    """Separates files in this process, one after another.

    Args:
        loader: Loads the separator.

    Attributes:
        separator: The separator.
    """

    def __init__(self, loader: Loader) -> None:
        self.separator = loader()

    def run(self, files: Sequence[Input], settings: Settings) -> Iterator[Outcome]:
        """Separate files one after another."""
        settings = _with_digest(self.separator, settings)
        for file in files:
            yield attempt(self.separator, file, settings)

    def close(self) -> None:
        """Do nothing, since there is no process to end."""


class WorkerPool:
    """Separates files in several worker processes at the same time.

    Args:
        loader: Loads the separator in each worker.
        jobs: Number of workers.

    Attributes:
        separator: The separator without its network.

    Raises:
        SeparationError: The model cannot be loaded.
    """

    def __init__(self, loader: Loader, jobs: int) -> None:
        self._loader = loader
        self._jobs = jobs
        self._workers: list[_Worker] = []
        answer = self._start().receive()
        if not isinstance(answer, Separator):
            self.close()
            raise SeparationError(answer or "the process that loads the model died")
        self.separator = answer

    def run(self, files: Sequence[Input], settings: Settings) -> Iterator[Outcome]:
        """Separate files, each by the first worker that is free."""
        waiting, dead = deque(files), False
        while len(self._workers) < min(self._jobs, len(files)):
            self._start()
        for worker in self._workers:
            worker.begin(waiting.popleft(), settings)
        while busy := {w.connection: w for w in self._workers if w.task}:
            for connection in wait(list(busy)):
                worker = busy[connection]
                item, answer = worker.task, worker.receive()
                assert item is not None
                if isinstance(answer, Separator):  # it has just been loaded
                    continue
                if not isinstance(answer, Outcome):
                    self._workers.remove(worker)
                    answer = failure(item, answer or worker.death())
                    dead = True
                    worker = self._start() if waiting else worker
                worker.task = None
                if waiting:
                    worker.begin(waiting.popleft(), settings)
                yield answer
        if dead:  # opening the scratch folder removes the drafts of dead processes
            with contextlib.suppress(OSError), scratch_folder(settings.folder):
                pass

    def close(self) -> None:
        """End all workers; their drafts are removed."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(END_SECONDS)
            worker.process.kill()

    def _start(self) -> _Worker:
        self._workers.append(_Worker(self._loader))
        return self._workers[-1]


class _Worker:
    """A worker process and the file that it is separating."""

    def __init__(self, loader: Loader) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, loader), daemon=True
        )
        self.process.start()
        theirs.close()
        self.task: Input | None = None

    def begin(self, item: Input, settings: Settings) -> None:
        self.task = item
        with contextlib.suppress(OSError):  # it has died, as receive will report
            self.connection.send((item, settings))

    def receive(self) -> Any:
        """Wait for an answer; return None if the worker has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def death(self) -> str:
        """Describe how the process ended."""
        self.process.join()
        code = self.process.exitcode
        how = f"by signal {-code}" if code and code < 0 else f"with code {code}"
        return (
            f"the process that separated it ended {how}, perhaps for want of memory; "
            "give a shorter --segment or fewer --jobs"
        )


def _serve(connection: Connection, loader: Loader) -> None:
    """Separate the files that arrive over a connection until it closes."""
    # On an interrupt the parent process ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout = sys.stderr  # standard output is for the lines about files
    # Its default lock holds a semaphore of the system, which a kill would leave behind.
    tqdm.set_lock(threading.RLock())
    try:
        separator = loader()
    except (ValueError, OSError) as error:
        connection.send(str(error))
        return
    connection.send(replace(separator, network=abs, digest=None, watch=None))
    sha256 = separator.digest and separator.digest()
    while True:
        try:
            item, settings = connection.recv()
        except EOFError:
            return
        settings = replace(settings, model_sha256=sha256)
        connection.send(attempt(separator, item, settings))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _with_digest(separator: Separator, settings: Settings) -> Settings:
    return replace(settings, model_sha256=separator.digest and separator.digest())
