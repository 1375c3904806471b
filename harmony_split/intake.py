"""Write uploads to disk with limits; an upload is kept whole or not at all."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from starlette.requests import ClientDisconnect, Request

from harmony_split.jobs import UPLOAD, Job, Jobs, new_id
from harmony_split.limits import GIGABYTE, Limits, RefusedError, count, size
from harmony_split.sound import Header, probe

GRACE_SECONDS = 10.0
"""Time after which an upload must have the minimum rate."""

SAMPLE_BYTES = 4
STEMS = 8
"""Number of stems for which disk space is reserved before it is known."""

PROBES = 2


class Intake:
    """Receives uploads.

    Args:
        jobs: Store of the new jobs.
        limits: Limits on bytes, rate, queue and disk.
    """

    def __init__(self, jobs: Jobs, limits: Limits) -> None:
        self._jobs = jobs
        self._limits = limits
        self._uploads = 0
        self._probes = asyncio.Semaphore(PROBES)

    async def take(self, request: Request, model: str) -> Job:
        """Write the body of a request to the disk and make a job of it.

        Raises:
            RefusedError: There is no room, or the body is not accepted; nothing of it
                is kept.
        """
        self._check_room(request)
        id_ = new_id()
        folder = self._jobs.folder(id_)
        self._uploads += 1
        try:
            folder.mkdir()
            await self._receive(request, folder / UPLOAD)
            async with self._probes:
                header = await asyncio.to_thread(probe, folder / UPLOAD, self._limits)
            needed = self._needed(header)
            self._check_disk(needed)
            return self._jobs.add(Job(id_, model, reserved=needed))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._uploads -= 1

    def _check_room(self, request: Request) -> None:
        """Refuse before a byte of the body is read."""
        stated = request.headers.get("content-length")
        if stated and int(stated) > self._limits.upload_bytes:
            raise self._too_large(int(stated))
        if self._uploads >= self._limits.uploads:
            raise RefusedError(
                "busy", "Too many uploads at the moment; try again shortly."
            )
        if self._jobs.waiting() + self._uploads >= self._limits.queue:
            raise RefusedError(
                "busy",
                f"The queue is full: {count(self._limits.queue, 'song')} at most may "
                "wait on this server; try again in a few minutes.",
            )
        self._check_disk(int(stated or 0))

    def has_room(self, needed: int) -> bool:
        """Return whether bytes fit on the disk beside existing and expected files."""
        room = self._limits.disk_gigabytes * GIGABYTE
        used = _folder_bytes(self._jobs.files) + self._jobs.reserved()
        free = shutil.disk_usage(self._jobs.files).free
        return used + needed <= room and needed <= free

    def _check_disk(self, needed: int) -> None:
        if not self.has_room(needed):
            raise RefusedError(
                "disk_full",
                f"The song may need {size(needed)}, and the disk space for songs on "
                "this server is used up; delete one or try again when others have "
                "expired.",
            )

    def _needed(self, header: Header) -> int:
        seconds = header.seconds or self._limits.song_seconds
        samples = seconds * header.sample_rate * header.channels
        return int(samples * SAMPLE_BYTES * (1 + STEMS))

    def _too_large(self, stated: int | None = None) -> RefusedError:
        is_ = f"has {size(stated)}" if stated else "is larger"
        return RefusedError(
            "too_large",
            f"The file {is_}; this server accepts up to "
            f"{size(self._limits.upload_bytes)}. Save it as mp3, m4a or ogg, or "
            "shorten it.",
        )

    async def _receive(self, request: Request, path: Path) -> None:
        received = 0
        try:
            with path.open("xb") as file:
                async for chunk in self._timed(request.stream()):
                    received += len(chunk)
                    if received > self._limits.upload_bytes:
                        raise self._too_large()
                    file.write(chunk)
        except ClientDisconnect:
            raise RefusedError(
                "broken_upload", "The upload was interrupted; send the file again."
            ) from None
        stated = request.headers.get("content-length")
        if stated and int(stated) != received:
            raise RefusedError(
                "broken_upload",
                f"The upload ended after {received} of {stated} bytes; send the file "
                "again.",
            )

    async def _timed(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks of an upload that is not too slow."""
        began, received = time.monotonic(), 0
        while True:
            # The next byte must arrive by this time.
            due = began + GRACE_SECONDS + received / self._limits.upload_rate
            try:
                with anyio.fail_after(max(0.0, due - time.monotonic())):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise RefusedError(
                    "too_slow",
                    "The upload is too slow: less than "
                    f"{size(self._limits.upload_rate)} per second. Try again over a "
                    "faster connection.",
                ) from None
            received += len(chunk)
            yield chunk


def _folder_bytes(folder: Path) -> int:
    """Sum the sizes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # removed meanwhile
            continue
    return total
