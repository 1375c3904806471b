"""MIR-1K: channels as sources, singers apart."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from common.corpora import mir1k, waveforms
from common.corpora.track import CorpusError


def clip(root, name, channels=2, folder="Wavfile"):
    parent = root / "MIR-1K" / folder
    parent.mkdir(parents=True, exist_ok=True)
    samples = np.tile([0.25, -0.5, 0.1][:channels], (80, 1))
    soundfile.write(parent / f"{name}.wav", samples, 16000, subtype="PCM_16")


@pytest.fixture
def root(tmp_path):
    for song in range(1, 6):
        for part in (1, 2):
            clip(tmp_path, f"abjones_{song}_{part:02d}")
    clip(tmp_path, "amy_1_01")
    clip(tmp_path, "bobon_1_01")
    clip(tmp_path, "bobon_1", folder="UndividedWavfile")
    return tmp_path


def test_the_voice_is_the_right_channel(root, caplog):
    for folder in (root, root / "MIR-1K"):
        (track,) = mir1k.tracks(folder, "test")
    assert (track.name, track.samples, track.sample_rate) == ("bobon_1_01", 80, 16000)
    assert list(track.sources) == ["vocals", "accompaniment"]
    assert track.mixture is None
    waves = [waveforms.read(each, 0)[0] for each in track.sources.values()]
    assert [each.shape for each in waves] == [(1, 80)] * 2
    assert [each[0, 0] for each in waves] == [-0.5, 0.25]
    assert "'all' has 12 tracks, the published set 1000" in caplog.text


def test_songs_are_held_out_whole(root):
    train, valid = (
        {each.name for each in mir1k.tracks(root, split)}
        for split in ("train", "valid")
    )
    assert len(train | valid) == 11
    assert not train & valid
    songs = [{name.rsplit("_", 1)[0] for name in part} for part in (train, valid)]
    assert not songs[0] & songs[1]
    assert len(songs[1]) == 1


@pytest.fixture
def divided(tmp_path):
    """A small corpus in the layout of Huang et al., whose folders share singers."""
    for folder, names in {
        "train": ["abjones_5_01", "amy_9_01"],
        "dev": ["abjones_5_08"],
        "test": ["bobon_1_01", "amy_1_01"],
    }.items():
        for name in names:
            clip(tmp_path, name, folder=f"Wavfile/{folder}")
    return tmp_path


def test_folders_divide_where_they_are(divided, caplog):
    caplog.set_level("INFO")
    actual = {
        split: [track.name for track in mir1k.tracks(divided, split)]
        for split in ("train", "valid", "test")
    }
    assert actual == {
        "train": ["abjones_5_01", "amy_9_01"],
        "valid": ["abjones_5_08"],
        "test": ["amy_1_01", "bobon_1_01"],
    }
    assert "'valid' is the folder dev" in caplog.text
    assert "the split 'valid' has 1 tracks, the published set 4" in caplog.text
    assert "divided by singer" not in caplog.text


def test_the_root_may_be_the_folder_of_the_clips(divided, root):
    clips = root / "MIR-1K/Wavfile"
    assert [track.name for track in mir1k.tracks(clips, "valid")] == ["abjones_5_08"]
    renamed = clips.rename(root / "mir1k")
    assert len(mir1k.tracks(renamed, "train")) == 2


def test_folders_of_other_corpora_beside_it_are_not_read(root):
    for split in ("train", "test"):
        (root / split).mkdir()
        soundfile.write(root / split / "mixture.wav", np.zeros([80, 2]), 16000)
    assert [track.name for track in mir1k.tracks(root, "test")] == ["bobon_1_01"]


def test_the_split_of_clips_by_singer_is_reported(root, caplog):
    for split in ("train", "test"):
        mir1k.tracks(root, split)
    assert caplog.text.count("it is divided by singer") == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda root: (root / "dev").rename(root / "val"),
            "dev does not exist.*holds test, train, val",
        ),
        (
            lambda root: (root / "dev/abjones_5_08.wav").unlink(),
            r"dev should hold <singer>.*holds nothing; unpack",
        ),
        (
            lambda root: clip(root.parents[1], "amy_1_02", 1, "Wavfile/dev"),
            r"amy_1_02.wav has 1 channel.*2 ",
        ),
    ],
)
def test_a_wrong_folder_is_reported_in_one_sentence(divided, spoil, sentence):
    spoil(divided / "MIR-1K" / "Wavfile")
    with pytest.raises(CorpusError, match=sentence):
        mir1k.tracks(divided, "valid")


@pytest.mark.parametrize(
    ("spoil", "split", "sentence"),
    [
        (lambda root: clip(root, "x_1_01", 1), "test", r"x_1_01.wav has 1 channel.*2 "),
        (lambda root: None, "eval", "no split 'eval'; it has train, valid, test"),
        (
            lambda root: (root / "MIR-1K/Wavfile/bobon_1_01.wav").unlink(),
            "test",
            "'test' is empty.*abjones, amy; ",
        ),
        (
            lambda root: (root / "MIR-1K").rename(root / "other"),
            "none",
            "no split 'none'",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(root, spoil, split, sentence):
    spoil(root)
    with pytest.raises(CorpusError, match=sentence):
        mir1k.tracks(root, split)


def test_another_folder_is_reported(tmp_path):
    (tmp_path / "Wavefile").mkdir()
    with pytest.raises(CorpusError, match=r"Wavfile does not exist.*holds Wavefile"):
        mir1k.tracks(tmp_path, "train")
    with pytest.raises(CorpusError, match=r"nowhere does not exist"):
        mir1k.tracks(tmp_path / "nowhere", "train")
