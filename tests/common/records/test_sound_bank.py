"""Sounds from wav files and from records: the same samples; rates and channels."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common.audio import resample
from common.config import ConfigError
from common.corpora.track import Track
from common.records.sound_bank import open_sounds


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))


def write(path: Path, channels=2, rate=800, samples=3000, subtype="PCM_16"):
    rng = np.random.default_rng(channels + rate)
    wave = rng.uniform(-0.9, 0.9, (samples, channels))
    soundfile.write(path, wave, rate, subtype=subtype)
    return path, Track(path.stem, rate, samples, {"x": path})


def open_pairs(*pairs, channels=2, **options):
    named = {f"{path.stem}/x": (path, track) for path, track in pairs}
    return open_sounds(named, 800, channels, **options)


def read(sounds, number: int, start: int, samples: int) -> np.ndarray:
    actual = sounds.read(
        tf.constant([number], tf.int64), tf.constant([start], tf.int64), samples
    )
    return actual[0].numpy() * sounds.scale


def test_wav_and_records_give_the_same_bits(tmp_path):
    pairs = write(tmp_path / "a.wav"), write(tmp_path / "b.wav")
    straight = open_pairs(*pairs)
    written = open_pairs(*pairs, folder=tmp_path / "records")
    assert straight.records is None
    assert written.records.encoding == "pcm16"
    assert (tmp_path / "records" / "index.json").is_file()
    for number, start in ((0, 0), (1, 1234), (1, 2200)):
        actual = read(straight, number, start, 800)
        np.testing.assert_array_equal(actual, read(written, number, start, 800))
        expected, _ = soundfile.read(pairs[number][0], 800, start, dtype="float32")
        np.testing.assert_array_equal(actual, expected.T)
    assert list(straight.samples) == list(written.samples) == [3000, 3000]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_more_than_two_channels_are_refused(tmp_path, suffix):
    pair = write(tmp_path / f"a.{suffix}", channels=6)
    sentence = "has 6 channels, expected 2 at most; .*source_augmentations=force_stereo"
    for channels in (1, 2):
        with pytest.raises(ConfigError, match=sentence):
            open_pairs(pair, channels=channels)


def test_channels_are_averaged_on_request(tmp_path):
    path, track = write(tmp_path / "a.wav", channels=6)
    sounds = open_pairs((path, track), channels=1, downmix=True)
    assert sounds.channels == 1
    wave, _ = soundfile.read(path, 100, 7, dtype="float32")
    np.testing.assert_allclose(read(sounds, 0, 7, 100), [wave.mean(1)], atol=1e-6)


def test_another_rate_raises_or_is_resampled(tmp_path):
    pairs = write(tmp_path / "a.wav"), write(tmp_path / "b.wav", rate=1600)
    sentence = r"b.wav has 1600 Hz, the model 800 Hz; set .*, or sample_rate=1600"
    with pytest.raises(ConfigError, match=sentence):
        open_pairs(*pairs)
    sounds = open_pairs(*pairs, resample=True)
    assert list(sounds.samples) == [3000, 1500]
    wave, _ = soundfile.read(pairs[1][0], dtype="float32")
    expected = resample.resample(wave.T, 1600, 800)[:, 100:900]
    np.testing.assert_allclose(read(sounds, 1, 100, 800), expected, atol=1e-6)


def test_mono_among_stereo_is_repeated(tmp_path):
    pairs = write(tmp_path / "a.wav"), write(tmp_path / "b.wav", channels=1)
    sounds = open_pairs(*pairs)
    assert sounds.channels == 2
    left, right = read(sounds, 1, 5, 100)
    np.testing.assert_array_equal(left, right)
    assert left.any()


@pytest.mark.parametrize(
    ("model", "file", "expected_channels"), [(2, 1, 2), (1, 1, 1), (1, 2, 2)]
)
def test_channels_are_the_most_of_model_and_corpus(
    tmp_path, model, file, expected_channels
):
    path, track = write(tmp_path / "a.wav", channels=file)
    sounds = open_pairs((path, track), channels=model)
    actual = read(sounds, 0, 0, 50)
    assert actual.shape == (sounds.channels, 50) == (expected_channels, 50)
    expected, _ = soundfile.read(path, 50, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(actual[0], expected[:, 0])


def test_other_encodings_are_written_as_records_first(tmp_path):
    sounds = open_pairs(write(tmp_path / "a.flac", subtype="PCM_24"))
    assert sounds.records.encoding == "float32"
    expected, _ = soundfile.read(tmp_path / "a.flac", 100, 7, dtype="float32")
    np.testing.assert_array_equal(read(sounds, 0, 7, 100), expected.T)


def test_the_digest_differs_for_changed_files(tmp_path):
    pair = write(tmp_path / "a.wav")
    before = open_pairs(pair).digest
    assert open_pairs(pair).digest == before
    assert open_pairs(write(tmp_path / "a.wav", samples=2999)).digest != before


def test_the_digest_depends_on_the_content_and_not_on_the_times(tmp_path):
    pair = write(tmp_path / "a.wav", samples=9000)
    digest = open_pairs(pair).digest
    os.utime(pair[0], (1, 1))
    touched = open_pairs(pair)
    assert touched.digest == digest
    wave, rate = soundfile.read(pair[0])
    wave[4500] = 0.5
    soundfile.write(pair[0], wave, rate, subtype="PCM_16")
    os.utime(pair[0], (1, 1))
    other = open_pairs(pair)
    assert other.digest != digest
    assert other.earlier_digest == touched.earlier_digest


def test_the_earlier_digest_is_that_of_release_0_1_0(tmp_path):
    pair = write(tmp_path / "a.wav")
    status = pair[0].stat()
    text = repr([("a.wav", status.st_size, status.st_mtime_ns)])
    recorded = hashlib.sha256(text.encode()).hexdigest()
    assert open_pairs(pair).earlier_digest == recorded
    written = open_pairs(pair, folder=tmp_path / "records")
    assert written.earlier_digest == written.digest


def test_records_of_each_encoding_have_their_own_folder(tmp_path):
    pair = write(tmp_path / "a.wav")
    folder = tmp_path / "records" / "train"
    default = open_pairs(pair, folder=folder).records
    assert (default.encoding, default.folder) == ("pcm16", folder)
    for encoding in ("float32", "flac"):
        sounds = open_pairs(pair, folder=folder, encoding=encoding)
        assert sounds.records.encoding == encoding
        assert sounds.records.folder == folder.with_name(f"train-{encoding}")
        expected, _ = soundfile.read(pair[0], 100, 7, dtype="float32")
        np.testing.assert_array_equal(read(sounds, 0, 7, 100), expected.T)
    again = open_pairs(pair, folder=folder, encoding="pcm16").records
    assert (again.folder, again.digest) == (folder, default.digest)


def test_an_encoding_makes_records_of_readable_wav_files(tmp_path):
    sounds = open_pairs(write(tmp_path / "a.wav"), encoding="flac")
    assert sounds.records.encoding == "flac"
