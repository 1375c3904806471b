"""Records in the layout of Google's room simulator."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from common import records


def write_examples(path, examples):
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


def example(seed, sources=3, microphones=2, samples=5):
    shape = (sources, microphones, samples)
    images = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return {"receiver_audio": images.sum(0), "source_images": images}


def test_shapes_and_values_are_those_stored(tmp_path):
    examples = [example(seed) for seed in range(3)]
    examples[0]["diarization_labels"] = np.zeros(4, np.float32)
    write_examples(tmp_path / "a", examples[:2])
    write_examples(tmp_path / "b", examples[2:])
    dataset = records.roomsim([tmp_path / "a", tmp_path / "b"], samples=5)
    assert dataset.element_spec["sources"].shape == [3, 2, 5]
    assert dataset.element_spec["mixture"].shape == [2, 5]
    read = list(dataset.as_numpy_iterator())
    assert len(read) == 3
    for expected, got in zip(examples, read, strict=True):
        np.testing.assert_array_equal(got["sources"], expected["source_images"])
        np.testing.assert_array_equal(got["mixture"], expected["receiver_audio"])


def test_a_wrong_length_is_one_sentence(tmp_path):
    write_examples(tmp_path / "a", [example(0)])
    with pytest.raises(records.RecordsError, match="has 10 values of receiver_audio"):
        records.roomsim([tmp_path / "a"], samples=4)


def test_a_later_example_of_another_length_is_named(tmp_path):
    write_examples(tmp_path / "a", [example(0), example(1, sources=2)])
    dataset = records.roomsim([tmp_path / "a"], samples=5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="than the 30 of shape"):
        list(dataset)


def test_files_of_another_layout_are_named(tmp_path):
    write_examples(tmp_path / "a", [{"audio": np.zeros(5)}])
    with pytest.raises(records.RecordsError, match="0 values of receiver_audio"):
        records.roomsim([tmp_path / "a"], samples=5)
    write_examples(tmp_path / "b", [])
    with pytest.raises(records.RecordsError, match="There are no examples"):
        records.roomsim([tmp_path / "b"], samples=5)
