"""Tracks as long as their shortest sound: small cuts warn, large ones raise."""

from __future__ import annotations

import logging
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile

from common.corpora import reading, track_folders
from common.corpora.track import CorpusError

RATE = 1000


def row(folder, name, seconds, rate=RATE):
    """Write a track with one file for each length, and a mixture of 20 s."""
    sounds = {}
    for number, length in enumerate([*seconds, 20.0]):
        file = folder / f"{name}{number}.wav"
        soundfile.write(file, np.zeros(round(length * rate)), rate)
        sounds[f"s{number}"] = file
    return name, sounds, sounds.pop(f"s{len(seconds)}")


def test_one_warning_counts_the_cut_tracks(tmp_path, caplog):
    rows = [
        row(tmp_path, "intact", [20.0]),
        row(tmp_path, "worst", [19.1, 19.6]),
        row(tmp_path, "better", [19.8]),
    ]
    for _ in range(2):
        tracks = reading.make_tracks(rows)
    assert [track.samples for track in tracks] == [20_000, 19_100, 19_800]
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.getMessage() == (
        "2 of 3 tracks are cut to their shortest sound; the worst is 'worst', where "
        f"{tmp_path}/worst0.wav lasts 19.10 s and {tmp_path}/worst2.wav 20.00 s"
    )


def test_a_large_cut_raises(tmp_path, caplog):
    rows = [row(tmp_path, "good", [20.0]), row(tmp_path, "bad", [1.0])]
    sentence = r"5% and 0\.5 s off track 'bad', .*bad0\.wav lasts 1\.00 s .* 20\.00 s; "
    with pytest.raises(CorpusError, match=sentence + "pad the shorter sound"):
        reading.make_tracks(rows)
    assert reading.make_tracks(rows, longest=True)[1].samples == 20_000
    assert not caplog.records
    assert reading.make_tracks(rows, allow_cut=True)[1].samples == 1000
    assert "1 of 2 tracks are cut" in caplog.text


@pytest.mark.parametrize(
    ("short", "long", "raises"),
    [(0.2, 0.6, False), (0.2, 0.8, True), (19.1, 20.0, False), (18.9, 20.0, True)],
)
def test_a_cut_raises_only_beyond_both_limits(tmp_path, short, long, raises):
    _, sounds, _ = row(tmp_path, "a", [short, long])
    expected = pytest.raises(CorpusError, match="off track 'a'")
    with expected if raises else nullcontext():
        reading.make_tracks([("a", sounds, None)])


def test_lengths_rounded_between_rates_are_not_cut(tmp_path, caplog):
    _, sounds, _ = row(tmp_path, "a", [1.0])
    soundfile.write(tmp_path / "b.wav", np.zeros(16_001), 16_000)
    (track,) = reading.make_tracks([("a", {**sounds, "b": tmp_path / "b.wav"}, None)])
    assert track.samples == RATE
    assert not caplog.records


def test_track_folders_are_cut_if_allowed(tmp_path):
    folder = tmp_path / "train" / "song"
    folder.mkdir(parents=True)
    row(folder, "x", [1.0])
    layouts = {
        track_folders.fixed: ("x0.wav", ["x1.wav"]),
        track_folders.variable: ("x0.wav",),
        track_folders.aligned: ("x1.wav", "x0.wav"),
    }
    for layout, names in layouts.items():
        with pytest.raises(CorpusError, match="allow_cut=true"):
            layout(tmp_path, "train", *names)
        with reading.cutting(True), reading.cutting(False):
            (track,) = layout(tmp_path, "train", *names)
        assert track.samples == RATE
    assert not reading.may_cut()
