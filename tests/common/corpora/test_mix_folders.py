"""Folders of mixtures and sources with equal file names."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from common.corpora import mix_folders
from common.corpora.track import CorpusError


def sounds(folder, *names, rate=8000):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        soundfile.write(folder / name, np.full(80, 0.25), rate)


def test_files_of_equal_names_are_one_track(tmp_path):
    for folder in ("mix", "voice", "noise"):
        sounds(tmp_path / "train" / folder, "b.wav", "a.flac", ".hidden.wav")
        (tmp_path / "train" / folder / "notes.txt").touch()
    first, second = mix_folders.tracks(tmp_path, "train")
    assert (first.name, second.name, first.samples) == ("a", "b", 80)
    assert list(first.sources) == ["noise", "voice"]
    assert first.sources["voice"] == tmp_path / "train" / "voice" / "a.flac"
    assert first.mixture == tmp_path / "train" / "mix" / "a.flac"
    first, _ = mix_folders.tracks(tmp_path, "train", sources=["voice"])
    assert list(first.sources) == ["voice"]


def test_missing_mixtures_are_sums_and_missing_splits_are_divided(tmp_path):
    for folder in ("voice", "noise"):
        sounds(tmp_path / folder, *(f"{number}.wav" for number in range(20)))
    parts = [
        {each.name for each in mix_folders.tracks(tmp_path, split)}
        for split in ("train", "valid", "test")
    ]
    assert [len(part) for part in parts] == [16, 2, 2]
    assert len(set.union(*parts)) == 20
    assert mix_folders.tracks(tmp_path, "test")[0].mixture is None


@pytest.mark.parametrize("lost", ["mix", "voice"])
def test_incomplete_tracks_raise_or_are_left_out(tmp_path, lost, caplog):
    for folder in ("mix", "voice", "noise"):
        sounds(tmp_path / "test" / folder, *(f"{number}.wav" for number in range(5)))
    for number in (1, 3):
        (tmp_path / "test" / lost / f"{number}.wav").unlink()
    message = rf"2 of 5 tracks lack a file, first: .*test/{lost}/1\.wav; .*skip=True"
    with pytest.raises(CorpusError, match=message):
        mix_folders.tracks(tmp_path, "test")
    tracks = mix_folders.tracks(tmp_path, "test", skip=True)
    assert [each.name for each in tracks] == ["0", "2", "4"]
    assert "2 of 5 tracks lack a file" in caplog.text
    assert "are left out" in caplog.text


def test_no_complete_track_raises(tmp_path):
    sounds(tmp_path / "test" / "voice", "a.wav")
    sounds(tmp_path / "test" / "noise", "b.wav")
    with pytest.raises(CorpusError, match="2 of 2 tracks lack a file"):
        mix_folders.tracks(tmp_path, "test", skip=True)


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (
            lambda at: None,
            {},
            "should hold a folder for each source and holds nothing",
        ),
        (lambda at: sounds(at / "mix", "a.wav"), {}, "each source and holds mix;"),
        (lambda at: sounds(at / "voice"), {}, "hold no sound .*wav"),
        (
            lambda at: sounds(at / "voice", "a.wav"),
            {"sources": ["voices"]},
            "voices does not exist.*holds voice",
        ),
        (lambda at: sounds(at / "v", "a.wav"), {}, "1 cannot be divided"),
    ],
)
def test_wrong_folders_raise(tmp_path, make, options, sentence):
    make(tmp_path)
    with pytest.raises(CorpusError, match=sentence):
        mix_folders.tracks(tmp_path, "train", **options)
