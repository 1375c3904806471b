"""The server with a worker that needs no TensorFlow, and songs to send it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harmony_split.jobs import Jobs
from harmony_split.limits import Limits

FAKE = Path(__file__).with_name("fake_worker.py")
REPOSITORY = Path(__file__).resolve().parents[2]
REPLACED = (
    "import sys; from harmony_split import __main__, server; "
    "server.WORKER = {worker}; "
    "sys.exit(__main__.main(sys.argv[1:]))"
)
"""The command line with the worker that needs no TensorFlow."""

RATE = 8000
LONGEST_SECONDS = 60
FINISHED = ("done", "failed", "cancelled", "gone")


@pytest.fixture(scope="session")
def song() -> Callable[..., np.ndarray]:
    """Noise of some seconds, [samples, channels]."""

    def song(seconds: float = 1.0, seed: int = 0, channels: int = 2) -> np.ndarray:
        shape = round(seconds * RATE), channels
        return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype("f4")

    return song


@pytest.fixture(scope="session")
def packed() -> Callable[..., bytes]:
    """The bytes of a sound file."""

    def packed(sound: np.ndarray, **options: Any) -> bytes:
        file = io.BytesIO()
        options = {"format": "WAV", "subtype": "FLOAT"} | options
        soundfile.write(file, sound, RATE, **options)
        return file.getvalue()

    return packed


class Page:
    """What a person does with the server."""

    def __init__(self, client: Any, folder: Path) -> None:
        self.client, self.folder = client, folder

    def send(self, body: Any, model: str = "fake/halves", **more: Any) -> Any:
        return self.client.post(f"/api/jobs?model={model}", content=body, **more)

    def make(self, body: Any, model: str = "fake/halves") -> str:
        answer = self.send(body, model)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, id_: str) -> dict[str, Any]:
        return self.client.get(f"/api/jobs/{id_}").json()

    def wait(self, id_: str, until: Callable[[dict], bool]) -> dict[str, Any]:
        over = time.monotonic() + LONGEST_SECONDS
        while not until(job := self.job(id_)):
            assert time.monotonic() < over, job
            time.sleep(0.02)
        return job

    def finish(self, id_: str) -> dict[str, Any]:
        return self.wait(id_, lambda job: job["state"] in FINISHED)

    def stem(self, id_: str, name: str, part: str = "stems") -> np.ndarray:
        answer = self.client.get(f"/api/jobs/{id_}/{part}/{name}.wav")
        assert answer.status_code == 200, answer.text
        return soundfile.read(io.BytesIO(answer.content), dtype="float32")[0]


class Servers:
    """Starts servers one after another on one folder; a new one ends the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client: Any = None

    def __call__(
        self, workers: int = 1, token: str | None = None, **limits: Any
    ) -> Page:
        from starlette.testclient import TestClient

        from harmony_split.server import application

        self.stop()
        chosen = Limits(**limits)
        jobs = Jobs(self.folder / "jobs", chosen.keep_hours * 3600)
        command = [sys.executable, str(FAKE), f"--died={self.folder / 'died'}"]
        app = application(
            jobs, chosen, "fake/halves", workers=workers, command=command, token=token
        )
        self.client = TestClient(app, base_url="http://127.0.0.1")
        self.client.__enter__()
        return Page(self.client, jobs.files)

    def stop(self) -> None:
        """End the server that runs."""
        if self.client:
            self.client.__exit__(None, None, None)
        self.client = None


@pytest.fixture(scope="session")
def web() -> None:
    """Skip where the packages of the server are missing."""
    for package in ("starlette", "uvicorn", "httpx2"):
        pytest.importorskip(package, reason="the extras web and dev are not installed")


class Spawned:
    """``python -m harmony_split`` in a process of its own."""

    def __init__(self, folder: Path, *options: str, fake: bool = False) -> None:
        words = ["-m", "harmony_split"]
        if fake:
            worker = [sys.executable, str(FAKE), f"--died={folder / 'died'}"]
            words = ["-c", REPLACED.format(worker=worker), "--model=fake/halves"]
        words += ["--port=0", f"--folder={folder}", *options]
        paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        match = re.search(r"http://[^ ]+", line)
        assert match, line
        self.address = match[0]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def spawn(web) -> Iterator[Callable[..., Spawned]]:
    """Start servers in processes, which end with the module."""
    started: list[Spawned] = []

    def spawn(*arguments: Any, **options: Any) -> Spawned:
        started.append(Spawned(*arguments, **options))
        return started[-1]

    yield spawn
    for server in started:
        server.stop()


@pytest.fixture
def serve(web, tmp_path) -> Iterator[Servers]:
    """Start servers of any limits."""
    servers = Servers(tmp_path)
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def page(web, tmp_path_factory) -> Iterator[Page]:
    """One server with its defaults for all tests of a module."""
    servers = Servers(tmp_path_factory.mktemp("page"))
    yield servers()
    servers.stop()
