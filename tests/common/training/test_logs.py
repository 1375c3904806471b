"""Scalars that survive a kill, and sounds and images in TensorBoard."""

import json

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common.training.logs import (
    Scalars,
    Sounds,
    read_scalars,
    spectrogram_image,
    write_examples,
)


def model():
    net = keras.Sequential([keras.layers.Dense(1, input_shape=(2,))])
    net.compile(keras.optimizers.Adam(0.25, jit_compile=False), "mse")
    return net


def fit(callbacks, epochs=2):
    data = np.ones((12, 2), np.float32), np.zeros((12, 1), np.float32)
    options = {"epochs": epochs, "batch_size": 3, "verbose": 0}
    model().fit(*data, validation_data=data, callbacks=callbacks, **options)


def summaries(folder):
    """Yield the step and the value of every summary of a folder."""
    for path in sorted(folder.glob("events.out*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())  # noqa: TID251
            for value in event.summary.value:
                yield event.step, value


def events(folder):
    """Return every summary of a folder as (tag, plugin, step)."""
    return [
        (value.tag, value.metadata.plugin_data.plugin_name, step)
        for step, value in summaries(folder)
    ]


def test_scalars_go_to_json_lines_and_tensorboard(tmp_path):
    fit([Scalars(tmp_path, every=3, start_step=0)])
    lines = read_scalars(tmp_path)
    rows = [(x["split"], x["step"], x.get("epoch")) for x in lines]
    assert rows == [
        ("train", 3, None),
        ("train", 4, 1),
        ("validation", 4, 1),
        ("train", 6, None),
        ("train", 8, 2),
        ("validation", 8, 2),
    ]
    assert lines[0]["learning_rate"] == 0.25
    train, valid = (events(tmp_path / "events" / n) for n in ("train", "validation"))
    assert ("loss", "scalars", 6) in train
    assert ("learning_rate", "scalars", 8) in train
    assert [each for each in valid if each[0] == "loss"] == [
        ("loss", "scalars", 4),
        ("loss", "scalars", 8),
    ]


def test_a_step_has_one_point_in_tensorboard(tmp_path):
    fit([Scalars(tmp_path, every=2, start_step=0)])
    assert sum(line["step"] == 4 for line in read_scalars(tmp_path)) == 3
    points = events(tmp_path / "events" / "train")
    assert [step for tag, _, step in points if tag == "loss"] == [2, 4, 6, 8]


def test_lines_after_the_checkpoint_are_removed(tmp_path):
    path = tmp_path / "scalars.jsonl"
    lines = [json.dumps({"split": "train", "step": step}) for step in (1, 2, 3)]
    path.write_text("\n".join(lines) + '\n{"split": "tr', encoding="utf-8")
    assert [line["step"] for line in read_scalars(tmp_path)] == [1, 2, 3]
    Scalars(tmp_path, every=1, start_step=2)
    assert path.read_text("utf-8") == "\n".join(lines[:2]) + "\n"


def test_sounds_are_written_as_audio_and_spectrograms(tmp_path):
    waveform = tf.constant(1.5 * np.sin(np.arange(1600.0) / 5)[np.newaxis], tf.float32)
    fit([Sounds(tmp_path, lambda: {"mixture": waveform}, 8000, start_step=0)], epochs=1)
    folder = tmp_path / "events" / "validation"
    assert events(folder) == [
        ("mixture_audio", "audio", 4),
        ("mixture_spectrogram", "images", 4),
    ]
    _, value = next(summaries(folder))
    (encoded,) = tf.make_ndarray(value.tensor)[:, 0]
    sound, rate = tf.audio.decode_wav(encoded)
    clipped = np.clip(waveform[0], -1, 1)
    np.testing.assert_allclose(sound[:, 0], clipped, atol=1 / 32768)
    assert rate == 8000


def test_three_examples_have_the_tags_of_tensorflow_1(tmp_path):
    waveforms = {"sound": tf.zeros([5, 100])}
    images = {"image": tf.ones([5, 4, 4, 1])}
    with tf.summary.create_file_writer(str(tmp_path)).as_default(step=7):
        write_examples(waveforms, images, 8000)
    sounds = [(f"sound/audio/{index}", "audio", 7) for index in range(3)]
    assert events(tmp_path) == [
        *sounds,
        *((f"image/image/{index}", "images", 7) for index in range(3)),
    ]


def test_only_the_chief_writes(tmp_path):
    scalars = Scalars(tmp_path, every=1, start_step=0, chief=False)
    sounds = {"mixture": tf.zeros([1, 1600])}
    fit([scalars, Sounds(tmp_path, lambda: sounds, 8000, 0, chief=False)], epochs=1)
    assert not list(tmp_path.iterdir())


def test_low_frequencies_are_at_the_bottom():
    time = np.arange(8000) / 8000
    low = tf.constant(np.sin(2 * np.pi * 300 * time)[np.newaxis], tf.float32)
    image = spectrogram_image(low, 8000).numpy()[0, :, :, 0]
    assert image.shape[0] == 129
    row = image.mean(1).argmax()
    assert abs((128 - row) * 8000 / 256 - 300) < 32
    assert image.max() == 1.0
