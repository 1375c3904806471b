"""What the server refuses, survives, and says about it."""

from __future__ import annotations

import http.client
import io
import os
import shutil
import socket
import subprocess
import threading
import time
import wave
from collections.abc import Iterator

import numpy as np
import pytest

from harmony_split import sound
from harmony_split.limits import Limits, RefusedError
from harmony_split.sound import decode, limited, probe

SECRET = "a secret of some length"


def refused(answer, status: int, code: str) -> str:
    """The message of a refusal of this status and code."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    message = answer.json()["error"]["message"]
    assert message.endswith(".")
    assert "/" not in message.replace("fake/", "")
    return message


def nothing_stays(page) -> None:
    assert [*page.folder.iterdir()] == []


@pytest.fixture
def ffmpeg(tmp_path):
    """Make a file by ffmpeg from its options."""

    def make(name: str, *options: str) -> bytes:
        path = tmp_path / name
        command = ["ffmpeg", "-v", "error", "-y", *options, str(path)]
        subprocess.run(command, check=True)
        return path.read_bytes()

    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    return make


def test_a_file_of_zero_bytes(serve):
    page = serve()
    assert "empty" in refused(page.send(b""), 415, "not_audio")
    nothing_stays(page)


@pytest.mark.parametrize(
    "body",
    [b"<html><script>", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(5000), b"RIFF",
     b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile a\n"],
)  # fmt: skip
def test_files_that_are_not_sound_are_refused(page, body):
    assert "not sound" in refused(page.send(body), 415, "not_audio")


def test_a_film_without_sound(page, ffmpeg):
    film = ffmpeg("a.mp4", "-f", "lavfi", "-i", "color=duration=1", "-an")
    assert "holds no sound" in refused(page.send(film), 415, "not_audio")


def test_of_a_film_only_the_sound_is_decoded(page, ffmpeg):
    film = ffmpeg(
        "a.mp4", "-f", "lavfi", "-i", "color=duration=1", "-f", "lavfi", "-i",
        "sine=duration=1:sample_rate=16000", "-shortest",
    )  # fmt: skip
    job = page.finish(page.make(film))
    assert job["state"] == "done"
    assert job["stems"]["channels"] == 1


def test_too_large_by_its_header(serve):
    page = serve(upload_megabytes=0.01)
    message = refused(page.send(bytes(10_001)), 413, "too_large")
    assert message.startswith("The file has 10 kB; this server accepts up to 10 kB")
    nothing_stays(page)


def test_too_large_without_a_header(serve):
    page = serve(upload_megabytes=0.01)

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1000)

    assert "is larger" in refused(page.send(chunks()), 413, "too_large")
    nothing_stays(page)


def test_a_decompression_bomb_by_its_header(page, ffmpeg):
    silence = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "3600")
    bomb = ffmpeg("a.flac", *silence)
    assert len(bomb) < 1_000_000
    assert "longer than 10 minutes" in refused(page.send(bomb), 422, "too_long")


def test_a_decompression_bomb_whose_header_lies(serve, ffmpeg):
    page = serve(song_minutes=0.05)
    sound = ("-f", "lavfi", "-i", "sine=duration=9:sample_rate=8000")
    bomb = bytearray(ffmpeg("a.m4a", *sound, "-c:a", "aac", "-use_editlist", "0"))
    for box, offset, second in (
        ("mvhd", 20, 1000),
        ("mdhd", 20, 8000),
        ("tkhd", 24, 1000),
    ):
        start = bomb.index(box.encode()) + offset
        bomb[start : start + 4] = second.to_bytes(4, "big")
    job = page.finish(page.make(bytes(bomb)))
    assert job["error"]["code"] == "too_long"
    assert "longer than 3 seconds" in job["error"]["message"]
    assert not (page.folder / job["id"]).exists()


def test_a_flac_whose_header_states_too_few_samples(serve, ffmpeg):
    page = serve(song_minutes=0.05)
    flac = ffmpeg("a.flac", "-f", "lavfi", "-i", "anullsrc=r=8000", "-t", "9")
    bomb = bytearray(flac)
    bomb[22:26] = (8000).to_bytes(4, "big")  # samples, in the block STREAMINFO
    job = page.finish(page.make(bytes(bomb)))
    assert job["error"]["code"] == "too_long"


def test_a_length_that_no_header_states(serve, ffmpeg):
    page = serve(song_minutes=0.05)
    stream = ffmpeg("a.aac", "-f", "lavfi", "-i", "sine=duration=9", "-f", "adts")
    answer = page.send(stream)
    if answer.status_code == 202:
        job = page.finish(answer.json()["id"])
        assert job["error"]["code"] == "too_long"
    else:
        refused(answer, 422, "too_long")


def test_a_header_that_promises_more_than_there_is(page, song, packed):
    whole = packed(song(2))
    job = page.finish(page.make(whole[: len(whole) // 2]))
    assert job["state"] == "failed"
    assert job["error"]["code"] == "unreadable"
    assert "The file" in job["error"]["message"]
    assert str(page.folder) not in job["error"]["message"]


def test_absurd_rate_and_channels(page):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 2_000_000_000, 0, "NONE", ""))
        out.writeframes(bytes(1000))
    assert "Hz" in refused(page.send(file.getvalue()), 422, "unreadable")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((64, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(12800))
    assert "64 channels" in refused(page.send(file.getvalue()), 422, "unreadable")


def test_samples_that_are_not_finite(page, packed):
    sound = np.full((8000, 1), np.nan, np.float32)
    job = page.finish(page.make(packed(sound)))
    assert job["error"]["code"] == "unreadable"
    assert "nan at sample 0" in job["error"]["message"]


def test_probe_and_decoder_have_limits(tmp_path, song, packed, monkeypatch):
    source = tmp_path / "upload"
    source.write_bytes(packed(song(1)))
    starved = Limits(decoder_megabytes=50)
    with pytest.raises(RefusedError, match="more memory or time"):
        decode(source, tmp_path / "a.wav", starved)
    with pytest.raises(RefusedError, match="not sound"):
        probe(source, Limits(decoder_megabytes=5))
    endless = ["/bin/sh", "-c", "while :; do :; done"]
    done = subprocess.run(limited(endless, Limits(decoder_seconds=1), 0), check=False)
    assert done.returncode < 0
    with monkeypatch.context() as patch:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "ffprobe").write_text(f"#!/bin/sh\n{endless[-1]}\n")
        (folder / "ffprobe").chmod(0o755)
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        patch.setattr(sound, "PROBE_SECONDS", 1)
        with pytest.raises(RefusedError, match="takes longer than 1 seconds to read"):
            probe(source, Limits())
    assert not (tmp_path / "a.wav").exists()
    decode(source, tmp_path / "a.wav", Limits())
    assert (tmp_path / "a.wav").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/api/jobs/..%2f..%2fjobs.sqlite3/stems/low.wav",
        "/api/jobs/../../etc/passwd",
    ],
)
def test_paths_outside_the_page_are_not_found(page, path):
    connection = page.client.get(path)
    assert connection.status_code == 404
    assert b"sqlite" not in connection.content
    assert b"import" not in connection.content


def test_only_stems_of_the_model_are_served(page, song, packed):
    id_ = page.make(packed(song(0.5)))
    page.finish(id_)
    for name in ("..%2foverview.wav", "x.wav", "%2e%2e%2fupload.wav"):
        assert page.client.get(f"/api/jobs/{id_}/stems/{name}").status_code == 404
    answer = page.client.get(f"/api/jobs/{id_}/stems/low.wav?format=../../x")
    assert answer.status_code == 400


def test_ids_are_not_guessed(page, song, packed):
    ids = {page.make(packed(song(0.1))) for _ in range(3)}
    assert all(len(id_) == 22 for id_ in ids)
    right = ids.pop()
    wrong = [right[:-1] + ("A" if right[-1] != "A" else "Q"), right[:-1], "0", "%00"]
    for id_ in wrong:
        for path in ("", "/stems/low.wav", "/stems.zip", "/events", "/stems/overview"):
            answer = page.client.get(f"/api/jobs/{id_}{path}")
            assert answer.status_code == 404, path
        assert page.client.delete(f"/api/jobs/{id_}").status_code == 404
    assert page.client.get("/api/jobs").status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://127.0.0.1:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_posts_of_other_sites(page, headers, song, packed):
    answer = page.send(packed(song(0.1)), headers=headers)
    assert "another site" in refused(answer, 403, "cross_origin")
    answer = page.client.delete("/api/jobs/x", headers=headers)
    refused(answer, 403, "cross_origin")


def test_posts_of_the_page_itself(page, song, packed):
    headers = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert page.send(packed(song(0.1)), headers=headers).status_code == 202


def test_invalid_addresses_are_refused(page, song, packed):
    headers = {"Host": "["}
    refused(page.client.get("/api/models", headers=headers), 403, "cross_origin")
    answer = page.send(packed(song(1)), headers={"Origin": "http://["})
    refused(answer, 403, "cross_origin")


def test_another_name_for_the_server(page):
    answer = page.client.get("/api/models", headers={"Host": "evil.example"})
    assert "evil.example" in refused(answer, 403, "cross_origin")


def test_headers_of_every_answer(page):
    for path in ("/", "/static/app.js", "/api/models", "/api/jobs/x", "/nothing"):
        headers = page.client.get(path).headers
        rules = dict(
            rule.split(" ", 1)
            for rule in headers["content-security-policy"].split("; ")
        )
        assert rules["default-src"] == "'none'"
        assert rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_the_page_has_nothing_inline_and_nothing_foreign(page):
    text = page.client.get("/").text
    assert "http:" not in text
    assert "https:" not in text
    assert " style=" not in text
    assert "onclick" not in text
    first, second = page.client.get("/"), page.client.get("/")
    nonces = [answer.headers["content-security-policy"] for answer in (first, second)]
    assert nonces[0] != nonces[1]


def test_a_token_opens_the_server(serve):
    page = serve(token=SECRET)
    client = page.client
    refused(client.get("/api/models"), 401, "not_authorised")
    refused(client.post("/api/jobs", content=b"x"), 401, "not_authorised")
    wrong = {"Authorization": "Bearer wrong"}
    refused(client.get("/api/models", headers=wrong), 401, "not_authorised")
    right = {"Authorization": f"Bearer {SECRET}"}
    assert client.get("/api/models", headers=right).status_code == 200
    answer = client.get("/?token=wrong", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert answer.text.startswith("This server requires its token")
    answer = client.get("/", params={"token": SECRET}, follow_redirects=False)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200


def test_a_queue_that_is_full(serve, song, packed):
    page = serve(queue=1)
    first = page.make(packed(song(20)), "fake/slow")
    page.wait(first, lambda job: job["state"] == "separating")
    page.make(packed(song(0.1)))
    answer = page.send(packed(song(0.1)))
    assert "1 song at most" in refused(answer, 503, "busy")
    assert answer.headers["retry-after"] == "60"


def test_too_many_uploads(address):
    host, port, page = address  # of one upload at a time
    with socket.create_connection((host, port)) as connection:
        connection.sendall(HEAD.encode() + bytes(5000))
        over = time.monotonic() + 20
        while not [*page.folder.iterdir()] and time.monotonic() < over:
            time.sleep(0.01)
        assert "Too many uploads" in refused(page.send(b"x"), 503, "busy")


def test_a_disk_that_is_full(serve, song, packed):
    page = serve(disk_gigabytes=0.0001)
    assert "used up" in refused(page.send(packed(song(1))), 507, "disk_full")
    nothing_stays(page)


def test_a_model_that_is_not_here(page):
    page.client.get("/api/models")
    assert "registry fetch" in page.send(b"x", "fake/absent").json()["error"]["message"]
    refused(page.send(b"x", "fake/none"), 409, "model_missing")
    assert page.send(b"x", "../../etc").status_code == 409


def test_invalid_cookies_are_refused(web):
    from harmony_split import guard

    gate = guard.Guard(lambda *_: None, SECRET)  # type: ignore[arg-type, return-value]
    assert not gate._same(guard._cookie("a=b; c"))
    assert gate._same(guard._cookie(f'{guard.COOKIE}="{SECRET}"'))


@pytest.fixture
def address(web, serve, monkeypatch) -> Iterator[tuple[str, int, object]]:
    """A server on a real socket, for connections that no client would make."""
    import uvicorn

    from harmony_split import intake

    monkeypatch.setattr(intake, "GRACE_SECONDS", 1.0)
    page = serve(upload_rate=1000, uploads=1)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(page.client.app, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield *listener.getsockname(), page
    server.should_exit = True
    thread.join()


HEAD = (
    "POST /api/jobs?model=fake/halves HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Content-Length: 100000\r\n\r\n"
)


def test_an_upload_of_a_byte_a_second(address):
    host, port, page = address
    with socket.create_connection((host, port)) as connection:
        connection.sendall(HEAD.encode())
        connection.settimeout(0.2)
        answer, over = b"", time.monotonic() + 20
        while b"too_slow" not in answer and time.monotonic() < over:
            connection.sendall(b"x")
            try:
                answer += connection.recv(4096)
            except TimeoutError:
                continue
    assert b"408" in answer.split(b"\r\n")[0]
    assert b"too slow" in answer
    nothing_stays(page)


def test_half_an_upload(address):
    host, port, page = address
    with socket.create_connection((host, port)) as connection:
        connection.sendall(HEAD.encode() + bytes(5000))
        over = time.monotonic() + 20
        while not [*page.folder.iterdir()] and time.monotonic() < over:
            time.sleep(0.01)
    while [*page.folder.iterdir()] and time.monotonic() < over:
        time.sleep(0.01)
    nothing_stays(page)
    answer = http.client.HTTPConnection(host, port)
    answer.request("GET", "/api/models")
    assert answer.getresponse().status == 200
