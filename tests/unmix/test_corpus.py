"""Which corpus a configuration names, and the errors where it names none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common.config import ConfigError
from common.corpora import musdb, waveforms
from common.corpora.track import CorpusError
from common.synthetic import miniature
from unmix import corpus, data
from unmix.config import PRESETS, Network, UnmixConfig

FOLDERS = {
    "aligned": {"input_file": "mixture.wav", "output_file": "vocals.wav"},
    "sourcefolder": {"target_dir": "vocals", "interferer_dirs": ("noise",)},
    "unaligned": {"interferer_dirs": ("noise",)},
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
    with pytest.raises(
        ConfigError, match=f"data_root is not set; dataset={dataset} needs"
    ):
        corpus.root(config)
    assert corpus.root(replace(config, data_root=str(tmp_path))) == tmp_path
    with pytest.raises(CorpusError, match=r"the root .*/nowhere does not exist"):
        corpus.root(replace(config, data_root=str(tmp_path / "nowhere")))
    with pytest.raises(CorpusError, match=r"test_corpus.py is a file, not a folder"):
        corpus.root(replace(config, data_root=__file__))
    for key in FOLDERS[dataset]:
        empty = () if isinstance(FOLDERS[dataset][key], tuple) else None
        with pytest.raises(ConfigError, match=f"--{key.replace('_', '-')}"):
            corpus.root(replace(config, data_root=str(tmp_path), **{key: empty}))


@pytest.mark.parametrize("dataset", FOLDERS)
def test_an_empty_split_is_reported_in_one_sentence(tmp_path, dataset):
    (tmp_path / "train").mkdir()
    config = UnmixConfig(dataset=dataset, data_root=str(tmp_path), **FOLDERS[dataset])
    with pytest.raises(CorpusError, match=r"is empty|does not exist"):
        corpus.tracks(config, corpus.root(config), "train")


def test_previews_are_taken_and_announced_where_they_are_asked_for(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "train").mkdir()
    monkeypatch.setattr(musdb, "preview", lambda: tmp_path)
    assert corpus.root(replace(PRESETS["umx"], data_root="previews")) == tmp_path
    assert "7-second previews of MUSDB18" in capsys.readouterr().out


def test_a_published_preset_without_a_root_is_refused(monkeypatch):
    monkeypatch.setattr(musdb, "preview", lambda: pytest.fail("downloaded"))
    sentence = (
        "data_root is not set; .*MUSDB18_ROOT_DIR.*'with tiny'.*data_root=previews"
    )
    for name in PRESETS:
        if name != "tiny":
            config = replace(PRESETS[name], dataset="musdb", data_root=None)
            with pytest.raises(ConfigError, match=sentence):
                corpus.root(config)


def test_previews_offline_are_reported_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSDB_PREVIEW_URL", (tmp_path / "none.zip").as_uri())
    with pytest.raises(CorpusError, match="needs the internet: name the folder"):
        corpus.root(replace(PRESETS["umx"], data_root="previews"))


def test_tiny_takes_the_miniature_at_its_rate_without_asking(monkeypatch):
    monkeypatch.setitem(miniature.WRITERS, "musdb", lambda folder, **k: folder)
    monkeypatch.setattr(musdb, "preview", lambda: pytest.fail("asked the network"))
    assert corpus.root(PRESETS["tiny"]).name == "musdb-16000"


def test_an_unknown_target_is_named():
    config = UnmixConfig(target=("vocals", "piano"))
    sources = musdb.SOURCES
    with pytest.raises(ConfigError, match=r"target='piano' is no source of dataset=mu"):
        [corpus.parts(config, target, sources) for target in corpus.targets(config)]
    assert corpus.parts(config, "accompaniment", sources) == ("drums", "bass", "other")
    karaoke = ("vocals", "accompaniment")
    assert corpus.parts(config, "accompaniment", karaoke) == ("accompaniment",)


@pytest.mark.parametrize(
    ("name", "target", "counts"),
    [
        ("moisesdb", "vocals", {"seconds": 1.0, "songs": 10}),
        ("mir1k", "accompaniment", {"seconds": 1.0, "train": 12, "test": 2}),
        ("fuss", "foreground_1", {"train": 4, "validation": 2, "eval": 2}),
        ("wsj0_2mix", "s2", {"train": 4, "validation": 2, "test": 2}),
    ],
)
def test_corpora_of_the_catalogue_give_excerpts(tmp_path, name, target, counts):
    folder = miniature.WRITERS[name](tmp_path / name, sample_rate=8000, **counts)
    config = replace(
        SHORT,
        model=replace(SHORT.model, sample_rate=8000, channels=1),
        dataset=name,
        data_root=str(folder),
        target=(target,),
        segment_seconds=0.1,
    )
    splits = data.load(config)
    assert splits.train.targets == (target,)
    position = tf.constant(3, tf.int64)
    excerpt = data.training_example(config, splits.train)(position)
    assert excerpt["sources"].shape == (1, splits.train.sounds.channels, 800)
    assert excerpt["mixture"].shape == (splits.train.sounds.channels, 800)
    track = data.validation_example(config, splits.valid)(tf.constant(0, tf.int64))
    assert np.abs(track["mixture"]).max() > 0.0
    with pytest.raises(ConfigError, match=f"'kazoo' is no source of dataset={name}"):
        data.load(replace(config, target=("kazoo",)))


def test_tracks_that_lack_a_file_are_left_out_on_request(tmp_path):
    folder = miniature.write_moisesdb(tmp_path, sample_rate=8000, seconds=1.0, songs=10)
    config = replace(
        SHORT,
        model=replace(SHORT.model, sample_rate=8000, channels=1),
        dataset="moisesdb",
        data_root=str(folder),
    )
    songs = corpus.tracks(config, folder, "train")
    source = next(iter(songs[0].sources.values()))
    next(iter(waveforms.files(source))).unlink()
    with pytest.raises(CorpusError, match="leave incomplete tracks out with skip"):
        corpus.tracks(config, folder, "train")
    skipping = replace(config, skip=True)
    names = [track.name for track in corpus.tracks(skipping, folder, "train")]
    assert songs[0].name not in names
    assert len(names) >= 7
    with pytest.raises(ConfigError, match="skip=true has no effect on dataset=track"):
        corpus.root(replace(SHORT, data_root=str(folder), skip=True))


SHORT = UnmixConfig(
    model=Network(sample_rate=800, window_samples=16, hop_samples=8),
    dataset="trackfolder_fix",
    target_file="x.wav",
    interferer_files=("y.wav",),
    segment_seconds=0.25,
)


def write_tracks(root: Path, *seconds: float) -> UnmixConfig:
    for split in ("train", "valid"):
        for number, length in enumerate(seconds):
            folder = root / split / f"song {number}"
            folder.mkdir(parents=True)
            for name in "xy":
                wave = np.full((round(length * 800), 2), 0.1)
                soundfile.write(folder / f"{name}.wav", wave, 800)
    return replace(SHORT, data_root=str(root))


def test_short_tracks_are_left_out_and_named(tmp_path, capsys):
    train, valid = data.load(write_tracks(tmp_path, 0.25, 0.2, 0.3, 0.1))
    assert (train.rows, valid.rows) == (2, 4)
    assert (
        "leaving out 2 of 4 tracks of the split 'train', shorter than segment_seconds "
        "(0.25 s), such as song 1 (0.20 s)"
    ) in capsys.readouterr().out


def test_only_short_tracks_are_an_error(tmp_path):
    with pytest.raises(
        CorpusError,
        match=r"no track is left: 2 of 2 .*shorter than segment_seconds \(0.25 s\)"
        r".*song 1, lasts 0.20 s; lower segment_seconds",
    ):
        data.load(write_tracks(tmp_path, 0.1, 0.2))


def test_only_short_sounds_of_one_source_are_an_error(tmp_path):
    for split in ("train", "valid"):
        for source, seconds in (("voice", 1.0), ("noise", 0.2)):
            folder = tmp_path / split / source
            folder.mkdir(parents=True)
            soundfile.write(folder / "a.wav", np.full((round(seconds * 800)), 0.1), 800)
    config = replace(
        SHORT,
        dataset="sourcefolder",
        data_root=str(tmp_path),
        target_dir="voice",
        interferer_dirs=("noise",),
    )
    with pytest.raises(CorpusError, match="no track with noise is left: 1 of 2"):
        data.load(config)
