"""Downloads from a server on this machine: whole, checked, resumed."""

import hashlib
import http.server
import threading

import pytest

from common import download
from common.download import DownloadError

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a body with or without ranges, or breaks off in the middle."""

    ranges, breaks, seen = True, 0, []
    header, version = "ETag", None
    body, kind = CONTENT, "application/octet-stream"

    def do_GET(self):
        ranged = self.headers.get("Range", "bytes=0-")
        asked = int(ranged.removeprefix("bytes=").rstrip("-"))
        self.seen.append(asked)
        same = self.headers.get("If-Range") in (None, self.version)
        start = asked if self.ranges and same else 0
        if start >= len(self.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_part = self.ranges and same and "Range" in self.headers
        self.send_response(206 if is_part else 200)
        rest = self.body[start:]
        self.send_header("Content-Type", self.kind)
        if self.version:
            self.send_header(self.header, self.version)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        broken = len(self.seen) <= self.breaks
        self.wfile.write(rest[: len(rest) // 2] if broken else rest)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(Handler, "seen", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/weights"
        running.shutdown()


def test_a_file_is_downloaded_once(server, tmp_path):
    path = tmp_path / "new" / "weights.pth"
    for _ in range(2):
        assert download.obtain(server, path, DIGEST[:8]) == path
    assert path.read_bytes() == CONTENT
    assert Handler.seen == [0]


def test_a_file_that_exists_needs_no_lock(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(CONTENT)
    monkeypatch.setattr(download.files, "locked", None)  # as in a read-only cache
    assert download.obtain("http://nowhere", path) == path


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_continues(server, tmp_path, monkeypatch, ranges):
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(Handler, "breaks", 99)
    with pytest.raises(
        DownloadError, match=r"cannot be downloaded.*start again to go on"
    ):
        download.obtain(server, path, DIGEST)
    assert not path.exists()
    asked = len(Handler.seen)
    monkeypatch.setattr(Handler, "breaks", 0)
    monkeypatch.setattr(Handler, "ranges", ranges)
    download.obtain(server, path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert Handler.seen[asked] > 0


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_a_part_of_another_version_is_downloaded_again(
    server, tmp_path, monkeypatch, header
):
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(Handler, "header", header)
    monkeypatch.setattr(Handler, "version", '"first"')
    monkeypatch.setattr(Handler, "breaks", 99)
    with pytest.raises(DownloadError, match="start again to go on"):
        download.obtain(server, path)
    monkeypatch.setattr(Handler, "breaks", 0)
    monkeypatch.setattr(Handler, "version", '"second"')
    monkeypatch.setattr(Handler, "body", CONTENT[::-1] * 2)
    download.obtain(server, path)
    assert path.read_bytes() == CONTENT[::-1] * 2
    assert not list(tmp_path.glob("*.part*"))


def test_a_part_of_the_same_version_continues(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "version", '"first"')
    monkeypatch.setattr(Handler, "breaks", 2)
    download.obtain(server, tmp_path / "weights.pth", DIGEST)
    assert Handler.seen[0] == 0 < Handler.seen[1] < Handler.seen[2]


def test_a_connection_that_breaks_off_is_made_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "breaks", 2)
    path = download.obtain(server, tmp_path / "weights.pth", size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert Handler.seen == [0, half, half + half // 2]


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert download.obtain(server, tmp_path / "weights.pth", DIGEST).exists()


def test_a_part_of_another_file_is_not_taken_for_the_whole(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"more")
    path = download.obtain(server, tmp_path / "weights.pth")
    assert path.read_bytes() == CONTENT


def test_another_file_is_refused_and_removed(server, tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(DownloadError, match="does not begin with abcd; it was removed"):
        download.obtain(server, path, "abcd")
    assert [each.name for each in tmp_path.iterdir() if "lock" not in each.name] == []


PAGE = b"\n<!DOCTYPE html><html><body>It is somewhere else now.</body></html>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/zip"])
def test_a_page_is_no_file(server, tmp_path, monkeypatch, kind):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    monkeypatch.setattr(Handler, "body", PAGE)
    monkeypatch.setattr(Handler, "kind", kind)
    monkeypatch.setattr(Handler, "ranges", False)
    with pytest.raises(DownloadError, match="web page"):
        download.obtain(server, tmp_path / "weights.pth")
    assert not (tmp_path / "weights.pth").exists()
    # What was downloaded before stays, unless the page was not announced as one.
    assert (tmp_path / "weights.pth.part").exists() == kind.startswith("text/html")
    monkeypatch.undo()
    download.obtain(server, tmp_path / "weights.pth", DIGEST)


def test_a_file_of_another_size_is_refused(server, tmp_path):
    with pytest.raises(DownloadError, match="a file of 102400 bytes, expected 5;"):
        download.obtain(server, tmp_path / "weights.pth", size=5)
    assert not list(tmp_path.glob("weights*"))


def test_the_digest_of_the_first_download_is_recorded_and_compared(
    server, tmp_path, monkeypatch
):
    path = download.obtain(server, tmp_path / "weights.pth")
    first = download.recorded(path)
    assert first == download.Download(server, len(CONTENT), DIGEST)
    assert download.verify(path) == DIGEST
    path.write_bytes(b"damaged")
    with pytest.raises(DownloadError, match=r"expected .*; it is damaged"):
        download.verify(path)
    path.unlink()
    monkeypatch.setattr(Handler, "body", CONTENT[::-1])
    with pytest.raises(DownloadError, match=f"which was {DIGEST[:8]}... at the first"):
        download.obtain(server, path)
    assert not path.exists()
    assert download.recorded(path) == first


def test_a_damaged_record_is_reported_in_one_sentence(server, tmp_path):
    (tmp_path / download.RECORD).write_text("{")
    with pytest.raises(DownloadError, match=r"is damaged .*; remove it"):
        download.obtain(server, tmp_path / "weights.pth")


def test_no_network_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(DownloadError, match="put the file into"):
        download.obtain("http://127.0.0.1:9/none", tmp_path / "x.pth")
