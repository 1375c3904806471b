"""Published networks are found by name, downloaded once, and separate."""

import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import clustering
from clustering import convert, published, separate, weights
from clustering.light import levelled
from common import download
from common.download import DownloadError
from common.training.checkpoint import CheckpointError
from common.weights import registry
from common.weights.locate import locate_model

GOLDEN = Path(__file__).parents[1] / "golden" / "clustering" / "published"
NAME = "convtasnet_libri2mix"


class Handler(http.server.BaseHTTPRequestHandler):
    """Server of one file for all paths."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server(cache, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.content = (GOLDEN / "asteroid_noisy.pth").read_bytes()
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("CLUSTERING_URL", f"http://127.0.0.1:{running.server_port}")
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLUSTERING_URL", "http://127.0.0.1:1")
    return tmp_path / "cache"


def put(name, file):
    path = published.path_of(name)
    path.parent.mkdir(parents=True)
    path.write_bytes((GOLDEN / file).read_bytes())


def test_a_publication_is_downloaded_once_and_its_digest_kept(server):
    separator = clustering.load(NAME)
    assert (separator.sample_rate, separator.sources) == (8000, ("source0", "source1"))
    path = f"/JorisCos/ConvTasNet_Libri2Mix_sepclean_8k/{'resolve/main'}"
    assert server.asked == [f"{path}/pytorch_model.bin"]
    clustering.load("JorisCos/ConvTasNet_Libri2Mix_sepclean_8k")
    assert len(server.asked) == 1
    record = download.recorded(published.path_of(NAME))
    assert record.size == len(server.content)
    (entry,) = (each for each in published.entries() if each.name == NAME)
    assert (entry.cached, entry.files[0].sha256) == (True, record.sha256)
    assert "comes with" not in registry.fetch(entry)
    assert entry.facts["checked"] == "verified on a synthetic file of the same layout"
    published.path_of(NAME).unlink()
    server.content += b" "
    with pytest.raises(DownloadError, match="at the first download"):
        published.fetch(NAME)


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [
        (NAME, "asteroid_noisy.pth", "noisy"),
        ("conv_tasnet_base_libri2mix", "torchaudio.pt", "torchaudio"),
    ],
)
def test_the_command_separates_by_a_cached_publication(
    cache, tmp_path, capsys, name, file, key
):
    put(name, file)
    with np.load(GOLDEN / "reference.npz") as golden:
        # asteroid leaves out what is no whole frame, so take whole frames.
        sound = golden["long_sound" if key == "torchaudio" else "sound"][0]
        sound = sound if key == "torchaudio" else sound[:200]
        estimates = golden[key][:1, :, : len(sound)]
    (estimates,) = levelled(estimates, sound[np.newaxis])
    soundfile.write(tmp_path / "talk.wav", sound, 8000, "FLOAT")
    arguments = [str(tmp_path / "talk.wav"), "--model", name]
    assert separate.main([*arguments, "--output", str(tmp_path / "stems")]) == 0
    stems = sorted((tmp_path / "stems").rglob("source*.wav"))
    actual = np.stack([soundfile.read(path, dtype="float32")[0] for path in stems])
    np.testing.assert_allclose(actual, estimates, atol=1e-5 * abs(estimates).max())
    assert convert.main([name, "--check"]) == 0
    assert "largest difference" in capsys.readouterr().out


def test_a_rate_that_a_file_lacks_is_that_of_its_publication(cache):
    put("conv_tasnet_base_libri2mix", "torchaudio.pt")
    assert weights.restore("CONVTASNET_BASE_LIBRI2MIX").config.sample_rate == 8000
    with pytest.raises(CheckpointError, match="so latest cannot be chosen"):
        weights.restore("convtasnet_wham", checkpoint="latest")
    with pytest.raises(CheckpointError, match="does not state its sample rate"):
        weights.restore(GOLDEN / "torchaudio.pt")


def test_names(tmp_path, monkeypatch):
    alias = locate_model("mpariente/ConvTasNet_WHAM!_sepclean", weights.MODELS)
    assert (alias.name, alias.published) == ("convtasnet_wham", True)
    assert not locate_model("speech2", weights.MODELS).published
    monkeypatch.chdir(tmp_path)
    (tmp_path / "convtasnet_wham").mkdir()
    assert not locate_model("convtasnet_wham", weights.MODELS).published
    with pytest.raises(CheckpointError, match=r"convtasnet_wham, conv_tasnet_base"):
        weights.restore("convtasnet_wham")


def test_without_a_network_the_error_names_the_address(cache, capsys):
    assert convert.main(["convtasnet_wham", "--check"]) == 1
    error = capsys.readouterr().err
    address = "http://127.0.0.1:1/mpariente/ConvTasNet_WHAM_sepclean/resolve/main"
    assert f"{address}/pytorch_model.bin cannot be downloaded" in error
    assert error.count("\n") == 1


def test_the_registry_lists_publications(cache, capsys):
    assert registry.main(["show", "clustering/convtasnet_wham", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["licence"].startswith("CC BY-SA 4.0; the notice in its card says 3.0")
    assert entry["source"].endswith("huggingface.co/mpariente/ConvTasNet_WHAM_sepclean")
    assert entry["files"][0]["sha256"] is None
    assert entry["cached"] is False
