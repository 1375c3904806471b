"""Downloads from a server on this machine: whole, checked, resumed."""

import hashlib
import http.server
import threading

import pytest

from common.weights import download
from common.weights.download import DownloadError

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with or without ranges, or breaks off in the middle."""

    ranges, breaks, seen = True, False, []

    def do_GET(self):
        asked = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.seen.append(asked)
        start = asked if self.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if self.ranges and start else 200)
        rest = CONTENT[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if self.breaks else rest)

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


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(server, tmp_path, monkeypatch, ranges):
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(Handler, "breaks", True)
    with pytest.raises(
        DownloadError, match=r"cannot be downloaded.*start again to go on"
    ):
        download.obtain(server, path, DIGEST)
    assert not path.exists()
    monkeypatch.setattr(Handler, "breaks", False)
    monkeypatch.setattr(Handler, "ranges", ranges)
    download.obtain(server, path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert Handler.seen[1] > 0


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert download.obtain(server, tmp_path / "weights.pth", DIGEST).exists()


def test_another_file_is_refused_and_removed(server, tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(DownloadError, match="does not begin with abcd; it was removed"):
        download.obtain(server, path, "abcd")
    assert [each.name for each in tmp_path.iterdir() if "lock" not in each.name] == []


def test_no_network_is_one_sentence(tmp_path):
    with pytest.raises(DownloadError, match="put the file into"):
        download.obtain("http://127.0.0.1:9/none", tmp_path / "x.pth")
