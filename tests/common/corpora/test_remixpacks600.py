"""RemixPacks600: songs of four files of any kind."""

from __future__ import annotations

import numpy as np
import pytest

from common import audio
from common.corpora import remixpacks600
from common.corpora.track import CorpusError


def song(place, **kinds):
    place.mkdir(parents=True)
    kinds = {"vocals": "wav", "bass": "flac", "drums": "mp3", "other": "ogg", **kinds}
    for name, kind in kinds.items():
        if kind:
            wave = np.full((2, 4000), 0.1, np.float32)
            audio.write(place / f"{name}.{kind}", wave, 16000, kind)


@pytest.fixture
def root(tmp_path):
    for number in range(5):
        song(tmp_path / "remixpacks600/organized_train" / f"Song {number}")
    return tmp_path


def test_any_kind_of_file_is_a_source(root):
    for place in (root, root / "remixpacks600"):
        train = remixpacks600.tracks(place, "train")
        valid = remixpacks600.tracks(place, "valid")
        assert (len(train), len(valid)) == (4, 1)
        assert not {each.name for each in train} & {each.name for each in valid}
    assert list(train[0].sources) == ["vocals", "drums", "bass", "other"]
    suffixes = [each.suffix for each in train[0].sources.values()]
    assert suffixes == [".wav", ".mp3", ".flac", ".ogg"]
    assert (train[0].sample_rate, train[0].samples) == (16000, 4000)
    assert train[0].mixture is None


def test_own_folders_are_taken_as_they_are(root):
    song(root / "remixpacks600/organized_valid" / "a")
    song(root / "remixpacks600/test" / "b")
    assert len(remixpacks600.tracks(root, "train")) == 5
    assert [each.name for each in remixpacks600.tracks(root, "valid")] == ["a"]
    assert [each.name for each in remixpacks600.tracks(root, "test")] == ["b"]


def test_a_song_that_lacks_a_file_is_named(root, caplog):
    song(root / "remixpacks600/organized_test/x", bass=None)
    song(root / "remixpacks600/organized_test/y")
    message = r"1 of 2 tracks lack a file, first: .*organized_test/x/bass\.\*"
    with pytest.raises(CorpusError, match=message):
        remixpacks600.tracks(root, "test")
    assert len(remixpacks600.tracks(root, "test", skip=True)) == 1
    assert "1 of 2" in caplog.text
    few = remixpacks600.tracks(root, "test", sources=["vocals", "drums"])
    assert [list(each.sources) for each in few] == [["vocals", "drums"]] * 2


def test_what_is_not_there_is_told(root, tmp_path):
    with pytest.raises(CorpusError, match=r"'test' is empty.*organized_test.*MUSDB18"):
        remixpacks600.tracks(root, "test")
    with pytest.raises(CorpusError, match="no split 'eval'"):
        remixpacks600.tracks(root, "eval")
    (tmp_path / "bare" / "train").mkdir(parents=True)
    with pytest.raises(CorpusError, match="a folder for each song and holds nothing"):
        remixpacks600.tracks(tmp_path / "bare", "train")
