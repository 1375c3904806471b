"""RemixPacks600: songs of four files in any audio format."""

from __future__ import annotations

import numpy as np
import pytest

from common import audio
from common.corpora import remixpacks600
from common.corpora.track import CorpusError


def song(folder, **suffixes):
    folder.mkdir(parents=True)
    default = {"vocals": "wav", "bass": "flac", "drums": "mp3", "other": "ogg"}
    for name, suffix in {**default, **suffixes}.items():
        if suffix:
            wave = np.full((2, 4000), 0.1, np.float32)
            audio.write(folder / f"{name}.{suffix}", wave, 16000, suffix)


@pytest.fixture
def root(tmp_path):
    for number in range(5):
        song(tmp_path / "remixpacks600/organized_train" / f"Song {number}")
    return tmp_path


def test_a_source_may_have_any_audio_format(root):
    for folder in (root, root / "remixpacks600"):
        train = remixpacks600.tracks(folder, "train")
        valid = remixpacks600.tracks(folder, "valid")
        assert (len(train), len(valid)) == (4, 1)
        assert not {each.name for each in train} & {each.name for each in valid}
    assert list(train[0].sources) == ["vocals", "drums", "bass", "other"]
    suffixes = [each.suffix for each in train[0].sources.values()]
    assert suffixes == [".wav", ".mp3", ".flac", ".ogg"]
    assert (train[0].sample_rate, train[0].samples) == (16000, 4000)
    assert train[0].mixture is None


def test_existing_folders_of_splits_are_kept(root):
    song(root / "remixpacks600/organized_valid" / "a")
    song(root / "remixpacks600/test" / "b")
    assert len(remixpacks600.tracks(root, "train")) == 5
    assert [each.name for each in remixpacks600.tracks(root, "valid")] == ["a"]
    assert [each.name for each in remixpacks600.tracks(root, "test")] == ["b"]


def test_a_song_that_lacks_a_file_raises(root, caplog):
    song(root / "remixpacks600/organized_test/x", bass=None)
    song(root / "remixpacks600/organized_test/y")
    message = r"1 of 2 tracks lack a file, first: .*organized_test/x/bass\.\*"
    with pytest.raises(CorpusError, match=message):
        remixpacks600.tracks(root, "test")
    assert len(remixpacks600.tracks(root, "test", skip=True)) == 1
    assert "1 of 2" in caplog.text


def test_missing_splits_and_folders_raise(root, tmp_path):
    with pytest.raises(CorpusError, match=r"'test' is empty.*organized_test.*MUSDB18"):
        remixpacks600.tracks(root, "test")
    with pytest.raises(CorpusError, match="no split 'eval'"):
        remixpacks600.tracks(root, "eval")
    (tmp_path / "bare" / "train").mkdir(parents=True)
    with pytest.raises(CorpusError, match="a folder for each song and holds nothing"):
        remixpacks600.tracks(tmp_path / "bare", "train")
