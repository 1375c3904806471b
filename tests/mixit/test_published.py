"""The registry of published models, and the script that fetches and verifies them."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

import mixit
from common import download
from common.download import DownloadError
from common.files import write_json
from common.training.checkpoint import CheckpointError
from mixit import published
from mixit.google import verify
from mixit.google.architecture import Options
from mixit.google.restore import restore

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "run_verify_published_weights.sh"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    for host in published.HOSTS:
        monkeypatch.delenv(host, raising=False)


def lay_out(unpack, name, graph, folder):
    """Put a tiny model where the files of a published one are expected."""
    source, _ = unpack(graph)
    folder.mkdir(parents=True, exist_ok=True)
    model = published.MODELS[name]
    for file in source.iterdir():
        new = file.name.replace("model.ckpt-7", model.prefix)
        if model.prefix.startswith("baseline") and new == "inference.meta":
            new = model.prefix.replace("model", "inference.meta")
        shutil.copy(file, folder / new)


def test_names():
    assert list(published.MODELS) == [
        "yfcc100m",
        "bird4",
        "bird8",
        "fuss_baseline",
        "fuss_baseline_dry",
    ]
    for model in published.MODELS.values():
        assert model.state in (published.SYNTHETIC, published.VERIFIED)
        assert all(model.url(file).startswith("https://") for file in model.files)
    assert published.MODELS["yfcc100m"].url("inference.meta") == (
        "https://storage.googleapis.com/gresearch/sound_separation/"
        "yfcc100m_mixit_model_checkpoint/inference.meta"
    )
    (archive,) = published.MODELS["fuss_baseline"].files
    assert (
        published.MODELS["fuss_baseline"]
        .url(archive)
        .endswith("/3743844/files/FUSS_baseline_model.tar.gz")
    )


def test_rates_are_those_of_the_training():
    rates = {name: model.sample_rate for name, model in published.MODELS.items()}
    assert rates == {
        "yfcc100m": 16000,
        "bird4": 22050,
        "bird8": 22050,
        "fuss_baseline": 16000,
        "fuss_baseline_dry": 16000,
    }


@pytest.mark.parametrize("name", ["bird4", "yfcc100m"])
def test_a_checkpoint_of_a_published_name_has_its_rate(name):
    model = published.MODELS[name]
    prefix = Path("anywhere", model.prefix)
    assert published.with_rate(prefix, Options()).sample_rate == model.sample_rate
    own = Options(sample_rate=8000)
    assert published.with_rate(prefix, own) == own
    assert published.with_rate(Path("other"), Options()).sample_rate is None


@pytest.mark.parametrize(
    ("name", "weights"), [("bird4", 9_188_359), ("bird8", 9_450_503)]
)
def test_sizes_are_those_of_the_architecture(name, weights):
    assert 12 * weights + 16 == max(published.MODELS[name].files.values())


def test_name_that_cannot_be_downloaded(monkeypatch):
    monkeypatch.setenv("GRESEARCH_URL", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"inference.meta cannot be downloaded"):
        mixit.load("bird4")
    with pytest.raises(CheckpointError, match="nightingale does not exist; expected"):
        mixit.load("nightingale")


def test_name_that_is_downloaded(unpack):
    lay_out(unpack, "bird4", "skips_magsq", published.folder("bird4"))
    lay_out(unpack, "fuss_baseline_dry", "fuss", published.folder("x"))
    published.folder("x").replace(published.folder("fuss_baseline_dry"))
    for graph in (False, True):
        separator = mixit.load("bird4", metagraph=graph)
        assert (separator.sample_rate, len(separator.sources)) == (22050, 2)
    assert restore("bird4")[0].config.sample_rate == 22050
    for rate in (8000, 16000):
        assert mixit.load("bird4", sample_rate=rate).sample_rate == rate
    assert mixit.load(published.folder("bird4")).sample_rate == 22050
    assert mixit.load("fuss_baseline_dry").sample_rate == 16000


def test_report(unpack, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GRESEARCH_URL", "http://127.0.0.1:9")
    lay_out(unpack, "yfcc100m", "scopes", published.folder("yfcc100m"))
    lay_out(unpack, "bird4", "twice", published.folder("bird4"))
    report = tmp_path / "reports" / "report.md"
    assert verify.main(["yfcc100m", "--report", str(report)]) == 0
    text = report.read_text()
    assert "| yfcc100m | model.ckpt-3547330 | 1,219 | 2 | 16000 | 32, 16 |" in text
    assert "| verified on a file from an unknown address | Apache-2.0 |" in text
    model = published.MODELS["yfcc100m"]
    record = {
        file: {"address": model.url(file, published=True), "size": 1, "sha256": ""}
        for file in model.files
    }
    write_json(record, published.folder("yfcc100m") / download.RECORD)
    assert verify.main(["yfcc100m", "--report", str(report)]) == 0
    assert f"| {published.VERIFIED} | Apache-2.0 |" in report.read_text()
    assert verify.main(["yfcc100m", "bird4", "bird8", "--report", str(report)]) == 1
    rows = [
        line for line in report.read_text().splitlines() if line.startswith("| bird")
    ]
    assert "holds 2 networks" in rows[0]
    assert "inference.meta cannot be downloaded" in rows[1]
    assert f"report: {report}" in capsys.readouterr().out


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder: with redirects, and the rest of a file where it is asked for."""

    asked: list = []  # noqa: RUF012 (one for every server, emptied by the fixture)

    def log_message(self, *words):
        """Say nothing."""

    def do_GET(self):
        """Send a file from the byte that is asked for."""
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.asked.append((self.path, begin))
        path = Path(self.translate_path(self.path))
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        if begin:
            size = path.stat().st_size
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def served(tmp_path):
    """A folder that is served, its address, and the requests."""
    folder = tmp_path / "served"
    folder.mkdir()
    Handler.asked.clear()
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def script(tmp_path):
    """The script in a folder of its own, whose environment is the one of this test."""
    clone = tmp_path / "a clone"
    clone.mkdir()
    shutil.copy(SCRIPT, clone)
    (clone / "setup.sh").write_text(
        f'export PATH="{Path(sys.executable).parent}:$PATH"\n'
        f'export PYTHONPATH="{REPOSITORY}" ROOT_DIR="{tmp_path}"\n'
    )

    def run(*names, **environment):
        return subprocess.run(
            [str(clone / SCRIPT.name), *names],
            env=os.environ | {"no_proxy": "127.0.0.1"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_only_a_whole_checkpoint_is_in_the_cache(tmp_path, monkeypatch):
    def is_cached():
        return next(e for e in published.entries() if e.name == "bird4").cached

    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    report = published.folder("bird4")
    (report / "inner").mkdir(parents=True)
    assert not is_cached()
    (report / "inner" / "model.ckpt-3223090.index").touch()
    assert is_cached()


def test_load_downloads_what_the_cache_does_not_hold(unpack, served, monkeypatch):
    folder, address = served
    monkeypatch.setenv("GRESEARCH_URL", address)
    model = published.MODELS["yfcc100m"]
    lay_out(unpack, "yfcc100m", "scopes", folder / model.path)
    separator = mixit.load("yfcc100m")
    assert (separator.sample_rate, len(separator.sources)) == (16000, 2)
    asked = [path.rpartition("/")[2] for path, _ in Handler.asked]
    assert asked == sorted(model.files, key=lambda file: file.endswith(".index"))
    entry = next(e for e in published.entries() if e.name == "yfcc100m")
    assert entry.cached
    assert all(len(file.sha256) == 64 and file.size for file in entry.files)
    Handler.asked.clear()
    mixit.load("yfcc100m")
    assert not Handler.asked


def test_load_unpacks_an_archive(unpack, served, monkeypatch, tmp_path):
    folder, address = served
    monkeypatch.setenv("ZENODO_URL", address)
    lay_out(unpack, "fuss_baseline", "fuss", tmp_path / "baseline_model")
    with tarfile.open(folder / "FUSS_baseline_model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "baseline_model", "../../baseline_model")
    assert mixit.load("fuss_baseline").sample_rate == 16000
    cached = published.folder("fuss_baseline")
    inside = {path.name for path in cached.rglob("*") if path.is_file()}
    expected = {path.name for path in (tmp_path / "baseline_model").iterdir()}
    assert inside == expected | {"FUSS_baseline_model.tar.gz", download.RECORD}
    (folder / "FUSS_baseline_dry_model.tar.gz").write_text("no archive")
    with pytest.raises(DownloadError, match="is not an archive, or a damaged one"):
        mixit.load("fuss_baseline_dry")
    assert not list(published.folder("fuss_baseline_dry").glob("*.tar.gz"))


@pytest.mark.slow
def test_script_downloads_follows_redirects_and_verifies(
    unpack, served, script, tmp_path
):
    folder, address = served
    report = folder / published.MODELS["yfcc100m"].path
    lay_out(unpack, "yfcc100m", "scopes", report)
    lay_out(unpack, "fuss_baseline", "fuss", tmp_path / "baseline_model")
    with tarfile.open(folder / "FUSS_baseline_model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "baseline_model", "baseline_model")
    hosts = {"GRESEARCH_URL": f"{address}/moved", "ZENODO_URL": f"{address}/moved"}
    # A download that was broken off goes on where it stopped.
    data = "model.ckpt-3547330.data-00000-of-00001"
    cached = published.folder("yfcc100m")
    cached.mkdir(parents=True)
    (cached / f"{data}.part").write_bytes((report / data).read_bytes()[:1000])
    done = script("yfcc100m", "fuss_baseline", **hosts)
    assert done.returncode == 0, done.stderr
    assert (f"/{published.MODELS['yfcc100m'].path}/{data}", 1000) in Handler.asked
    assert (cached / data).read_bytes() == (report / data).read_bytes()
    text = (tmp_path / "published_weights.md").read_text()
    assert text.count(f"verified on a file from {address}/moved") == 2
    assert not list(tmp_path.glob("cache/**/*.part"))
    Handler.asked.clear()
    assert script("yfcc100m", "fuss_baseline", **hosts).returncode == 0
    assert not Handler.asked


@pytest.mark.slow
def test_script_refuses_what_is_no_model(unpack, served, script, tmp_path):
    folder, address = served
    lay_out(unpack, "bird4", "scopes", folder / published.MODELS["bird4"].path)
    page = "<!DOCTYPE html><html>It is somewhere else now</html>"
    (folder / "FUSS_baseline_model.tar.gz").write_text(page)
    (folder / "FUSS_baseline_dry_model.tar.gz").write_text("not an archive")
    names = "bird4", "yfcc100m", "fuss_baseline", "fuss_baseline_dry"
    done = script(*names, GRESEARCH_URL=address, ZENODO_URL=address)
    assert done.returncode == 1
    text = (tmp_path / "published_weights.md").read_text()
    assert "bytes, expected 110260324" in text
    assert "inference.meta cannot be downloaded (HTTP Error 404" in text
    assert "model.tar.gz returned a web page instead of the file" in text
    assert "dry_model.tar.gz is not an archive" in text
    assert done.stdout.count("removed") == 3
    kept = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert kept == {"inference.meta", download.RECORD}
    assert script("nightingale").returncode != 0
