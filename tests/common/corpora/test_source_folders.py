"""Source folders of Open-Unmix, with and without folders of splits."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from common.corpora import source_folders
from common.corpora.track import CorpusError


def sounds(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.full(80, 0.25), 8000)


def test_every_sound_is_a_track_of_one_source(tmp_path):
    sounds(tmp_path / "train" / "voice", "b.wav", "a.wav", ".hidden.wav", "c.flac")
    sounds(tmp_path / "train" / "noise", "rain/1.wav")
    tracks = source_folders.tracks(tmp_path, "train", ["noise", "voice"])
    assert [each.name for each in tracks] == [
        "noise/rain/1.wav",
        "voice/a.wav",
        "voice/b.wav",
    ]
    assert [list(each.sources) for each in tracks] == [["noise"], ["voice"], ["voice"]]
    assert tracks[0].samples == 80
    flac = source_folders.tracks(tmp_path, "train", ["voice"], ".flac")
    assert [each.name for each in flac] == ["voice/c.flac"]


def test_without_splits_a_tenth_is_held_out(tmp_path):
    for source in ("voice", "noise"):
        sounds(tmp_path / source, *(f"{number}.wav" for number in range(20)))
    train, valid = (
        {each.name for each in source_folders.unaligned(tmp_path, split, ["noise"])}
        for split in ("train", "valid")
    )
    assert (len(train), len(valid), len(train | valid)) == (18, 2, 20)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: None, "train does not exist"),
        (lambda root: sounds(root / "train/noise", "a.wav"), "voice does not exist"),
        (
            lambda root: sounds(root / "train/voice", "a.flac"),
            r"voice holds 0 sounds \*.wav, expected at least 1; it holds a.flac",
        ),
    ],
)
def test_missing_sounds_raise(tmp_path, make, sentence):
    make(tmp_path)
    with pytest.raises(CorpusError, match=sentence):
        source_folders.tracks(tmp_path, "train", ["voice"])


def test_one_sound_cannot_be_divided(tmp_path):
    sounds(tmp_path / "voice", "a.wav")
    with pytest.raises(CorpusError, match=r"1 sounds .*expected at least 2"):
        source_folders.unaligned(tmp_path, "train", ["voice"])
