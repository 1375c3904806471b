"""Every corpus with every pillar, each read from its miniature."""

from dataclasses import replace

import pytest

import adversarial.config
import adversarial.songs.corpus
import clustering.corpus
import clustering.presets
import mixit.config
import mixit.data
import unmix.config
import unmix.corpus
from common.corpora import catalogue
from common.corpora.catalogue import CORPORA
from common.corpora.track import Options
from common.synthetic.miniature import WRITERS

RATE = 8000
FEW = {"seconds": 1.0, "train": 12, "test": 4}
SPEECH = {"train": 4, "validation": 2, "test": 2}
COUNTS = {
    "moisesdb": {"seconds": 1.0, "songs": 10},
    "ccmixter": {"seconds": 1.0, "songs": 10},
    "wsj0_2mix": SPEECH,
    "wsj0_3mix": SPEECH,
    "wham": SPEECH,
    "fuss": {"seconds": 1.0, "train": 8, "validation": 4, "eval": 4},
    "mix_folders": {"seconds": 1.0, "train": 4, "valid": 2, "test": 2},
}


@pytest.fixture(scope="module", params=sorted(CORPORA))
def corpus(request, tmp_path_factory):
    """The name of a corpus, its miniature, and its training tracks."""
    name = request.param
    counts = COUNTS.get(name, FEW)
    root = WRITERS[name](
        tmp_path_factory.mktemp("corpora") / name, sample_rate=RATE, **counts
    )
    tracks = catalogue.tracks(name, root, "train", Options(RATE))
    return name, str(root), tracks


def most_sources(tracks):
    return max(tracks, key=lambda track: len(track.sources))


def test_unmix_lists_tracks_and_takes_a_source_as_target(corpus):
    name, root, tracks = corpus
    target = next(iter(tracks[0].sources))
    tiny = unmix.config.TINY
    network = replace(tiny.model, sample_rate=RATE, channels=1)
    keys = {
        "dataset": name,
        "data_root": root,
        "target": (target,),
        "segment_seconds": 0.5,
    }
    config = replace(tiny, model=network, **keys)
    listed = unmix.corpus.tracks(config, unmix.corpus.root(config), "train")
    split = unmix.corpus.open_split(config, "train", listed)
    assert split.targets == (target,)
    assert split.rows


def test_clustering_lists_tracks_of_equal_sources(corpus):
    name, root, _ = corpus
    tiny = clustering.presets.PRESETS["tiny"]
    config = replace(tiny, dataset=name, data_root=root, sample_rate=RATE)
    folder = clustering.corpus.root(config)
    tracks = clustering.corpus.tracks(config, folder, "train")
    assert tracks
    assert all(track.sources for track in tracks)


def test_adversarial_takes_a_source_as_the_voice(corpus):
    name, root, tracks = corpus
    tiny = adversarial.config.PRESETS["tiny"]
    sources = most_sources(tracks).sources
    voice = "vocals" if "vocals" in sources else list(sources)[-1]
    corpora = replace(
        tiny.corpora,
        paired=name,
        data_root=root,
        unpaired=None,
        voice=voice,
        silent=False,
        split="museval",
    )
    if all(set(track.sources) == {voice} for track in tracks):
        pytest.skip("its tracks have one source each")
    songs = adversarial.songs.corpus.list_songs(replace(tiny, corpora=corpora))
    assert set(songs.paired[0].sources) == {"vocals", "accompaniment"}


def test_mixit_makes_mixtures_of_its_sources(corpus):
    name, root, _ = corpus
    tiny = mixit.config.PRESETS["tiny"]
    config = replace(tiny, dataset=name, data_root=root, resample=True)
    folder = mixit.data.root(config)
    tracks = mixit.data.tracks(folder, "train", RATE, name)
    assert tracks
    assert all(track.sources for track in tracks)
