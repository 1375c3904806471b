"""Which corpus a configuration means, and what is said where it means none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.config import ConfigError
from common.corpora import musdb
from common.corpora.track import CorpusError
from common.synthetic import miniature
from unmix import corpus
from unmix.config import PRESETS, UnmixConfig

FOLDERS = {
    "aligned": {"input_file": "mixture.wav", "output_file": "vocals.wav"},
    "sourcefolder": {"target_dir": "vocals", "interferer_dirs": ("noise",)},
    "unaligned": {"target_dir": "vocals", "interferer_dirs": ("noise",)},
    "trackfolder_fix": {"target_file": "vocals.wav", "interferer_files": ("b.wav",)},
    "trackfolder_var": {"target_file": "vocals.wav"},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("dataset", FOLDERS)
def test_folders_need_a_root_and_their_names(tmp_path, dataset):
    config = UnmixConfig(dataset=dataset, **FOLDERS[dataset])
    assert corpus.targets(config) == ("vocals",)
    with pytest.raises(ConfigError, match=f"root is not set; dataset={dataset} needs"):
        corpus.root(config)
    assert corpus.root(replace(config, root=str(tmp_path))) == tmp_path
    with pytest.raises(CorpusError, match=r"the root .*/nowhere does not exist"):
        corpus.root(replace(config, root=str(tmp_path / "nowhere")))
    for key in FOLDERS[dataset]:
        empty = () if isinstance(FOLDERS[dataset][key], tuple) else None
        with pytest.raises(ConfigError, match=f"--{key.replace('_', '-')}"):
            corpus.root(replace(config, root=str(tmp_path), **{key: empty}))


@pytest.mark.parametrize("dataset", FOLDERS)
def test_an_empty_split_is_one_sentence(tmp_path, dataset):
    (tmp_path / "train").mkdir()
    config = UnmixConfig(dataset=dataset, root=str(tmp_path), **FOLDERS[dataset])
    with pytest.raises(CorpusError, match=r"is empty|does not exist"):
        corpus.tracks(config, corpus.root(config), "train")


def test_previews_are_taken_and_announced_where_they_are_asked_for(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "train").mkdir()
    monkeypatch.setattr(musdb, "preview", lambda: tmp_path)
    assert corpus.root(replace(PRESETS["umx"], root="previews")) == tmp_path
    assert "7-second previews of MUSDB18" in capsys.readouterr().out


def test_a_published_preset_without_a_root_is_refused(monkeypatch):
    monkeypatch.setattr(musdb, "preview", lambda: pytest.fail("downloaded"))
    sentence = "root is not set; .*MUSDB18_ROOT_DIR.*'with tiny'.*root=previews"
    for name in PRESETS:
        if name != "tiny":
            config = replace(PRESETS[name], dataset="musdb", root=None)
            with pytest.raises(ConfigError, match=sentence):
                corpus.root(config)


def test_previews_offline_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSDB_PREVIEW_URL", (tmp_path / "none.zip").as_uri())
    with pytest.raises(CorpusError, match="needs the internet: name the folder"):
        corpus.root(replace(PRESETS["umx"], root="previews"))


def test_tiny_takes_the_miniature_at_its_rate_without_asking(monkeypatch):
    monkeypatch.setattr(miniature, "write_musdb", lambda place, **k: place)
    monkeypatch.setattr(musdb, "preview", lambda: pytest.fail("asked the network"))
    assert corpus.root(PRESETS["tiny"]).name == "musdb-16000"


def test_an_unknown_target_is_named():
    config = UnmixConfig(target=("vocals", "piano"))
    with pytest.raises(ConfigError, match=r"target='piano' is no source of MUSDB18"):
        [corpus.parts(config, target) for target in corpus.targets(config)]
    assert corpus.parts(config, "accompaniment") == ("drums", "bass", "other")


def test_the_sources_of_mir1k_are_targets(tmp_path):
    miniature.write_mir1k(tmp_path / "mir1k", seconds=0.2, train=4, test=2)
    both = ("vocals", "accompaniment")
    config = UnmixConfig(
        dataset="mir1k", root=str(tmp_path / "mir1k"), target=both, miniature=False
    )
    train = corpus.tracks(config, corpus.root(config), "train")
    assert {tuple(track.sources) for track in train} == {both}
    assert corpus.targets(config) == both
    assert [corpus.parts(config, target) for target in both] == [(both[0],), (both[1],)]
    with pytest.raises(
        ConfigError, match=r"'drums' is no source of MIR-1K.*vocals, acc"
    ):
        corpus.parts(config, "drums")
    with pytest.raises(ConfigError, match="root is not set; dataset=mir1k needs"):
        corpus.root(replace(config, root=None))
