"""A tree of sounds at another rate."""

import os

import numpy as np
import pytest

from clustering import resample
from common import audio
from common.audio.resample import resample as whole


@pytest.fixture
def music(tmp_path):
    """A wav in stereo and a flac, deeper; and a file that is no sound."""
    folder = tmp_path / "music"
    rng = np.random.default_rng(0)
    for name, channels, kind in (("a.wav", 2, "wav"), ("b/c/d.flac", 1, "flac")):
        wave = rng.uniform(-0.5, 0.5, (channels, 100_000)).astype(np.float32)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(folder / name, wave, 44100, kind)
    (folder / "notes.txt").write_text("x")
    return folder


def run(source, target, *words):
    paths = ["--input_path", str(source), "--output-path", str(target)]
    return resample.main([*paths, "--sample_rate", "16000", *words])


def test_tree_is_the_same_and_its_bits_are_those_of_one_pass(music, tmp_path, capsys):
    target = tmp_path / "new"
    assert run(music, target, "--num_workers", "2") == 0
    assert "2 sounds at 16000 Hz, 0 were done before" in capsys.readouterr().out
    for name, new in (("a.wav", "a.wav"), ("b/c/d.flac", "b/c/d.wav")):
        wave, rate = audio.read(music / name)
        written, new_rate = audio.read(target / new)
        assert new_rate == 16000
        np.testing.assert_array_equal(written, whole(wave, rate, 16000))
    assert sorted(p.suffix for p in target.rglob("*") if p.is_file()) == [".wav"] * 2


def test_second_run_redoes_only_newer_and_truncated_files(music, tmp_path, capsys):
    target = tmp_path / "new"
    run(music, target)
    stamps = {file: file.stat().st_mtime_ns for file in target.rglob("*.wav")}
    assert run(music, target) == 0
    assert "0 sounds at 16000 Hz, 2 were done before" in capsys.readouterr().out
    assert stamps == {file: file.stat().st_mtime_ns for file in stamps}
    later = (target / "a.wav").stat().st_mtime + 10
    os.utime(music / "a.wav", (later, later))
    audio.write(target / "b/c/d.wav", np.zeros((1, 5), np.float32), 16000)
    run(music, target)
    assert "2 sounds at 16000 Hz, 0 were done before" in capsys.readouterr().out
    wave, _ = audio.read(target / "a.wav")
    audio.write(target / "a.wav", wave, 8000)
    run(music, target)
    assert "1 sounds at 16000 Hz, 1 were done before" in capsys.readouterr().out
    assert audio.probe(target / "a.wav").sample_rate == 16000


def test_an_older_sound_that_replaces_another_is_resampled(music, tmp_path, capsys):
    target = tmp_path / "new"
    run(music, target)
    audio.write(music / "a.wav", np.zeros((2, 100_000), np.float32), 44100)
    os.utime(music / "a.wav", (10**9, 10**9))
    run(music, target)
    assert "1 sounds at 16000 Hz, 1 were done before" in capsys.readouterr().out
    assert not audio.read(target / "a.wav")[0].any()


def test_one_broken_file_is_reported_and_the_others_are_done(music, tmp_path, capsys):
    (music / "bad.wav").write_bytes(b"RIFF no")
    assert run(music, tmp_path / "new") == 1
    error = capsys.readouterr().err
    assert "1 of 3 sounds could not be resampled" in error
    assert "bad.wav" in error
    assert len(list((tmp_path / "new").rglob("*.wav"))) == 2


def test_clipping_of_integers_is_reported(tmp_path, capsys):
    square = np.sign(np.sin(np.arange(44100) / 20)).astype(np.float32)
    audio.write(tmp_path / "in.wav", square[np.newaxis], 44100)
    (tmp_path / "in").mkdir()
    (tmp_path / "in.wav").rename(tmp_path / "in" / "a.wav")
    assert run(tmp_path / "in", tmp_path / "out", "--format", "wav16") == 0
    assert "peaks of 1 sounds" in capsys.readouterr().err
    assert run(tmp_path / "in", tmp_path / "out", "--format", "wav") == 0
    assert np.abs(audio.read(tmp_path / "out" / "a.wav")[0]).max() > 1.0


def test_bad_input_is_reported_in_one_sentence(music, tmp_path, capsys):
    assert run(tmp_path / "gone", tmp_path / "new") == 1
    assert "is no folder" in capsys.readouterr().err
    assert run(music, music / "inside") == 1
    assert "overlap; name" in capsys.readouterr().err
    audio.write(music / "a.flac", np.zeros((1, 9), np.float32), 8000, "flac")
    assert run(music, tmp_path / "new") == 1
    assert "would both become a.wav" in capsys.readouterr().err
    assert run(music, tmp_path / "new", "--audio_extensions", ".ogg") == 1
    assert "holds no sound" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
