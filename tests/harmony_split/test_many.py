"""Fifty uploads at once to a real server, which loses its worker and is killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
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

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
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


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    words = ["-m", "harmony_split", "--port=0", f"--folder={folder}"]
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    match = re.search(r"http://[^ ]+", process.stdout.readline())
    assert match
    return process, match[0]


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


def test_fifty_songs_survive_deaths_of_worker_and_server(web, tmp_path):
    songs = [piece(seed) for seed in range(SONGS)]
    assert all(4_000_000 < len(song) < 4_200_000 for song in songs)
    process, address = start(tmp_path / "jobs")
    try:
        ask(f"{address}api/models")
        quiet = resident(process.pid)
        with ThreadPoolExecutor(SONGS) as pool:
            post = f"{address}api/jobs?model=unmix/mini"
            answers = list(pool.map(lambda song: json.loads(ask(post, song)), songs))
        ids = [answer["id"] for answer in answers]
        assert len({*ids}) == SONGS
        assert resident(process.pid) - quiet < MOST_GROWTH
        wait_for(address, ids, 3)
        (worker,) = workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        wait_for(address, ids, 6)
        (worker,) = workers(process.pid)
        process.kill()
        process.wait()
        time.sleep(2)
        assert not Path(f"/proc/{worker}").exists()
        process, address = start(tmp_path / "jobs")
        jobs = wait_for(address, ids, 10)
        (worker,) = workers(process.pid)
        at_first = resident(worker)
        jobs = wait_for(address, ids, SONGS)
        assert workers(process.pid) == [worker]
        growth = resident(worker) - at_first
        sys.stderr.write(f"worker: {at_first / 1e6:.0f} MB, grown {growth / 1e6:.0f}\n")
        assert growth < 3 * MOST_GROWTH
        digests = [
            {
                stem: hashlib.sha256(
                    ask(f"{address}api/jobs/{job['id']}/stems/{stem}.wav")
                ).hexdigest()
                for stem in job["stems"]["stems"]
            }
            for job in jobs
        ]
    finally:
        process.terminate()
        process.wait()
    assert digests == by_command(tmp_path, songs)


def by_command(folder: Path, songs: list[bytes]) -> list[dict[str, str]]:
    """Digests of the stems that the command line writes."""
    names = [folder / f"{i:02}.wav" for i in range(len(songs))]
    for name, song in zip(names, songs, strict=True):
        name.write_bytes(song)
    command = [sys.executable, "-m", "unmix.separate", *map(str, names)]
    command += ["--model", "mini", "--output", str(folder / "stems")]
    subprocess.run(command, check=True, capture_output=True)
    return [
        {
            stem: hashlib.sha256(
                (folder / "stems" / name.stem / f"{stem}.wav").read_bytes()
            ).hexdigest()
            for stem in ("vocals", "drums", "bass", "other")
        }
        for name in names
    ]
