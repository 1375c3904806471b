"""Track folders of Open-Unmix: aligned, with fixed and with variable files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora import track_folders
from common.corpora.track import CorpusError


def folder(path: Path, **samples: int) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, length in samples.items():
        soundfile.write(path / f"{name}.wav", np.full(length, 0.25), 8000)
    return path


def test_aligned_tracks_have_a_mixture_and_one_source(tmp_path):
    for split in ("train", "valid"):
        for name in ("b", "a"):
            folder(tmp_path / split / name, noisy_1=100, clean=90, other=10)
    (tmp_path / "train" / ".hidden").mkdir()
    first, second = track_folders.aligned(tmp_path, "train", "noisy*", "clean.wav")
    assert (first.name, second.name, first.samples) == ("a", "b", 90)
    assert first.mixture.name == "noisy_1.wav"
    assert first.sources == {"clean": tmp_path / "train" / "a" / "clean.wav"}


def test_aligned_tracks_without_splits_are_divided(tmp_path, caplog):
    for number in range(20):
        folder(tmp_path / str(number), x=50, y=50)
    parts = [
        {each.name for each in track_folders.aligned(tmp_path, split, "x.wav", "y.wav")}
        for split in ("train", "valid")
    ]
    assert [len(part) for part in parts] == [18, 2]
    assert not parts[0] & parts[1]
    assert "2 of its tracks are held out" in caplog.text


def test_fixed_tracks_have_the_target_first(tmp_path):
    folder(tmp_path / "train" / "a", vocals=80, drums=60, bass=70, more=5)
    (track,) = track_folders.fixed(
        tmp_path, "train", "vocals.wav", ["bass.wav", "drums.wav"]
    )
    assert list(track.sources) == ["vocals", "bass", "drums"]
    assert (track.samples, track.mixture) == (60, None)


def test_variable_tracks_have_all_files_as_sources(tmp_path, caplog):
    folder(tmp_path / "train" / "a", vocals=80, drums=60)
    folder(tmp_path / "train" / "b", mixture=9, bass=9)
    first, second = track_folders.variable(
        tmp_path, "train", "vocals.wav", silence_missing=True
    )
    assert list(first.sources) == ["vocals", "drums.wav"]
    assert list(second.sources) == ["bass.wav", "mixture.wav"]
    assert "mixture is taken for one more source" in caplog.text


CALLS = {
    "aligned": lambda root: track_folders.aligned(root, "train", "x.wav", "y.wav"),
    "fixed": lambda root: track_folders.fixed(root, "train", "y.wav", ["x.wav"]),
    "variable": lambda root: track_folders.variable(root, "train", "y.wav"),
}


def test_a_variable_track_without_its_target_raises(tmp_path):
    folder(tmp_path / "train" / "good", x=9, y=9)
    folder(tmp_path / "train" / "poor", x=9)
    with pytest.raises(CorpusError, match=r"track .*train/poor lacks .*y.wav.* x.wav"):
        CALLS["variable"](tmp_path)


@pytest.mark.parametrize("layout", ["aligned", "fixed"])
def test_tracks_that_lack_a_file_are_left_out_and_named(tmp_path, layout, caplog):
    folder(tmp_path / "train" / "good", x=9, y=9)
    folder(tmp_path / "train" / "poor", x=9)
    folder(tmp_path / "train" / "none", y=9)
    assert [track.name for track in CALLS[layout](tmp_path)] == ["good"]
    assert "leaving out 2 tracks" in caplog.text
    assert "train/none lacks x.wav (in" in caplog.text
    assert re.search(r"train/poor lacks y.wav \((output|target)_file\)", caplog.text)


@pytest.mark.parametrize("layout", ["aligned", "fixed"])
def test_tracks_that_all_lack_a_file_raise(tmp_path, layout):
    folder(tmp_path / "train" / "poor", x=9)
    folder(tmp_path / "train" / "more", x=9, z=9)
    sentence = r"track .*train/more lacks y.wav .*no other.* holds x.wav, z.wav;"
    with pytest.raises(CorpusError, match=sentence):
        CALLS[layout](tmp_path)


@pytest.mark.parametrize("layout", CALLS)
def test_an_empty_split_raises(tmp_path, layout):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "loose.wav").touch()
    with pytest.raises(CorpusError, match=r"'train' is empty.* holds loose.wav"):
        CALLS[layout](tmp_path)


@pytest.mark.parametrize("layout", ["fixed", "variable"])
def test_a_missing_split_raises(tmp_path, layout):
    (tmp_path / "training").mkdir()
    with pytest.raises(CorpusError, match=r"train does not exist.* holds training"):
        CALLS[layout](tmp_path)


def test_two_files_of_one_name_raise(tmp_path):
    folder(tmp_path / "train" / "a", x=9)
    (tmp_path / "train" / "a" / "x.flac").touch()
    with pytest.raises(CorpusError, match="have one name without their suffix"):
        track_folders.fixed(tmp_path, "train", "x.wav", ["x.flac"])
