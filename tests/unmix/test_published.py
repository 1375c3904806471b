"""Published files are downloaded once, whole, and are the published ones."""

import hashlib
import http.server
import re
import threading
from dataclasses import replace
from types import MappingProxyType

import pytest

from unmix import published
from unmix.published import PublishedError

CONTENT = bytes(range(256)) * 40


class Handler(http.server.BaseHTTPRequestHandler):
    """Server of one content, whose habits its server object tells."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Range"]))
        begun = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
        rest = self.server.content
        if self.server.parts:
            if begun >= len(rest):
                self.send_response(416)
                self.end_headers()
                return
            rest = rest[begun:]
        self.send_response(206 if self.server.parts else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.breaks_after])

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with one publication, ``small``, of two targets."""
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.parts = [], True
        running.content, running.breaks_after = CONTENT, None
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("UNMIX_URL", f"http://127.0.0.1:{running.server_port}/")
        head = hashlib.sha256(CONTENT).hexdigest()[:8]
        files = {"vocals": f"vocals-{head}.pth", "bass": f"bass_{head}.pth"}
        small = replace(published.MODELS["umx"], record=7, files=files)
        models = MappingProxyType({**published.MODELS, "small": small})
        monkeypatch.setattr(published, "MODELS", models)
        yield running
        running.shutdown()
        thread.join()


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_addresses(monkeypatch):
    monkeypatch.delenv("UNMIX_URL", raising=False)
    urls = [
        model.url(file)
        for model in published.MODELS.values()
        for file in model.files.values()
    ]
    assert len(set(urls)) == 14
    zenodo = "https://zenodo.org/records"
    assert f"{zenodo}/3370489/files/vocals-b62c91ce.pth" in urls
    assert f"{zenodo}/3370486/files/bass-646024d3.pth" in urls
    assert f"{zenodo}/5069601/files/drums-69e0ebd4.pth" in urls
    assert f"{zenodo}/3786908/files/noise_04a6fc2d.pth" in urls
    assert list(published.MODELS["umxl"].files) == ["vocals", "drums", "bass", "other"]
    assert list(published.MODELS["umxse"].files) == ["speech", "noise"]
    for model in published.MODELS.values():
        for file in model.files.values():
            assert published.expected_digest(published.folder("x") / file)
    assert published.MODELS["umxl"].licence == "CC BY-NC-SA 4.0"


def test_download_once(server):
    found = published.fetch("small")
    assert list(found) == ["vocals", "bass"]
    assert found["vocals"].read_bytes() == CONTENT
    assert server.asked[0] == (f"/7/files/{found['vocals'].name}", "bytes=0-")
    assert published.fetch("small", ["bass"]) == {"bass": found["bass"]}
    assert len(server.asked) == 2
    assert names(published.folder("small")) == sorted(p.name for p in found.values())
    assert published.verify(found["vocals"]) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("parts", [True, False])
def test_broken_download_goes_on(server, parts):
    server.breaks_after, server.parts = 5000, parts
    with pytest.raises(PublishedError, match="broke off after 5000 of 10240") as error:
        published.fetch("small", ["vocals"])
    assert "vocals-" in str(error.value)
    assert str(published.folder("small")) in str(error.value)
    (part,) = names(published.folder("small"))
    assert part.endswith(".part")
    server.breaks_after = None
    (path,) = published.fetch("small", ["vocals"]).values()
    assert path.read_bytes() == CONTENT
    assert server.asked[1][1] == "bytes=5000-"
    assert names(published.folder("small")) == [path.name]


def test_download_that_was_whole_but_not_yet_named(server):
    place = published.folder("small")
    place.mkdir(parents=True)
    file = published.MODELS["small"].files["vocals"]
    (place / f"{file}.part").write_bytes(CONTENT)
    assert published.fetch("small", ["vocals"])["vocals"].read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == ["bytes=10240-"]


def test_other_content_is_refused_and_removed(server):
    server.content = b"<html>" + CONTENT
    with pytest.raises(PublishedError, match="SHA-256 does not begin with"):
        published.fetch("small", ["vocals"])
    assert names(published.folder("small")) == []
    server.content = CONTENT
    assert published.fetch("small", ["vocals"])["vocals"].read_bytes() == CONTENT


def test_without_a_network_the_sentence_tells_what_to_put_where(server, monkeypatch):
    monkeypatch.setenv("UNMIX_URL", "http://127.0.0.1:1")
    with pytest.raises(PublishedError) as error:
        published.fetch("small")
    for file in published.MODELS["small"].files.values():
        assert f"http://127.0.0.1:1/7/files/{file}" in str(error.value)
    assert f"into {published.folder('small')}" in str(error.value)


def test_unknown_target(server):
    with pytest.raises(PublishedError, match="small has no target choir; expected one"):
        published.fetch("small", ["choir"])
    assert not server.asked


def test_what_exists_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert published.is_published("umxhq")
    assert not published.is_published("mine")
    (tmp_path / "umxhq").mkdir()
    assert not published.is_published("umxhq")


def test_the_registry_tells_what_is_there_and_what_would_come(server):
    def small():
        (entry,) = (each for each in published.entries() if each.name == "small")
        return entry.cached, [(file.size, file.about) for file in entry.files]

    guess = 4 * published.MODELS["small"].weights
    assert small() == (False, [(guess, True), (guess, True)])
    published.fetch("small", ["bass"])
    assert small() == (False, [(guess, True), (len(CONTENT), False)])
    published.fetch("small")
    assert small() == (True, [(len(CONTENT), False)] * 2)


def test_command(capsys):
    assert published.main(["umxse"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["umxse", "umxse"]
    assert rows[0][2].endswith("/3786908/files/speech_f5e0d9f9.pth")
    assert published.main(["umx2"]) == 1
    assert "umx2 is no published model" in capsys.readouterr().err
