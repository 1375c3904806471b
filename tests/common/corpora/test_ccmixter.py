"""CCMixter: the second source is the voice."""

from __future__ import annotations

import numpy as np
import pytest

from common.corpora import ccmixter, waveforms
from common.corpora.track import CorpusError
from common.synthetic import miniature


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "ccmixter"
    return miniature.write_ccmixter(folder, sample_rate=8000, seconds=0.25, songs=5)


def test_the_second_source_is_the_voice(root, caplog):
    tracks = ccmixter.tracks(root)
    assert len(tracks) == 5
    assert "has 5 tracks, the published set 50" in caplog.text
    for track in tracks:
        assert list(track.sources) == ["vocals", "accompaniment"]
        assert track.sources["vocals"].name == "source-02.wav"
        waves = [waveforms.read(each, 0)[0] for each in track.sources.values()]
        mixture = waveforms.read(track.mixture, 0)[0]
        np.testing.assert_array_equal(mixture, np.sum(waves, axis=0, dtype=np.float64))
        assert np.abs(waves[1]).mean() > 0.003


def test_splits_are_disjoint(root):
    all_names = {each.name for each in ccmixter.tracks(root / "ccmixter_corpus")}
    splits = ("train", "valid", "test")
    parts = [{each.name for each in ccmixter.tracks(root, each)} for each in splits]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert set.union(*parts) == all_names


def test_missing_files_splits_and_folders_raise(root, tmp_path):
    song = root / "ccmixter_corpus/miniature_-_song_03"
    (song / "source-02.wav").unlink()
    with pytest.raises(CorpusError, match=rf"1 of 5 tracks lack a file, first: {song}"):
        ccmixter.tracks(root)
    assert len(ccmixter.tracks(root, skip=True)) == 4
    with pytest.raises(CorpusError, match=r"no split 'dev'"):
        ccmixter.tracks(root, "dev")
    (tmp_path / "other").mkdir()
    with pytest.raises(
        CorpusError, match=r"ccmixter_corpus/<song>/mix.wav and holds no"
    ):
        ccmixter.tracks(tmp_path / "other")
    with pytest.raises(CorpusError, match=r"gone does not exist"):
        ccmixter.tracks(tmp_path / "gone")
