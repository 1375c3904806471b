"""Completeness of a corpus: errors and warnings for missing files and tracks."""

import numpy as np
import pytest
import soundfile

from common.corpora import completeness
from common.corpora.track import CorpusError


def rows(folder, *files):
    """Return two tracks of one source and a mixture, of which only ``files`` exist."""
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


def test_a_corpus_without_a_complete_track_raises(tmp_path):
    laid_out = rows(tmp_path, "a", "b-mix")
    with pytest.raises(CorpusError, match="2 of 2 tracks lack a file"):
        completeness.complete("x", laid_out, skip=True)


def test_another_number_of_tracks_than_published_warns(caplog):
    completeness.expect_count("x", "test", 50, (50,))
    assert not caplog.records
    completeness.expect_count("x", "test", 49, (50, 51))
    (record,) = caplog.records
    assert "has 49 tracks, the published set 50 or 51" in record.getMessage()


def test_a_corpus_without_splits_is_divided_reproducibly(caplog):
    parts = {s: completeness.part_of("x", range(30), s) for s in completeness.SPLITS}
    assert [len(part) for part in parts.values()] == [24, 3, 3]
    assert sorted(item for part in parts.values() for item in part) == [*range(30)]
    (record,) = caplog.records
    assert "a tenth of 30 is held out for valid and a tenth for" in record.getMessage()
    assert completeness.part_of("x", range(30), "test") == parts["test"]


@pytest.mark.parametrize("splits", [["train"], ["train", "valid", "test"]])
def test_the_root_is_a_split_only_without_folders_of_splits(tmp_path, splits):
    assert completeness.split_folder("x", tmp_path, "test", "sounds") == tmp_path
    for split in splits:
        (tmp_path / split).mkdir()
    assert completeness.split_folder("x", tmp_path, None, "sounds") == tmp_path
    if "test" in splits:
        folder = completeness.split_folder("x", tmp_path, "test", "sounds")
        assert folder == tmp_path / "test"
    else:
        with pytest.raises(CorpusError, match=r"test does not exist"):
            completeness.split_folder("x", tmp_path, "test", "sounds")
