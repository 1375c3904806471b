"""The template of a corpus reads its example layout."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from common import records
from common.corpora import template
from common.corpora.track import CorpusError, Options


def test_files_become_tracks_that_can_be_written_as_records(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("a song_voice", "a song_piano", "b_voice"):
        soundfile.write(tmp_path / "train" / f"{name}.wav", np.full(80, 0.5), 8000)
    tracks = template.tracks(tmp_path, "train", Options())
    assert [(each.name, list(each.sources)) for each in tracks] == [
        ("a song", ["piano", "voice"]),
        ("b", ["voice"]),
    ]
    index = records.write(tracks, tmp_path / "records")
    assert (len(index), index.sources) == (2, ("piano", "voice"))


def test_an_empty_split_raises(tmp_path):
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "x.txt").touch()
    with pytest.raises(CorpusError, match=r"'valid' is empty.* and holds x.txt"):
        template.tracks(tmp_path, "valid", Options())
