"""The corpus of the bundled model of four stems."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from common import audio
from common.corpora import catalogue

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("music4_corpus")
    for name, value in {"RATE": 1000, "PIECE_SECONDS": 2, "MIDI_PIECES": 2}.items():
        monkeypatch.setattr(module, name, value)
    return module


def sine(frequency, samples=4000):
    wave = 0.1 * np.sin(2 * np.pi * frequency * np.arange(samples) / 1000)
    return np.stack([wave, wave]).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "frequency", "source"),
    [
        ("BGVOX BREAK", 50, "vocals"),
        ("MELODY BREAK", 50, "other"),
        ("TRAP BEAT", 50, "drums"),
        ("SY BASS", 300, "bass"),
        ("TEXTURE", 50, "bass"),
        ("TEXTURE", 300, "other"),
    ],
)
def test_a_stem_belongs_to_the_source_of_its_name_or_else_of_its_spectrum(
    corpus, name, frequency, source
):
    assert corpus.source_of(name, sine(frequency)) == source


def test_a_stem_of_several_sources_is_left_out(corpus, monkeypatch, tmp_path):
    for name in (*corpus.MIXED_STEMS, "6.Caesium_Stem_KICK"):
        (tmp_path / f"{name}_mobile.m4a").touch()
    monkeypatch.setattr(corpus, "read", lambda file: sine(50))
    assert [*corpus.add_stems(tmp_path)] == ["drums"]


def test_machines_add_pieces_with_singing(corpus, monkeypatch, tmp_path):
    monkeypatch.setattr(corpus, "MACHINE_SECONDS", 2)
    monkeypatch.setattr(corpus, "take", lambda groups, number: sine(300))
    for split in ("train", "valid"):
        corpus.write_machines(0, tmp_path / split, [])
    tracks = [
        catalogue.tracks("song_folders", tmp_path, s)[0] for s in ("train", "valid")
    ]
    assert {*tracks[0].sources} == {"vocals", "drums", "bass", "other"}
    first, second = (
        audio.read(tmp_path / split / "machines-000" / "drums.wav")[0]
        for split in ("train", "valid")
    )
    assert first.shape == second.shape == (2, 2000)
    assert not np.array_equal(first, second)


def test_a_song_is_cut_into_tracks_that_training_reads(corpus, tmp_path):
    sources = {"bass": sine(50, 5000), "drums": 0 * sine(50, 5000)}
    voices = [sine(200, 2000), sine(300, 2000)]
    corpus.write_pieces("song", sources, tmp_path / "train", voices, 1)
    tracks = catalogue.tracks("song_folders", tmp_path, "train")
    assert [track.name for track in tracks] == [f"song-0{k}" for k in range(4)]
    assert all({*track.sources} == {"vocals", "bass"} for track in tracks)
    assert all(track.samples == 2000 for track in tracks)
    second, rate = audio.read(tmp_path / "train" / "song-01" / "bass.wav")
    assert rate == 1000
    np.testing.assert_allclose(second, sources["bass"][:, 1000:3000], atol=1e-4)


def test_a_mixture_gets_a_level_within_full_scale(corpus):
    sources = {"bass": sine(50), "drums": sine(120)}
    levelled = corpus.levelled(sources, -20.0)
    assert corpus.rms(sum(levelled.values())) == pytest.approx(0.1, rel=1e-3)
    loud = corpus.levelled(sources, 20.0)
    assert max(abs(wave).max() for wave in loud.values()) == pytest.approx(0.99)
    assert loud["bass"].std() / loud["drums"].std() == pytest.approx(1.0, rel=1e-3)


def test_silence_does_not_raise_the_level_of_a_part(corpus):
    short = sine(100, 1000)
    fitted = corpus.fitted(short, -20.0)
    assert fitted.shape == (2, 4000)
    assert corpus.rms(fitted[:, :1000]) == pytest.approx(0.1, rel=1e-3)
    assert not fitted[:, 1000:].any()
    assert not corpus.fitted(0 * short, -20.0).any()


def test_singers_of_the_validation_are_not_in_the_training(corpus, tmp_path):
    for name in ("amy_1_01", "amy_1_02", "titon_1_01"):
        stereo = np.stack([np.zeros(500), np.full(500, 0.25)]).astype(np.float32)
        audio.write(tmp_path / f"{name}.wav", stereo, 1000)
    train, valid = (corpus.chunks(tmp_path, split) for split in ("train", "valid"))
    assert [[file.stem for file in group] for group in train] == [
        ["amy_1_01", "amy_1_02"]
    ]
    assert [[file.stem for file in group] for group in valid] == [["titon_1_01"]]
    voice = corpus.take(train, 0)
    assert voice.shape == (2, 2000)
    assert voice[:, :1000].min() > 0.0
    assert not voice[:, 1000:].any()


def test_the_notes_of_a_song_are_divided_among_three_sources(corpus):
    mido = pytest.importorskip("mido")
    track = mido.MidiTrack()
    notes = {"other": (0, 0), "bass": (1, 33), "drums": (9, 0)}
    for channel, program in notes.values():
        track.append(mido.Message("program_change", channel=channel, program=program))
        track.append(mido.Message("note_on", channel=channel, note=60, velocity=90))
        track.append(mido.Message("note_off", channel=channel, note=60, time=480))
    # After the end of the last piece.
    track.append(mido.Message("note_on", channel=0, note=60, velocity=90, time=99999))
    song = mido.MidiFile(tracks=[track])
    performance = corpus.draw(3)
    for source, (channel, program) in notes.items():
        (part,) = corpus.part_of(song, source, performance).tracks
        played = [message for message in part if message.type == "note_on"]
        shift = 0 if source == "drums" else performance.transposition
        assert [(each.channel, each.note) for each in played] == [(channel, 60 + shift)]
        assert sum(message.type == "note_off" for message in part) == 1
        changed = [m.program for m in part if m.type == "program_change" and m.channel]
        if source == "bass":
            assert performance.programs[program] in changed
            assert performance.programs[program] in corpus.BASSES


@pytest.fixture
def run(corpus, monkeypatch, tmp_path):
    """Run the command on an empty folder with all programs there."""
    monkeypatch.setattr(corpus, "mido", corpus)
    monkeypatch.setattr(corpus.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "a.sf2").touch()
    words = ["music4_corpus", "--sound-font", str(tmp_path / "a.sf2")]
    for name in ("album", "midi", "singing", "output"):
        words += [f"--{name}", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    return corpus.main


def test_what_is_missing_is_named_with_a_cure(run, corpus, monkeypatch, capsys):
    def error():
        assert run() == 1
        return capsys.readouterr().err

    assert "no file *_Stem_*.m4a" in error()
    monkeypatch.setattr("sys.argv", [*sys.argv, "--sound-font", "no.sf2"])
    assert "no.sf2 does not exist" in error()
    monkeypatch.setattr(corpus.shutil, "which", lambda name: None)
    assert "apt install fluidsynth" in error()
    monkeypatch.setattr(corpus, "mido", None)
    assert "pip install mido" in error()


def test_few_midi_files_are_refused_before_a_song_is_cut(
    run, corpus, monkeypatch, capsys
):
    monkeypatch.setattr(corpus, "folders_of_stems", lambda album: ["never cut"])
    monkeypatch.setattr(corpus, "chunks", lambda root, split: [])
    assert run() == 1
    assert "holds 0 files *.mid, expected at least 10" in capsys.readouterr().err
