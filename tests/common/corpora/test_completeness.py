"""Whether a corpus is all there, and what is said where it is not."""

import numpy as np
import pytest
import soundfile

from common.corpora import completeness
from common.corpora.track import CorpusError


def rows(folder, *files):
    """Tracks of one source and a mixture, of whose files only some are there."""
    for name in files:
        soundfile.write(folder / f"{name}.wav", np.zeros(9), 8000)
    return [
        (name, {"x": folder / f"{name}.wav"}, folder / f"{name}-mix.wav")
        for name in "ab"
    ]


def test_a_track_without_its_mixture_is_not_complete(tmp_path, caplog):
    laid_out = rows(tmp_path, "a", "a-mix", "b")
    with pytest.raises(CorpusError, match=r"1 of 2 tracks lack a file, first: .*b-mix"):
        completeness.complete("x", laid_out)
    assert completeness.complete("x", laid_out, skip=True) == laid_out[:1]
    assert "b-mix.wav; these are left out" in caplog.text


def test_a_corpus_of_which_every_track_lacks_a_file_is_refused(tmp_path):
    laid_out = rows(tmp_path, "a", "b-mix")
    with pytest.raises(CorpusError, match="2 of 2 tracks lack a file"):
        completeness.complete("x", laid_out, skip=True)


def test_another_number_of_tracks_than_published_is_said(caplog):
    completeness.expect_count("x", "test", 50, (50,))
    assert not caplog.records
    completeness.expect_count("x", "test", 49, (50, 51))
    (record,) = caplog.records
    assert "has 49 tracks, the published set 50 or 51" in record.getMessage()


def test_an_undivided_corpus_is_divided_always_alike(caplog):
    parts = {s: completeness.part_of("x", range(30), s) for s in completeness.SPLITS}
    assert [len(part) for part in parts.values()] == [24, 3, 3]
    assert sorted(item for part in parts.values() for item in part) == [*range(30)]
    (record,) = caplog.records
    assert "a tenth of 30 is held out for valid and a tenth for" in record.getMessage()
    assert completeness.part_of("x", range(30), "test") == parts["test"]


@pytest.mark.parametrize("made", [["train"], ["train", "valid", "test"]])
def test_the_root_is_a_split_only_where_no_split_has_a_folder(tmp_path, made):
    assert completeness.place_of("x", tmp_path, "test", "sounds") == tmp_path
    for split in made:
        (tmp_path / split).mkdir()
    assert completeness.place_of("x", tmp_path, None, "sounds") == tmp_path
    if "test" in made:
        place = completeness.place_of("x", tmp_path, "test", "sounds")
        assert place == tmp_path / "test"
    else:
        with pytest.raises(CorpusError, match=r"test does not exist"):
            completeness.place_of("x", tmp_path, "test", "sounds")
