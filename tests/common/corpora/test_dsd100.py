"""DSD100: mixtures and sources in two folders, joined by the names of songs."""

from __future__ import annotations

import numpy as np
import pytest

from common.corpora import catalogue, dsd100, waveforms
from common.corpora.track import CorpusError
from common.synthetic import miniature


@pytest.fixture(scope="module")
def miniature_corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("dsd") / "DSD100"
    return miniature.write_dsd100(root, sample_rate=8000, seconds=0.5, train=2, test=1)


@pytest.fixture
def root(miniature_corpus, tmp_path):
    """Return a copy of the corpus whose files a test may remove."""
    for file in miniature_corpus.rglob("*.wav"):
        link = tmp_path / "DSD100" / file.relative_to(miniature_corpus)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(file)
    return tmp_path


@pytest.mark.parametrize(("split", "count"), [("train", 2), ("test", 1)])
def test_mixtures_are_exact_sums(root, split, count, caplog):
    tracks = dsd100.tracks(root, split)
    assert len(tracks) == count
    assert (
        f"the split '{split}' has {count} tracks, the published set 50" in caplog.text
    )
    for track in tracks:
        assert list(track.sources) == ["vocals", "drums", "bass", "other"]
        assert (track.sample_rate, track.samples) == (8000, 4000)
        waves = [waveforms.read(each, 0)[0] for each in track.sources.values()]
        mixture = waveforms.read(track.mixture, 0)[0]
        np.testing.assert_array_equal(mixture, np.sum(waves, axis=0, dtype=np.float64))
    assert tracks == dsd100.tracks(root / "DSD100", split)


def test_a_song_without_a_stem_raises_or_is_left_out(root):
    song = root / "DSD100/Sources/Dev/001 - Miniature train - Song 01"
    (song / "bass.wav").unlink()
    with pytest.raises(CorpusError, match=rf"1 of 2 tracks lack a file, first: {song}"):
        dsd100.tracks(root, "train")
    assert [each.name[:3] for each in dsd100.tracks(root, "train", skip=True)] == [
        "002"
    ]


def test_missing_splits_and_folders_raise(root, tmp_path):
    with pytest.raises(CorpusError, match=r"DSD100: no split 'valid'; it has train"):
        dsd100.tracks(root, "valid")
    with pytest.raises(CorpusError, match=r"nowhere does not exist"):
        dsd100.tracks(root / "nowhere", "train")
    with pytest.raises(
        CorpusError, match=r"should hold Mixtures and Sources and holds"
    ):
        dsd100.tracks(root / "DSD100/Sources", "train")
    empty = tmp_path / "empty"
    (empty / "Mixtures/Dev").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"'train' is empty: .*Dev .* holds nothing"):
        dsd100.tracks(empty, "train")
    with pytest.raises(CorpusError, match=r"Mixtures/Test does not exist"):
        dsd100.tracks(empty, "test")


def test_a_tenth_of_the_songs_of_training_is_the_validation(tmp_path):
    root = miniature.write_dsd100(
        tmp_path, sample_rate=8000, seconds=0.1, train=20, test=1
    )
    parts = [catalogue.tracks("dsd100", root, split) for split in ("train", "valid")]
    assert [len(part) for part in parts] == [18, 2]
    together = {track.name for part in parts for track in part}
    assert together == {track.name for track in dsd100.tracks(root, "train")}


def test_a_corpus_that_cannot_be_divided_raises(tmp_path):
    root = miniature.write_dsd100(
        tmp_path, sample_rate=8000, seconds=0.1, train=1, test=1
    )
    assert len(catalogue.tracks("dsd100", root, "train")) == 1
    with pytest.raises(CorpusError, match=r"'valid' is empty, .* one complete song"):
        catalogue.tracks("dsd100", root, "valid")
    with pytest.raises(CorpusError, match="no split 'eval'; it has train, valid, test"):
        catalogue.tracks("dsd100", root, "eval")
