"""Every corpus in the catalogue, read from its miniature."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from common.corpora import catalogue
from common.corpora.catalogue import CORPORA
from common.corpora.track import CorpusError, CorpusName, Options
from common.synthetic.miniature import WRITERS

SOURCES = {
    "musdb": {"vocals", "drums", "bass", "other"},
    "moisesdb": {"vocals", "drums", "bass", "other"},
    "dsd100": {"vocals", "drums", "bass", "other"},
    "ccmixter": {"vocals", "accompaniment"},
    "mir1k": {"vocals", "accompaniment"},
    "remixpacks600": {"vocals", "drums", "bass", "other"},
    "song_folders": {"vocals", "drums", "bass", "other"},
    "wsj0_2mix": {"s1", "s2"},
    "wsj0_3mix": {"s1", "s2", "s3"},
    "wham": {"s1", "s2"},
}
SONGS = {name: {"songs": 10} for name in ("moisesdb", "ccmixter")}
SPEECH = {
    name: {"train": 4, "validation": 2, "test": 2}
    for name in ("wsj0_2mix", "wsj0_3mix", "wham")
}
FEW = {"seconds": 1.0, "train": 12, "test": 2}
COUNTS = {**SONGS, **SPEECH, "fuss": {"train": 4, "validation": 2, "eval": 2}}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """Write each miniature once, with as few tracks as its splits need."""
    written = {}

    def folder(name):
        if name not in written:
            path = tmp_path_factory.mktemp("corpora") / name
            counts = COUNTS.get(name, FEW)
            written[name] = WRITERS[name](path, sample_rate=8000, **counts)
        return written[name]

    return folder


@pytest.mark.parametrize("name", sorted(set(CORPORA) - {"mix_folders"}))
def test_every_corpus_has_three_disjoint_splits(name, miniature):
    splits = [
        catalogue.tracks(name, miniature(name), split)
        for split in ("train", "valid", "test")
    ]
    files = [
        {(str(sound), track.sample_rate) for sound in track.sources.values()}
        for split in splits
        for track in split
    ]
    assert all(splits)
    assert len(set().union(*files)) == sum(map(len, files))
    assert all(track.sources for split in splits for track in split)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_sources_have_the_names_of_the_corpus(name, miniature):
    tracks = catalogue.tracks(name, miniature(name), "train")
    assert set(tracks[0].sources) == SOURCES[name]


def test_an_option_reaches_its_corpus(miniature):
    clean = catalogue.tracks(
        "wham", miniature("wham"), "test", Options(task="mix_clean")
    )
    noisy = catalogue.tracks("wham", miniature("wham"), "test")
    assert clean[0].mixture != noisy[0].mixture


def test_tracks_are_cut_to_their_shortest_file_if_allowed(tmp_path):
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    for name, samples in (("vocals", 40_000), ("band", 8000)):
        soundfile.write(folder / f"{name}.wav", np.zeros(samples), 8000)
    with pytest.raises(CorpusError, match="allow_cut=true cuts it"):
        catalogue.tracks("song_folders", tmp_path, "train")
    cut = Options(allow_cut=True)
    (track,) = catalogue.tracks("song_folders", tmp_path, "train", cut)
    assert track.samples == 8000


def test_an_unknown_corpus_raises_with_the_known_names():
    with pytest.raises(CorpusError, match=r"'mus' is unknown; expected one of fuss, "):
        catalogue.tracks("mus", "somewhere", "train")


def test_every_corpus_has_a_name_that_configurations_take():
    assert set(get_args(CorpusName)) == set(CORPORA)


@pytest.mark.parametrize("name", CORPORA)
def test_a_root_that_is_a_file_is_called_one(name):
    with pytest.raises(CorpusError, match=r"test_catalogue.py is a file, not a folder"):
        catalogue.tracks(name, Path(__file__), "train")
