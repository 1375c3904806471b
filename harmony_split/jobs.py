"""The jobs of the server: their state in SQLite, their files in one folder each.

One process at a time owns the folder, and one of its threads writes the state, so a
kill at any time leaves every job as it was after its last step.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from common import files
from harmony_split.limits import RefusedError

logger = logging.getLogger("harmony_split")

QUEUED, DECODING, SEPARATING = "queued", "decoding", "separating"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
RUNNING = (DECODING, SEPARATING)
FINISHED = (DONE, FAILED, CANCELLED)
"""States of a job; as text, these tuples are lists in SQL."""

ID_BYTES = 16
UPLOAD, WHOLE, PREVIEW = "upload", "whole", "preview"
"""Files of a job: the upload; the song as wav and the folder of its stems, both of this
name; and the same of its loudest part."""

SONG = f"{WHOLE}.wav"

OVERVIEW = "overview.json"
"""File of waveforms and spectrograms, beside the stems."""

GONE = (
    "There is no job at this address: it was deleted, it has expired, or the "
    "address is not complete."
)


@dataclass(frozen=True)
class Part:
    """Stems that are ready: those of the preview or of the whole song.

    Attributes:
        start: Where the part begins in the song, in seconds.
        samples: Length of each stem.
        sample_rate: In Hz.
        channels: Of each stem.
        stems: Names of the stems.
        elapsed: Time that the separation took, in seconds.
    """

    start: float
    samples: int
    sample_rate: int
    channels: int
    stems: Sequence[str]
    elapsed: float = 0.0


@dataclass(frozen=True)
class Job:
    """The separation of one song.

    Attributes:
        id: 128 random bits, a secret of the user who made the job.
        model: ``package/name``.
        state: Current state.
        created: Unix time.
        expires: Unix time at which it is removed.
        reserved: Bytes of disk that it may need.
        progress: Part of the song that is separated, 0 to 1.
        remaining: Estimated seconds left, None if unknown.
        attempts: How often it was started.
        note: A sentence about a restart, empty for none.
        preview: The stems of the loudest part.
        whole: The stems of the song.
        error: Code and message of a failure.
    """

    id: str
    model: str
    state: str = QUEUED
    created: float = field(default_factory=time.time)
    expires: float = 0.0
    reserved: int = 0
    progress: float = 0.0
    remaining: float | None = None
    attempts: int = 0
    note: str = ""
    preview: Part | None = None
    whole: Part | None = None
    error: dict[str, str] | None = None


STRUCTURED = ("preview", "whole", "error")
COLUMNS = tuple(column.name for column in fields(Job))


_ID = re.compile(r"[\w-]{22}", re.ASCII)
"""Names of the folders that a server makes, see :func:`new_id`."""


def new_id() -> str:
    """Draw the identifier of a job: 128 bits, 22 letters."""
    return secrets.token_urlsafe(ID_BYTES)


class Jobs:
    """All jobs, in a folder that persists when the server stops.

    Args:
        folder: Holds ``jobs.sqlite3`` and a folder for each job; made if missing.
        keep_seconds: How long a job is kept after its last change of state.

    Raises:
        BlockingIOError: Another server owns the folder.
    """

    def __init__(self, folder: Path, keep_seconds: float) -> None:
        self.files = folder / "jobs"
        is_new = not folder.exists()
        self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
        if is_new:
            folder.chmod(0o700)
        self._lock = _own(folder)
        self._keep_seconds = keep_seconds
        self._database = sqlite3.connect(
            folder / "jobs.sqlite3", isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        columns = ", ".join(name for name in COLUMNS if name != "id")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY, "
            f"id TEXT UNIQUE NOT NULL, {columns})"
        )
        self._listeners: set[asyncio.Event] = set()
        self._recover()

    def close(self) -> None:
        """Close the database and let another server have the folder."""
        self._database.close()
        self._lock.close()

    def add(self, job: Job) -> Job:
        """Put a new job at the end of the queue; its upload is in its folder."""
        job = replace(job, expires=time.time() + self._keep_seconds)
        marks = ", ".join("?" * len(COLUMNS))
        self._database.execute(
            f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES ({marks})",
            [_stored(name, getattr(job, name)) for name in COLUMNS],
        )
        self._notify()
        return job

    def get(self, id_: str) -> Job:
        """Look up a job.

        Raises:
            RefusedError: There is none with this identifier.
        """
        for job in self._select("WHERE id = ?", id_):
            return job
        raise RefusedError("not_found", GONE)

    def change(self, id_: str, **values: Any) -> None:
        """Set attributes of a job; a deleted one is ignored."""
        if "state" in values:
            values["expires"] = time.time() + self._keep_seconds
        names = ", ".join(f"{name} = ?" for name in values)
        stored = [_stored(name, value) for name, value in values.items()]
        self._database.execute(f"UPDATE jobs SET {names} WHERE id = ?", [*stored, id_])
        self._notify()

    def next(self) -> Job | None:
        """Return the job that has waited longest, if any."""
        return next(
            self._select("WHERE state = ? ORDER BY number LIMIT 1", QUEUED), None
        )

    def waiting(self) -> int:
        """Count the jobs that wait."""
        return self._number("SELECT count(*) FROM jobs WHERE state = ?", QUEUED)

    def position(self, job: Job) -> int:
        """Count the jobs that begin before one that waits."""
        return self._number(
            "SELECT count(*) FROM jobs WHERE state = ? AND number < "
            "(SELECT number FROM jobs WHERE id = ?)",
            QUEUED,
            job.id,
        )

    def reserved(self) -> int:
        """Sum the bytes of disk that jobs which are not finished may need."""
        return self._number(
            f"SELECT coalesce(sum(reserved), 0) FROM jobs WHERE state NOT IN {FINISHED}"
        )

    def folder(self, id_: str) -> Path:
        """Folder of the files of a job."""
        return self.files / id_

    def delete(self, id_: str) -> None:
        """Remove a job and all of its files."""
        # First the files: on a full disk the database cannot be written before.
        self.remove_files(id_)
        self._database.execute("DELETE FROM jobs WHERE id = ?", [id_])
        self._notify()

    def remove_files(self, id_: str) -> None:
        """Remove the files of a job."""
        shutil.rmtree(self.folder(id_), ignore_errors=True)

    def remove_expired(self) -> int:
        """Remove expired jobs; return their number."""
        condition = f"WHERE expires < ? AND state IN {FINISHED}"
        expired = list(self._select(condition, time.time()))
        for job in expired:
            self.delete(job.id)
        return len(expired)

    def listen(self) -> asyncio.Event:
        """Return an event that is set at every change, until `unlisten`."""
        event = asyncio.Event()
        self._listeners.add(event)
        return event

    def unlisten(self, event: asyncio.Event) -> None:
        """Stop setting an event."""
        self._listeners.discard(event)

    def _notify(self) -> None:
        for event in self._listeners:
            event.set()

    def _recover(self) -> None:
        """Requeue the jobs of a killed server; remove files that nothing needs."""
        self._database.execute(
            f"UPDATE jobs SET state = ?, attempts = 0 WHERE state IN {RUNNING}",
            [QUEUED],
        )
        for job in self._select("WHERE state = ?", DONE):
            (self.folder(job.id) / SONG).unlink(missing_ok=True)
        ids = {id_ for (id_,) in self._database.execute("SELECT id FROM jobs")}
        for path in self.files.iterdir():
            if _ID.fullmatch(path.name) and path.name not in ids:
                shutil.rmtree(path, ignore_errors=True)

    def _select(self, condition: str, *values: Any) -> Iterator[Job]:
        query = f"SELECT {', '.join(COLUMNS)} FROM jobs {condition}"
        with closing(self._database.execute(query, values)) as rows:
            for row in rows.fetchall():
                yield _job(dict(zip(COLUMNS, row, strict=True)))

    def _number(self, query: str, *values: Any) -> int:
        return self._database.execute(query, values).fetchone()[0]


def _own(folder: Path) -> Any:
    """Lock a folder for this process."""
    lock = (folder / "lock").open("w")
    try:
        files.lock(lock.fileno(), wait=False)
    except BlockingIOError:
        lock.close()
        raise BlockingIOError(
            f"another server uses the folder {folder}; stop it or start this one with "
            "another --folder"
        ) from None
    except OSError:
        logger.warning("%s has no locks; run one server on it only", folder)
    return lock


def _stored(name: str, value: Any) -> Any:
    """Return the value of a column; parts and errors are kept as JSON."""
    if name not in STRUCTURED or value is None:
        return value
    return json.dumps(vars(value) if isinstance(value, Part) else value)


def _job(row: dict[str, Any]) -> Job:
    for name in STRUCTURED:
        if row[name] is not None:
            row[name] = json.loads(row[name])
    for name in ("preview", "whole"):
        if row[name] is not None:
            row[name] = Part(**row[name])
    return Job(**row)
