"""A manifest holds while nothing changes; a pickle holds samples or is refused."""

from __future__ import annotations

import json
import pickle
import pickletools
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import soundfile

import common
from adversarial import corpus, data, manifest
from adversarial.config import TINY, Corpora
from adversarial.lists import Lists
from common.config import ConfigError
from common.corpora.track import Channel, Sum, Track

RATE = 8000


@pytest.fixture
def root(tmp_path):
    for split in ("train", "valid", "test"):
        for name in ("vocals", "drums", "bass"):
            file = tmp_path / "songs" / split / "one" / f"{name}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, np.full(800, 0.1), RATE)
    return tmp_path / "songs"


@pytest.fixture
def config(root, tmp_path):
    corpora = Corpora(paired="track_folders", root=str(root), unpaired=None)
    return replace(TINY, corpora=replace(corpora, records=str(tmp_path / "records")))


def test_lists_come_back_as_they_were(config, root, monkeypatch):
    found = data.read_lists(config)
    path = manifest.place(config)
    assert path.name == "manifest.json"
    values = json.loads(path.read_text())
    assert (values["schema"], values["settings"]["sample_rate"]) == (1, 8192)
    file = root / "test/one/bass.wav"
    stamp = [str(file), file.stat().st_size, file.stat().st_mtime_ns]
    assert stamp in values["files"]
    monkeypatch.setattr(corpus, "read", lambda config: pytest.fail("looked again"))
    assert data.read_lists(config) == found
    assert isinstance(found.paired[0].sources["accompaniment"], Sum)


def test_channels_and_mixtures_come_back(config, root, tmp_path):
    file = root / "train/one/bass.wav"
    both = Sum((Channel(file, 1), file))
    track = Track("x", RATE, 800, {"vocals": Channel(file, 0)}, both)
    found = Lists([track], [], [], [], [], [])
    manifest.save(found, config, tmp_path / "m.json")
    assert manifest.load(config, tmp_path / "m.json") == found


def change_file(root, config):
    soundfile.write(root / "train/one/bass.wav", np.full(900, 0.1), RATE)
    return config


def remove_file(root, config):
    (root / "train/one/bass.wav").unlink()
    return config


def add_song(root, config):
    (root / "train/two").mkdir()
    return config


def change_rate(root, config):
    return replace(config, model_config=replace(config.model_config, expected_sr=4096))


def change_corpora(root, config):
    return replace(config, corpora=replace(config.corpora, silent=False))


def damage(root, config):
    path = manifest.place(config)
    path.write_text(path.read_text()[:-20])
    return config


def other_schema(root, config):
    path = manifest.place(config)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 0'))
    return config


def other_version(root, config):
    path = manifest.place(config)
    written = f'"version": "{common.__version__}"'
    path.write_text(path.read_text().replace(written, '"version": "0.0"'))
    return config


@pytest.mark.parametrize(
    "change",
    [
        change_file,
        remove_file,
        add_song,
        change_rate,
        change_corpora,
        damage,
        other_schema,
        other_version,
    ],
)
def test_a_change_is_noticed(config, root, change):
    data.read_lists(config)
    assert manifest.load(config, manifest.place(config)) is not None
    changed = change(root, config)
    assert manifest.load(changed, manifest.place(config)) is None


def test_without_a_folder_of_records_it_lies_in_the_cache(
    config, tmp_path, monkeypatch
):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    bare = replace(config, corpora=replace(config.corpora, records=None))
    assert manifest.place(bare).parent == tmp_path / "cache/adversarial"
    other = replace(bare, corpora=replace(bare.corpora, silent=False))
    assert manifest.place(bare) != manifest.place(other)


def foreign(tmp_path, root, monkeypatch, protocol):
    """What the original writes, by a class of the original's name."""
    module = ModuleType("Sample")

    class Sample:
        def __init__(self, path):
            self.path, self.sample_rate, self.channels, self.duration = (
                path,
                RATE,
                1,
                1.0,
            )

    Sample.__module__, Sample.__qualname__ = "Sample", "Sample"
    module.Sample = Sample
    monkeypatch.setitem(sys.modules, "Sample", module)
    names = ("bass", "drums", "vocals")
    triple = tuple(Sample(f"songs/train/one/{name}.wav") for name in names)
    content = {"train_sup": [triple], "train_unsup": [[triple[0]], [triple[1]], [1.5]]}
    content["train_unsup"][2] = [triple[2], 1.5]
    content |= {"valid": [(triple[0], triple[1], 0.1)], "test": [triple]}
    path = tmp_path / "dataset.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_foreign_pickle_is_read(tmp_path, root, monkeypatch, protocol):
    path = foreign(tmp_path, root, monkeypatch, protocol)
    monkeypatch.delitem(sys.modules, "Sample")
    found = corpus.read(replace(TINY, corpora=Corpora(foreign_pickle=str(path))))
    assert [len(each) for each in found] == [1, 1, 1, 1, 1, 1]
    assert found.paired[0].mixture == root / "train/one/bass.wav"
    assert list(found.valid[0].sources) == ["accompaniment"]


def test_a_pickle_of_python_2_is_read(tmp_path):
    # An object of a new class and texts that are bytes, as Python 2 writes both.
    text = (
        b"(dp0\nS'train_sup'\np1\n(lp2\nccopy_reg\n_reconstructor\np3\n(cSample\nSample"
        b"\np4\nc__builtin__\nobject\np5\nNtp6\nRp7\n(dp8\nS'path'\np9\nS'caf\\xc3\\xa9'"
        b"\np10\nsbas."
    )
    path = tmp_path / "old.pkl"
    path.write_bytes(text)
    (sample,) = manifest.read_pickle(path)["train_sup"]
    assert isinstance(sample, manifest.Sample)
    assert sample.path == "café"


class Command:
    def __reduce__(self):
        return eval, ("__import__('pathlib').Path('ran').touch()",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"train_sup": [Command()]}, "builtins.eval"),
        ({"train_sup": np.float64(1.0)}, "numpy.*scalar"),
        ({"train_sup": Corpora}, "adversarial.config.Corpora"),
    ],
)
def test_a_pickle_that_names_anything_else_is_refused(
    tmp_path, monkeypatch, content, name
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "dataset.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(
        ConfigError, match=rf"dataset.pkl names {name}, which is not re"
    ):
        manifest.read_pickle(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "cannot be read as a pickle"),
        (b"no pickle at all", "cannot be read as a pickle"),
        (pickle.dumps([1]), "holds list; expected the dictionary"),
        (
            b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\n"
            b"NtR.",
            "an object that is no sample",
        ),
        (pickletools.optimize(pickle.dumps({"a": 1}))[:-1], "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_pickle_is_named(tmp_path, text, sentence):
    path = tmp_path / "dataset.pkl"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=rf"{path} .*{sentence}|{path} {sentence}"):
        manifest.read_pickle(path)
    with pytest.raises(ConfigError, match=r"gone.pkl cannot be read"):
        manifest.read_pickle(tmp_path / "gone.pkl")
