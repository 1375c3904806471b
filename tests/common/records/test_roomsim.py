"""Records of Google's room simulator as a corpus."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import tensorflow as tf

from common import records
from common.corpora.track import CorpusError
from common.records import roomsim

RATE = 8000


def write_file(path, examples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for features in examples:
            feature = {
                key: tf.train.Feature(
                    float_list=tf.train.FloatList(value=np.ravel(value))
                )
                for key, value in features.items()
            }
            message = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(message.SerializeToString())


def example(seed, sources=3, samples=50, scale=0.1):
    shape = (sources, 1, samples)
    images = scale * np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return {"receiver_audio": images.sum(0), "source_images": images}


def assert_holds(index, examples):
    assert len(index) == len(examples)
    for position, expected in enumerate(examples):
        images = expected["source_images"]
        read = records.excerpt(index, position, 0, images.shape[-1])["sources"].numpy()
        np.testing.assert_array_equal(read[: len(images)], images)
        assert not read[len(images) :].any()


def test_samples_are_mapped_from_the_files(tmp_path):
    examples = [example(0), example(1, sources=2, samples=70), example(2)]
    examples[0]["diarization_labels"] = np.zeros(4, np.float32)
    write_file(tmp_path / "train" / "a.tfrecord", examples[:2])
    write_file(tmp_path / "train" / "b.tfrecord-00000-of-00001", examples[2:])
    tracks = roomsim.tracks(tmp_path, "train", RATE)
    names = [track.name for track in tracks]
    assert names[1:] == ["train/a.tfrecord/1", "train/b.tfrecord-00000-of-00001/0"]
    assert [track.samples for track in tracks] == [50, 70, 50]
    assert {track.sample_rate for track in tracks} == {RATE}
    for track, expected in zip(tracks, examples, strict=True):
        images = np.stack(list(track.sources.values()))
        np.testing.assert_array_equal(images, expected["source_images"])
        assert not any(sound.flags.owndata for sound in track.sources.values())


def test_a_split_goes_by_the_last_word_that_names_one(tmp_path):
    names = ["train/a", "set-train-01", "train/eval", "validation", "retrain", "b"]
    for name in [*names, "out/train/records-00000-of-00001", "train/._a"]:
        write_file(tmp_path / f"{name}.tfrecord", [example(0)])
    actual = {
        split: [path.relative_to(tmp_path).as_posix() for path in paths]
        for split in ("train", "validation", "eval")
        if (paths := roomsim.files(tmp_path, split))
    }
    assert actual == {
        "train": ["set-train-01.tfrecord", "train/a.tfrecord"],
        "validation": ["validation.tfrecord"],
        "eval": ["train/eval.tfrecord"],
    }


def test_records_hold_the_same_samples_in_floats(tmp_path):
    examples = [example(0), example(1, sources=2, samples=70), example(2, scale=9.0)]
    write_file(tmp_path / "train.tfrecord", examples)
    index = roomsim.write(tmp_path, "train", tmp_path / "out" / "train", "auto", RATE)
    assert (index.encoding, index.sample_rate, index.channels) == ("float32", RATE, 1)
    assert index.folder == tmp_path / "out" / "train-float32"
    assert_holds(index, examples)


def test_sound_of_16_bits_stays_so(tmp_path):
    quantised = example(0)
    for key in quantised:
        quantised[key] = np.rint(quantised[key] * 32768) / 32768
    write_file(tmp_path / "train.tfrecord", [quantised])
    index = roomsim.write(tmp_path, "train", tmp_path / "out" / "train", "auto", RATE)
    assert (index.encoding, index.folder.name) == ("pcm16", "train")
    assert_holds(index, [quantised])


def test_written_records_are_opened_without_reading_the_files(tmp_path, monkeypatch):
    write_file(tmp_path / "train.tfrecord", [example(0)])
    arguments = (tmp_path, "train", tmp_path / "out" / "train", "auto", RATE)
    first = roomsim.write(*arguments)
    with monkeypatch.context() as patched:
        patched.setattr(roomsim, "tracks", None)
        assert roomsim.write(*arguments) == first
    # Other times alone leave the records, other samples make new ones.
    os.utime(tmp_path / "train.tfrecord", (1, 1))
    assert roomsim.write(*arguments).folder == first.folder
    write_file(tmp_path / "train.tfrecord", [example(1)])
    other = roomsim.write(*arguments)
    assert other.folder != first.folder
    assert_holds(first, [example(0)])
    assert_holds(other, [example(1)])


def test_damaged_records_are_written_again(tmp_path):
    write_file(tmp_path / "train.tfrecord", [example(0)])
    arguments = (tmp_path, "train", tmp_path / "out" / "train", "auto", RATE)
    shard = roomsim.write(*arguments).folder / "records-00000-of-00001.tfrecord"
    shard.write_bytes(b"")
    assert_holds(roomsim.write(*arguments), [example(0)])


def test_a_mixture_that_is_no_sum_is_named(tmp_path, caplog):
    noisy = example(0)
    noisy["receiver_audio"] = noisy["receiver_audio"] + np.float32(0.25)
    write_file(tmp_path / "train.tfrecord", [example(1), noisy])
    with caplog.at_level(logging.WARNING):
        roomsim.tracks(tmp_path, "train", RATE)
    assert "differs from the sum of source_images by up to 0.25" in caplog.text


def test_bad_files_are_reported_in_one_sentence(tmp_path):
    path = tmp_path / "train.tfrecord"
    with pytest.raises(CorpusError, match=r"no \*\.tfrecord file of the split 'train'"):
        roomsim.tracks(tmp_path, "train", RATE)
    path.touch()
    with pytest.raises(CorpusError, match=r"train\.tfrecord holds no example"):
        roomsim.tracks(tmp_path, "train", RATE)
    write_file(path, [{"audio": np.zeros(5)}])
    with pytest.raises(CorpusError, match="has 0 values of receiver_audio"):
        roomsim.tracks(tmp_path, "train", RATE)
    write_file(path, [example(0), {**example(0), "receiver_audio": np.zeros(49)}])
    with pytest.raises(CorpusError, match=r"example 1 of .* has 49 values of receiver"):
        roomsim.tracks(tmp_path, "train", RATE)
    write_file(path, [example(0), example(1)])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorpusError, match=r"example 1 of .* cannot be read \("):
        roomsim.tracks(tmp_path, "train", RATE)
    path.write_bytes(b"RIFF" * 20)
    with pytest.raises(CorpusError, match=r"example 0 of .* cannot be read \("):
        roomsim.tracks(tmp_path, "train", RATE)
    whole = tf.train.Example()
    whole.features.feature["source_images"].bytes_list.value.append(b"abc")
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(whole.SerializeToString())
    with pytest.raises(CorpusError, match=r"example 0 of .* cannot be read \("):
        roomsim.tracks(tmp_path, "train", RATE)
