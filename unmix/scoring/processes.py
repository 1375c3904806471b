"""Several songs scored at once, each by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, NamedTuple, cast, final

from unmix.scoring.worker import ScoringError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CODE = Path(__file__).resolve().parents[2]


class Job(NamedTuple):
    """One song to score, see :func:`unmix.scoring.worker.score`."""

    name: str
    references: Mapping[str, Sequence[Path]]
    estimates: Mapping[str, Path]


class Scored(NamedTuple):
    """The scores of a song as JSON, and how long they took."""

    text: str
    seconds: float


@final
class Scorers:
    """Processes that score songs; they end with the ``with`` block.

    Args:
        count: How many songs are scored at once.

    Raises:
        ScoringError: The count is below 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ScoringError(f"--cores is {count}; expected at least 1")
        self._pool = ThreadPoolExecutor(count)
        self._idle: SimpleQueue[_Process | None] = SimpleQueue()
        self._running: set[_Process] = set()
        self._closed = False
        for _ in range(count):
            self._idle.put(None)
        # Together they have a thread for each core.
        self._threads = max(1, len(os.sched_getaffinity(0)) // count)

    def __enter__(self) -> Scorers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what is still running."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            process.kill()
        self._pool.shutdown()
        for process in list(self._running):
            process.end()

    def submit(self, job: Job) -> Future[Scored]:
        """Score a song as soon as a process is free.

        Returns:
            Its scores; or a ScoringError that says why there are none.
        """
        return self._pool.submit(self._score, job)

    def _score(self, job: Job) -> Scored:
        process = self._idle.get()
        began = time.perf_counter()
        try:
            if process is None:
                process = _Process(self._threads)
                self._running.add(process)
            if self._closed:
                raise ScoringError("stopped")
            answer = process.ask(job)
        except ScoringError:
            if process is not None:
                process.end()
                self._running.discard(process)
            process = None
            raise
        finally:
            self._idle.put(process)
        if "fault" in answer:
            raise RuntimeError(f"{job.name}: {answer['fault']}")
        if "error" in answer:
            raise ScoringError(answer["error"])
        return Scored(answer["scores"], time.perf_counter() - began)


@final
class _Process:
    """A process with a pipe in, a pipe out and a file for what it complains about."""

    def __init__(self, threads: int) -> None:
        paths = [str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "unmix.scoring.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={
                **os.environ,
                **dict.fromkeys(THREADS, str(threads)),
                "PYTHONPATH": os.pathsep.join(paths),
                # A file of the user's named common.py must not come first.
                "PYTHONSAFEPATH": "1",
            },
        )
        pipes = self._popen.stdin, self._popen.stdout
        self._jobs, self._answers = cast(tuple[IO[bytes], IO[bytes]], pipes)

    def ask(self, job: Job) -> dict[str, str]:
        """Hand over a song and wait for the answer.

        Raises:
            ScoringError: The process has died.
        """
        line = b""
        # Where the process is gone the empty line tells as well.
        with suppress(BrokenPipeError):
            self._jobs.write(json.dumps(job._asdict(), default=str).encode() + b"\n")
            self._jobs.flush()
            line = self._answers.readline()
        if line.endswith(b"\n"):
            return json.loads(line)
        code = self._popen.wait()
        self._complaints.seek(0)
        last = self._complaints.read().decode(errors="replace").strip().splitlines()
        raise ScoringError(
            f"the process that scored it ended with code {code} "
            f"({last[-1] if last else 'without a word'}); where the memory is full use "
            "fewer --cores: the same command goes on"
        )

    def kill(self) -> None:
        self._popen.kill()

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self._popen.kill()
        self._popen.wait()
        for file in (self._jobs, self._answers, self._complaints):
            with suppress(BrokenPipeError):
                file.close()
