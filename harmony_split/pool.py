"""Start worker processes, give them jobs, and restart those that die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from harmony_split.jobs import (
    CANCELLED,
    DECODING,
    DONE,
    FAILED,
    QUEUED,
    RUNNING,
    SEPARATING,
    SONG,
    Job,
    Jobs,
    Part,
)
from harmony_split.limits import Limits, RefusedError, duration

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
LINE_BYTES = 1 << 20
logger = logging.getLogger("harmony_split")


class Pool:
    """Keeps a number of workers busy with the queue.

    Args:
        jobs: The jobs.
        limits: Limits on time and attempts.
        command: Command of a worker; options for the limits are added.
        workers: Number of workers.
    """

    def __init__(
        self, jobs: Jobs, limits: Limits, command: Sequence[str], workers: int
    ) -> None:
        self._jobs = jobs
        self._limits = limits
        options = [
            f"--{name.replace('_', '-')}={value}"
            for name, value in asdict(limits).items()
        ]
        self._command = [*command, *options]
        self._slots = [_Slot() for _ in range(workers)]
        self._tasks: list[asyncio.Task[None]] = []
        self._models: list[dict[str, Any]] = []
        self._known = asyncio.Event()
        self._stopping = False

    async def models(self) -> list[dict[str, Any]]:
        """Wait for the first worker, and list its models, the best default first."""
        await self._known.wait()
        return self._models

    def known_models(self) -> list[dict[str, Any]]:
        """List the models of the workers; none before a worker has started."""
        return self._models

    def start(self) -> None:
        """Start the workers; call it within the event loop."""
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self._slots]

    async def stop(self) -> None:
        """End the workers; the next server requeues their jobs."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self, job: Job) -> None:
        """End a job and remove its files.

        The worker of the job stops after its current chunk; files that it writes until
        then are removed when it answers.
        """
        if job.state not in (QUEUED, *RUNNING):
            return
        self._jobs.change(job.id, state=CANCELLED, remaining=None, note="")
        for slot in self._slots:
            if slot.job == job.id:
                slot.send({"cancel": job.id})
        self._jobs.remove_files(job.id)

    async def _keep(self, slot: _Slot) -> None:
        """Run one worker after the other."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                worked = await self._run(slot)
            except Exception:
                # Such as a full disk. If this task ended, no song would be separated.
                logger.exception("a worker could not be run or understood")
                worked = False
            pause = FIRST_PAUSE_SECONDS if worked else 2 * pause
            pause = min(LONGEST_PAUSE_SECONDS, pause)
            await asyncio.sleep(pause)

    async def _run(self, slot: _Slot) -> bool:
        """Run a worker until it dies; return whether it has done any work."""
        self._lost(slot)  # if an error has prevented this before
        process = await _started(self._command)
        slot.process, worked = process, False
        try:
            async for event_name in self._conversation(slot, process):
                worked = worked or event_name in ("models", "done")
        finally:
            slot.kill()
            await _end(process)
            slot.process = None
            self._lost(slot)
        logger.warning("a worker ended with %s; starting another", process.returncode)
        return worked

    async def _conversation(
        self, slot: _Slot, process: asyncio.subprocess.Process
    ) -> AsyncIterator[str]:
        """Send jobs to the worker and handle its events; yield their names."""
        changed = self._jobs.listen()
        line = self._line(process)
        try:
            while True:
                changed.clear()
                if slot.ready and slot.job is None:
                    self._give(slot)
                change = asyncio.ensure_future(changed.wait())
                await asyncio.wait(
                    (line, change),
                    timeout=self._time_left(slot),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                change.cancel()
                if line.done():
                    if not line.result():
                        return
                    event = json.loads(line.result())
                    self._take(slot, event)
                    line = self._line(process)
                    yield event["event"]
                elif self._time_left(slot) == 0:
                    self._too_slow(slot)
                    return
        finally:
            self._jobs.unlisten(changed)
            line.cancel()
            await asyncio.wait([line])  # only then another may read

    @staticmethod
    def _line(process: asyncio.subprocess.Process) -> asyncio.Future[bytes]:
        if process.stdout is None:
            raise RuntimeError("a worker is started with a pipe")
        return asyncio.ensure_future(process.stdout.readline())

    def _give(self, slot: _Slot) -> None:
        """Send the next job, if any, to a worker that is free."""
        job = self._jobs.next()
        if job is None:
            return
        slot.job, slot.began, slot.first = job.id, time.monotonic(), None
        self._jobs.change(job.id, state=DECODING, attempts=job.attempts + 1, progress=0)
        folder = str(self._jobs.folder(job.id))
        slot.send({"job": job.id, "folder": folder, "model": job.model})

    def _take(self, slot: _Slot, event: dict[str, Any]) -> None:
        """Handle an event of a worker."""
        event_name = event["event"]
        if event_name == "ready":
            slot.ready = True
        elif event_name == "models":
            self._models = event["models"]
            self._known.set()
        elif event_name == "warm":
            logger.info("%s is ready after %.1f s", event["model"], event["took"])
        elif event["job"] == slot.job:
            self._advance(slot, event_name, event)

    def _advance(self, slot: _Slot, event_name: str, event: dict[str, Any]) -> None:
        id_ = event["job"]
        at_work = self._is_at_work(id_)
        if at_work:
            self._jobs.change(id_, **self._values(slot, event_name, event))
        if event_name in ("done", "failed", "cancelled"):
            logger.info("job %s...: %s", id_[:4], event_name)
            if event_name == "done":
                (self._jobs.folder(id_) / SONG).unlink(missing_ok=True)
            if event_name == "failed" or not at_work:
                self._jobs.remove_files(id_)
            slot.job = None

    def _values(
        self, slot: _Slot, event_name: str, event: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the attributes of the job that an event changes."""
        if event_name == "decoded":
            return {"state": SEPARATING}
        if event_name == "preview":
            return {"preview": Part(**event["part"])}
        if event_name == "progress":
            progress = event["progress"]
            return {"progress": progress, "remaining": slot.remaining(progress)}
        if event_name == "done":
            return {
                "state": DONE,
                "whole": Part(**event["part"]),
                "progress": 1,
                "remaining": 0,
                "note": "",
            }
        if event_name == "failed":
            error = {"code": event["code"], "message": event["message"]}
            return {"state": FAILED, "error": error, "remaining": None, "note": ""}
        return {"state": CANCELLED}

    def _lost(self, slot: _Slot) -> None:
        """Requeue the job of a worker that died, or fail it."""
        slot.ready = False
        if slot.job is not None and not self._stopping:
            self._requeue(slot.job)
        slot.job = None

    def _requeue(self, id_: str) -> None:
        """Let a job begin again, unless it did so too often or is cancelled."""
        if not self._is_at_work(id_):
            self._jobs.remove_files(id_)
            return
        attempts = self._jobs.get(id_).attempts
        if attempts < self._limits.attempts:
            note = "The process at work on this song ended; it begins again."
            self._jobs.change(id_, state=QUEUED, remaining=None, note=note)
        else:
            self._give_up(
                id_,
                f"The process that separates this song crashed {attempts} times; try a "
                "shorter song or another model.",
            )

    def _is_at_work(self, id_: str) -> bool:
        """Whether a job is neither cancelled nor deleted."""
        try:
            return self._jobs.get(id_).state in RUNNING
        except RefusedError:
            return False

    def _too_slow(self, slot: _Slot) -> None:
        """Fail the job of a worker after its time limit, and kill the worker."""
        if slot.job:
            time_given = duration(self._limits.job_minutes * 60)
            self._give_up(
                slot.job,
                f"The separation takes longer than {time_given}, the most that this "
                "server allows; try a shorter song or a smaller model.",
            )

    def _give_up(self, id_: str, message: str) -> None:
        error = {"code": "failed", "message": message}
        self._jobs.change(id_, state=FAILED, error=error, remaining=None, note="")
        self._jobs.remove_files(id_)

    def _time_left(self, slot: _Slot) -> float | None:
        if slot.job is None:
            return None
        over = slot.began + self._limits.job_minutes * 60 - time.monotonic()
        return max(0.0, over)


class _Slot:
    """One worker and its current job."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.ready = False
        self.job: str | None = None
        self.began = 0.0
        self.first: tuple[float, float] | None = None

    def remaining(self, progress: float) -> float | None:
        """Seconds to go, by the pace since the first chunk, before which all begins."""
        now = time.monotonic()
        if self.first is None:
            self.first = now, progress
        began, first = self.first
        if progress <= first:
            return None
        return round((now - began) * (1 - progress) / (progress - first), 1)

    def send(self, order: dict[str, Any]) -> None:
        if self.process and self.process.stdin:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")

    def kill(self) -> None:
        # Not by the method of the process, which would take the exit code of an ended
        # process before others can wait for it.
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


async def _started(command: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a worker, or end it at once if the server is stopping."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            limit=LINE_BYTES,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        process.kill()
        await _end(process)
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a killed process and for the end of its pipes, which closes them."""
    if process.stdin:
        process.stdin.close()
    while process.stdout and await process.stdout.read(LINE_BYTES):
        pass
    await process.wait()
