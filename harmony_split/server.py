"""The application: routes of the page, of the JSON API and of the stems."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from common import audio
from harmony_split.guard import Guard, policy
from harmony_split.intake import Intake
from harmony_split.jobs import (
    FINISHED,
    GONE,
    OVERVIEW,
    PREVIEW,
    QUEUED,
    WHOLE,
    Job,
    Jobs,
)
from harmony_split.limits import Limits, RefusedError
from harmony_split.openapi import DOCUMENT
from harmony_split.pool import Pool

STATIC = Path(__file__).parent / "static"
PARTS = {"stems": WHOLE, "preview": PREVIEW}
"""Folder of a job by the word in the address."""

SWEEP_SECONDS = 60.0
BEAT_SECONDS = 15.0
MOST_WATCHED = 100
ZIP_BYTES = 1 << 20
BLOCK_SAMPLES = 1 << 16
CONTENT_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".aiff": "audio/aiff",
    ".m4a": "audio/mp4",
    ".opus": "audio/ogg",
}
ATTACHED = {"Content-Disposition": "attachment"}
"""Has no file name, so that the page can name the file after the song."""

FULL = (
    "The disk space for songs on this server is used up; download the stems as wav, "
    "which needs no more of it."
)
WORKER = (sys.executable, "-m", "harmony_split.worker")
logger = logging.getLogger("harmony_split")


class Server:
    """State that the routes share.

    Args:
        jobs: The jobs.
        limits: Limits on uploads and jobs.
        pool: The workers.
        default: Model of requests that choose none.
    """

    def __init__(self, jobs: Jobs, limits: Limits, pool: Pool, default: str) -> None:
        self._jobs = jobs
        self._limits = limits
        self._pool = pool
        self._default = default
        self._intake = Intake(jobs, limits)
        self._encoding = asyncio.Lock()

    async def page(self, _: Request) -> Response:
        """Return the page, with a nonce for the style of the waveforms."""
        nonce = secrets.token_urlsafe(16)
        text = (STATIC / "index.html").read_text("utf-8").replace("NONCE", nonce)
        return HTMLResponse(text, headers={"Content-Security-Policy": policy(nonce)})

    async def document(self, _: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(DOCUMENT)

    async def models(self, _: Request) -> Response:
        """Return models, formats and limits."""
        return JSONResponse(
            {
                "models": await self._pool.models(),
                "formats": list(audio.FORMATS),
                "limits": {
                    "bytes": self._limits.upload_bytes,
                    "seconds": self._limits.song_seconds,
                    "keep_hours": self._limits.keep_hours,
                    "preview_seconds": self._limits.preview_seconds,
                },
            }
        )

    async def make(self, request: Request) -> Response:
        """Receive an upload."""
        model = request.query_params.get("model", self._default)
        self._check_model(model)
        job = await self._intake.take(request, model)
        logger.info("job %s...: queued for %s", job.id[:4], job.model)
        headers = {"Location": f"/api/jobs/{job.id}"}
        return JSONResponse(self._view(job), 202, headers)

    async def show(self, request: Request) -> Response:
        """Return the state of a job."""
        return JSONResponse(self._view(self._job(request)))

    async def cancel(self, request: Request) -> Response:
        """End a job and keep its state."""
        job = self._job(request)
        self._pool.cancel(job)
        return JSONResponse(self._view(self._jobs.get(job.id)))

    async def delete(self, request: Request) -> Response:
        """Remove a job and its files now."""
        job = self._job(request)
        self._pool.cancel(job)
        self._jobs.delete(job.id)
        logger.info("job %s...: deleted", job.id[:4])
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """Stream the states of one or several jobs as they change."""
        ids = request.query_params.getlist("job")
        if "id" in request.path_params:
            ids = [self._job(request).id]
        if not 1 <= len(ids) <= MOST_WATCHED:
            raise RefusedError(
                "bad_request",
                f"The address names {len(ids)} jobs; expected job=ID once to "
                f"{MOST_WATCHED} times.",
            )
        return StreamingResponse(
            self._changes(ids),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    async def overview(self, request: Request) -> Response:
        """Return waveforms and spectrograms of the stems of a part."""
        folder, _ = self._part(request)
        return FileResponse(folder / OVERVIEW, media_type="application/json")

    async def stem(self, request: Request) -> Response:
        """Return one stem as a file."""
        folder, stems = self._part(request)
        stem, _, suffix = request.path_params["file"].rpartition(".")
        chosen = self._format(request, suffix) if stem in stems else ""
        if not chosen or audio.FORMATS[chosen].suffix != f".{suffix}":
            raise RefusedError(
                "not_found",
                f"There is no such stem; expected {', '.join(stems)}, with the suffix "
                "of its format, such as .wav or .flac.",
            )
        path = await self._encoded(folder, stem, chosen)
        return FileResponse(
            path, media_type=CONTENT_TYPES[path.suffix], headers=ATTACHED
        )

    async def archive(self, request: Request) -> Response:
        """Return all stems in one zip."""
        folder, stems = self._part(request)
        chosen = self._format(request)
        paths = [await self._encoded(folder, stem, chosen) for stem in stems]
        return StreamingResponse(
            zipped(paths),
            media_type="application/zip",
            headers=ATTACHED,
        )

    async def sweep(self) -> None:
        """Remove expired jobs at regular intervals."""
        while True:
            try:
                if count := self._jobs.remove_expired():
                    logger.info("%d jobs have expired", count)
            except Exception:
                # Such as a full disk. If this task ended, it would stay full.
                logger.exception("expired jobs cannot be removed")
            await asyncio.sleep(SWEEP_SECONDS)

    def _check_model(self, model: str) -> None:
        models = {entry["name"]: entry for entry in self._pool.known_models()}
        if not models:  # no worker has started; the worker will refuse a missing model
            return
        if model not in models:
            here = ", ".join(name for name in models if models[name]["ready"])
            raise RefusedError(
                "model_missing",
                f"There is no model {model[:80]!r}; choose one with ?model=NAME of "
                f"{here}.",
            )
        if not models[model]["ready"]:
            raise RefusedError(
                "model_missing",
                f"The weights of {model} are not on this server. 'python -m "
                f"common.weights.registry fetch {model}' downloads them there; choose "
                "another model until then.",
            )

    def _job(self, request: Request) -> Job:
        return self._jobs.get(request.path_params["id"])

    def _part(self, request: Request) -> tuple[Path, Sequence[str]]:
        """Return folder and stems of the part of a job that a request names."""
        job = self._job(request)
        name = PARTS[request.url.path.split("/")[4].removesuffix(".zip")]
        part = job.whole if name == WHOLE else job.preview
        if part is None or not self._jobs.folder(job.id).exists():
            raise RefusedError(
                "not_ready", f"These stems do not exist yet; the job is {job.state}."
            )
        return self._jobs.folder(job.id) / name, part.stems

    @staticmethod
    def _format(request: Request, default: str = "wav") -> str:
        chosen = request.query_params.get("format", default)
        if chosen not in audio.FORMATS:
            raise RefusedError(
                "bad_request",
                f"The format {chosen[:20]!r} is unknown; expected one of "
                f"{', '.join(audio.FORMATS)}.",
            )
        return chosen

    async def _encoded(self, folder: Path, stem: str, chosen: str) -> Path:
        """Return a stem in a format, encoded at the first request."""
        source = folder / f"{stem}.wav"
        if chosen == "wav":
            return source
        target = folder / chosen / f"{stem}{audio.FORMATS[chosen].suffix}"
        try:
            async with self._encoding:
                if not target.exists():
                    if not self._intake.has_room(source.stat().st_size):
                        raise RefusedError("disk_full", FULL)
                    target.parent.mkdir(exist_ok=True)
                    await asyncio.to_thread(_encode, source, target, chosen)
        except FileNotFoundError:  # deleted meanwhile
            raise RefusedError("not_found", GONE) from None
        return target

    def _view(self, job: Job) -> dict[str, Any]:
        """Return the public attributes of a job."""
        view = {
            name: getattr(job, name)
            for name in (
                "id", "model", "state", "created", "expires", "progress", "remaining",
                "note", "error",
            )
        }  # fmt: skip
        view["position"] = self._jobs.position(job) if job.state == QUEUED else None
        view["preview"] = vars(job.preview) if job.preview else None
        view["stems"] = vars(job.whole) if job.whole else None
        return view

    async def _changes(self, ids: Sequence[str]) -> AsyncIterator[str]:
        """Yield an event for each job at the start and at every change."""
        changed, seen = self._jobs.listen(), dict[str, str]()
        try:
            while True:
                changed.clear()
                for id_ in ids:
                    text = self._state(id_)
                    if seen.get(id_) != text:
                        seen[id_] = text
                        yield f"data: {text}\n\n"
                if all(
                    json.loads(text)["state"] in (*FINISHED, "gone")
                    for text in seen.values()
                ):
                    return
                with anyio.move_on_after(BEAT_SECONDS) as beat:
                    await changed.wait()
                if beat.cancelled_caught:
                    yield ": still here\n\n"
        finally:
            self._jobs.unlisten(changed)

    def _state(self, id_: str) -> str:
        try:
            return json.dumps(self._view(self._jobs.get(id_)))
        except RefusedError as error:
            return json.dumps({"id": id_, "state": "gone", **error.body})


def _encode(source: Path, target: Path, chosen: str) -> None:
    info = audio.probe(source)
    try:
        with audio.Writer(target, info.sample_rate, info.channels, chosen) as writer:
            for block in audio.blocks(source, BLOCK_SAMPLES):
                writer.write(block)
    except audio.AudioError as error:
        message = str(error).replace(str(target), "The stem")
        raise RefusedError("bad_request", message) from error


def zipped(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield a zip of files, each under its own name, in the memory of one chunk."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for path in paths:
            entry = zipfile.ZipInfo(path.name, time.localtime()[:6])
            with (
                archive.open(entry, "w", force_zip64=True) as out,
                path.open("rb") as file,
            ):
                while piece := file.read(ZIP_BYTES):
                    out.write(piece)
                    yield sink.take()
    yield sink.take()


class _Sink:
    """A file that cannot seek, whose written bytes can be taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        joined = b"".join(self._pieces)
        self._pieces.clear()
        return joined


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {"Retry-After": "60"} if error.code == "busy" else {}
    # The rest of an upload is not read.
    return JSONResponse(error.body, error.status, headers)


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = {
        404: "There is nothing at this address; /api/openapi.json lists all addresses.",
        405: "This address does not take this method; see /api/openapi.json.",
    }.get(status, "The server has failed at this request; see its log.")
    code = {404: "not_found", 405: "bad_request"}.get(status, "failed")
    return JSONResponse({"error": {"code": code, "message": message}}, status)


def application(
    jobs: Jobs,
    limits: Limits,
    model: str,
    *,
    workers: int = 1,
    command: Sequence[str] = WORKER,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> Starlette:
    """Make the application.

    Args:
        jobs: The jobs; closed when the application ends.
        limits: Limits on uploads and jobs.
        model: Model that is loaded first, and the default.
        workers: Number of worker processes.
        command: Command that starts one of them.
        token: Secret that requests need, None to admit everybody on this machine.
        hosts: Accepted host names besides those of loopback.

    Returns:
        The ASGI application.
    """
    pool = Pool(jobs, limits, [*command, f"--first={model}"], workers)
    server = Server(jobs, limits, pool, model)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        pool.start()
        sweeping = asyncio.create_task(server.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            await pool.stop()
            jobs.close()

    get, post = ["GET"], ["POST"]
    routes = [
        Route("/", server.page, methods=get),
        Route("/api/openapi.json", server.document, methods=get),
        Route("/api/models", server.models, methods=get),
        Route("/api/events", server.events, methods=get),
        Route("/api/jobs", server.make, methods=post),
        Route("/api/jobs/{id}", server.show, methods=get),
        Route("/api/jobs/{id}", server.delete, methods=["DELETE"]),
        Route("/api/jobs/{id}/cancel", server.cancel, methods=post),
        Route("/api/jobs/{id}/events", server.events, methods=get),
    ]
    for word in PARTS:
        base = f"/api/jobs/{{id}}/{word}"
        routes += [
            Route(f"{base}/overview", server.overview, methods=get),
            Route(f"{base}/{{file}}", server.stem, methods=get),
            Route(f"{base}.zip", server.archive, methods=get),
        ]
    return Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=STATIC))],
        middleware=[Middleware(Guard, token=token, hosts=hosts)],
        exception_handlers={
            RefusedError: _refused,
            HTTPException: _no_route,
            Exception: _no_route,
        },
        lifespan=lifespan,
    )
