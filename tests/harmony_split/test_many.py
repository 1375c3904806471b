"""Fifty uploads at once to a server that loses its worker and is killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common import audio

pytestmark = pytest.mark.slow
SONGS, RATE, SECONDS = 50, 96000, 7
LONGEST_SECONDS = 3000
MOST_GROWTH = 60e6


def piece(seed: int) -> bytes:
    """A wav of 4 MB: tones that come and go, different for each seed."""
    draw = np.random.default_rng(seed)
    time_ = np.arange(SECONDS * RATE) / RATE
    sound = 0.02 * draw.standard_normal([len(time_), 2])
    for hertz in draw.uniform(80, 2000, 6):
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * draw.uniform(0.2, 2) * time_)
        tone = 0.1 * swell * np.sin(2 * np.pi * hertz * time_)
        sound += tone[:, np.newaxis] * draw.uniform(0, 1, 2)
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV", subtype="PCM_24")
    return file.getvalue()


def ask(address: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(address, data, timeout=300) as answer:
        return answer.read()


def states(address: str, ids: list[str]) -> list[dict]:
    return [json.loads(ask(f"{address}api/jobs/{id_}")) for id_ in ids]


def wait_for(address: str, ids: list[str], count: int) -> list[dict]:
    """Wait until so many are done; none may fail."""
    over = time.monotonic() + LONGEST_SECONDS
    while True:
        jobs = states(address, ids)
        assert all(job["state"] != "failed" for job in jobs), jobs
        if sum(job["state"] == "done" for job in jobs) >= count:
            return jobs
        assert time.monotonic() < over
        time.sleep(0.5)


def workers(server: int) -> list[int]:
    files = Path(f"/proc/{server}/task").glob("*/children")
    return [int(pid) for file in files for pid in file.read_text().split()]


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(spawn, folder: Path, songs: list[bytes], model: str, fake: bool) -> list[dict]:
    """Send all songs at once, kill the worker and the server; digests of the stems."""
    server = spawn(folder, fake=fake)
    ask(f"{server.address}api/models")
    quiet = resident(server.process.pid)
    with ThreadPoolExecutor(SONGS) as pool:
        post = f"{server.address}api/jobs?model={model}"
        answers = list(pool.map(lambda song: json.loads(ask(post, song)), songs))
    ids = [answer["id"] for answer in answers]
    assert len({*ids}) == SONGS
    assert resident(server.process.pid) - quiet < MOST_GROWTH

    wait_for(server.address, ids, 3)
    (worker,) = workers(server.process.pid)
    os.kill(worker, signal.SIGKILL)
    wait_for(server.address, ids, 6)
    (worker,) = workers(server.process.pid)
    server.process.kill()
    server.process.wait()

    server = spawn(folder, fake=fake)
    assert not Path(f"/proc/{worker}/exe").exists()
    wait_for(server.address, ids, 10)
    (worker,) = workers(server.process.pid)
    at_first = resident(worker)
    wait_for(server.address, ids, SONGS - 5)  # then the other models are warmed
    growth = resident(worker) - at_first
    jobs = wait_for(server.address, ids, SONGS)
    assert workers(server.process.pid) == [worker]
    sys.stderr.write(f"worker: {at_first / 1e6:.0f} MB, grown {growth / 1e6:.0f} MB\n")
    assert growth < MOST_GROWTH
    return [
        {
            stem: digest(ask(f"{server.address}api/jobs/{job['id']}/stems/{stem}.wav"))
            for stem in job["stems"]["stems"]
        }
        for job in jobs
    ]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def songs() -> list[bytes]:
    songs = [piece(seed) for seed in range(SONGS)]
    assert all(4_000_000 < len(song) < 4_200_000 for song in songs)
    return songs


@pytest.fixture
def files(songs, tmp_path) -> list[Path]:
    files = [tmp_path / f"{i:02}.wav" for i in range(SONGS)]
    for file, song in zip(files, songs, strict=True):
        file.write_bytes(song)
    return files


def written(files: list[Path], folder: Path, stems: tuple[str, ...]) -> list[dict]:
    return [
        {s: digest((folder / file.stem / f"{s}.wav").read_bytes()) for s in stems}
        for file in files
    ]


def test_fifty_songs_survive_deaths_of_worker_and_server(spawn, songs, files, tmp_path):
    actual = run(spawn, tmp_path / "jobs", songs, "fake/halves", fake=True)
    for file in files:
        sound, rate = audio.read(file)
        (tmp_path / "stems" / file.stem).mkdir(parents=True)
        for stem, share in (("high", 0.75), ("low", 0.25)):
            path = tmp_path / "stems" / file.stem / f"{stem}.wav"
            audio.write(path, (share * sound).astype("f4"), rate)
    assert actual == written(files, tmp_path / "stems", ("high", "low"))


def test_fifty_songs_have_the_stems_of_the_command_line(spawn, songs, files, tmp_path):
    actual = run(spawn, tmp_path / "jobs", songs, "unmix/mini", fake=False)
    command = [sys.executable, "-m", "unmix.separate", *map(str, files)]
    command += ["--model", "mini", "--output", str(tmp_path / "stems")]
    subprocess.run(command, check=True, capture_output=True)
    stems = ("vocals", "drums", "bass", "other")
    assert actual == written(files, tmp_path / "stems", stems)
