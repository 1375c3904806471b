"""Weights are found by name, folder and checkpoint, and downloaded once and whole."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import unmix
from common import audio, download
from common import config as configuration
from common.config import ConfigError
from common.corpora import musdb
from common.download import DownloadError, expected_digest
from common.synthetic import miniature
from common.training.checkpoint import CheckpointError, save_network
from common.weights.locate import locate_model
from unmix import published, weights
from unmix.config import TINY, Network
from unmix.model import OpenUnmix
from unmix.openunmix import original_folder

REPOSITORY = Path(__file__).parents[2]
MICRO = Network(8000, 128, 32, 2, 16, 3, True, 3200.0, 0.4)
CONTENT = bytes(range(256)) * 40


def network(bidirectional=True, layers=1, **changes):
    small = replace(MICRO, layers=layers, hidden_size=8, bidirectional=bidirectional)
    return OpenUnmix(replace(small, **changes))


def assert_equal(one, two):
    ours, theirs = map(original_folder.variables, (one, two))
    assert ours.keys() == theirs.keys()
    for name, variable in ours.items():
        np.testing.assert_array_equal(theirs[name], variable, err_msg=name)


def test_a_folder_without_weights_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds neither config\.json nor"):
        weights.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"does not exist; expected .* umxhq"):
        weights.load(tmp_path / "none")


def test_a_checkpoint_cannot_be_chosen_of_weights_without_a_run(folder):
    for path in ("umxhq", folder):
        with pytest.raises(CheckpointError, match=r"is no run folder, so latest"):
            weights.load(path, checkpoint="latest")


def test_the_configuration_of_a_run(folder):
    assert weights.run_config("mini").target == ("vocals",)
    assert weights.run_config("umxhq") is None
    assert weights.run_config(folder) is None
    with pytest.raises(CheckpointError, match=r"holds neither config\.json nor a file"):
        weights.run_config(Path(__file__).parent)
    with pytest.raises(CheckpointError, match="nowhere does not exist; expected"):
        weights.run_config("nowhere")


def test_run_folder(tmp_path):
    model = network(dropout=0.4, layers=2)
    config = replace(TINY, model=model.config, target=("vocals",))
    save_network(tmp_path, model)
    configuration.save(config, tmp_path / "config.json")
    loaded = weights.load(tmp_path)
    assert loaded["vocals"].config == model.config
    assert_equal(loaded["vocals"], model)


def test_run_folders_of_several_targets(tmp_path):
    models = {"drums": network(), "choir": network(), "vocals": network()}
    for target, model in models.items():
        save_network(tmp_path / target, model)
        config = replace(TINY, model=model.config, target=(target,))
        configuration.save(config, tmp_path / target / "config.json")
    loaded = weights.load(tmp_path)
    assert list(loaded) == ["vocals", "drums", "choir"]
    for target, model in loaded.items():
        assert_equal(model, models[target])


def test_run_folder_of_targets_trained_together(tmp_path):
    models = {"vocals": network(), "drums": network()}
    together = keras.Model()
    together.network = models
    tf.train.Checkpoint(network=together.network).save(str(tmp_path / "best" / "step"))
    config = replace(TINY, model=network().config, target=("vocals", "drums"))
    configuration.save(config, tmp_path / "config.json")
    loaded = weights.load(tmp_path)
    for target, model in models.items():
        assert_equal(loaded[target], model)


def test_start_from(folder):
    model = OpenUnmix(replace(MICRO, dropout=0.0, bandwidth=3210.0))
    weights.start_from(model, folder, "vocals")
    assert_equal(model, weights.load(folder)["vocals"])
    wider = OpenUnmix(replace(MICRO, hidden_size=32, hop_samples=64))
    with pytest.raises(
        ConfigError,
        match=r"model\.hop_samples=32, model\.hidden_size=16, expected 64, 32",
    ):
        weights.start_from(wider, folder, "vocals")


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Music that is in no training set."""
    folder = tmp_path_factory.mktemp("new") / "musdb"
    corpus = miniature.write_musdb(folder, seed=77, sample_rate=16000, train=1, test=1)
    (track,) = musdb.tracks(corpus, "test")
    return track


@pytest.mark.one_lane
def test_the_bundled_model_separates_unknown_music(song):
    separator = unmix.load("mini")
    assert separator.sources == musdb.SOURCES
    mixture = audio.read(song.mixture)[0]
    for name, estimate in separator(mixture).items():
        source = audio.read(song.sources[name])[0]
        gain = _sdr(source, estimate) - _sdr(source, mixture)
        assert gain > (5 if name in ("vocals", "drums") else 3), name


def _sdr(reference, estimate):
    noise = np.square(reference - estimate).sum()
    return 10 * np.log10(np.square(reference).sum() / noise)


@pytest.mark.slow
def test_a_file_is_separated_offline_from_a_clone(song, tmp_path):
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--no-hardlinks", str(REPOSITORY), str(clone)]
    subprocess.run(command, check=True)
    command = [sys.executable, "-m", "unmix.separate", str(song.mixture)]
    command += ["--model", "mini", "--output", str(tmp_path / "stems")]
    # Nothing answers at this port, and there is no cache.
    offline = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")
    home = {"HOME": str(tmp_path), "SEPARATION_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command,
        cwd=clone,
        env={**os.environ, **offline, **home, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {path.stem for path in (tmp_path / "stems").rglob("*.wav")}
    assert written == set(musdb.SOURCES)


class Handler(http.server.BaseHTTPRequestHandler):
    """Server of one content for all paths."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with one publication, ``small``, of two targets."""
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
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


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_addresses(monkeypatch):
    monkeypatch.delenv("UNMIX_URL", raising=False)
    urls = [
        model.url(file)
        for model in published.MODELS.values()
        for file in model.files.values()
    ]
    assert len(set(urls)) == 17
    zenodo = "https://zenodo.org/records"
    assert f"{zenodo}/3370489/files/vocals-b62c91ce.pth" in urls
    assert f"{zenodo}/3370486/files/bass-646024d3.pth" in urls
    assert f"{zenodo}/5069601/files/drums-69e0ebd4.pth" in urls
    assert f"{zenodo}/3786908/files/noise_04a6fc2d.pth" in urls
    assert f"{zenodo}/7128659/files/pretrained_xumxl.pth" in urls
    assert list(published.MODELS["umxl"].files) == ["vocals", "drums", "bass", "other"]
    assert list(published.MODELS["umxse"].files) == ["speech", "noise"]
    for model in published.MODELS.values():
        for file in model.files.values():
            digest = expected_digest(published.folder("x") / file)
            # asteroid's names have none: the first download records it.
            assert (digest is None) == model.network.bridged
    assert published.MODELS["umxl"].licence == "CC BY-NC-SA 4.0"


def test_download_once(server):
    actual = published.fetch("small")
    assert list(actual) == ["vocals", "bass"]
    assert actual["vocals"].read_bytes() == CONTENT
    assert server.asked[0] == f"/7/files/{actual['vocals'].name}"
    assert published.fetch("small", ["bass"]) == {"bass": actual["bass"]}
    assert len(server.asked) == 2
    assert names(published.folder("small")) == sorted(
        [*(p.name for p in actual.values()), download.RECORD]
    )


def test_without_a_network_the_error_lists_all_files_and_their_folder(
    server, monkeypatch
):
    monkeypatch.setenv("UNMIX_URL", "http://127.0.0.1:1")
    with pytest.raises(DownloadError) as error:
        published.fetch("small")
    for file in published.MODELS["small"].files.values():
        assert f"http://127.0.0.1:1/7/files/{file}" in str(error.value)
    assert f"into {published.folder('small')}" in str(error.value)


def test_unknown_target(server):
    with pytest.raises(DownloadError, match="small has no target choir; expected one"):
        published.fetch("small", ["choir"])
    assert not server.asked


def test_an_existing_path_is_taken_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate_model("umxhq", weights.MODELS).published
    (tmp_path / "umxhq").mkdir()
    assert not locate_model("umxhq", weights.MODELS).published
