"""Excerpts of wav files: the samples that soundfile reads, from wherever they lie."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common import audio
from common.audio.excerpts import WavFiles, layout


def write(path, subtype="PCM_16", channels=2, samples=1000, seed=0):
    rng = np.random.default_rng(seed)
    soundfile.write(
        path, rng.uniform(-0.9, 0.9, (samples, channels)), 8000, subtype=subtype
    )
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_excerpts_are_what_soundfile_reads(tmp_path, subtype, channels):
    paths = [write(tmp_path / f"{i}.wav", subtype, channels, seed=i) for i in range(3)]
    files = WavFiles([layout(path) for path in paths])
    numbers, starts = tf.constant([2, 0, 2], tf.int64), tf.constant([0, 17, 900])
    got = files.excerpts(numbers, tf.cast(starts, tf.int64), 100) * files.scale
    assert got.shape == (3, channels, 100)
    for index, (number, start) in enumerate(zip([2, 0, 2], [0, 17, 900], strict=True)):
        expected, _ = audio.read(paths[number], start, 100)
        np.testing.assert_array_equal(got[index], expected)


def test_samples_are_found_behind_other_chunks(tmp_path):
    path = write(tmp_path / "a.wav")
    data = path.read_bytes()
    odd = b"LIST" + (5).to_bytes(4, "little") + b"12345" + b"\0"
    size = (len(data) - 8 + len(odd)).to_bytes(4, "little")
    path.write_bytes(b"RIFF" + size + data[8:36] + odd + data[36:] + b"note tail")
    actual = layout(path)
    assert actual.first_byte == 44 + len(odd)
    got = WavFiles([actual]).excerpts(tf.constant([0]), tf.constant([5]), 10) / 32768
    np.testing.assert_array_equal(got[0], audio.read(path, 5, 10)[0])


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("extra", [0, 700])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_headers_that_only_the_decoder_reads(tmp_path, form, extra, is_streamed):
    path = tmp_path / "a.wav"
    samples = np.linspace(-0.5, 0.5, 60)
    soundfile.write(path, samples, 8000, "PCM_16", format=form)
    whole = path.read_bytes()
    position = whole.index(b"data")
    stated = b"\xff" * 4 if is_streamed else whole[position + 4 : position + 8]
    more = b"bext" + extra.to_bytes(4, "little") + bytes(extra) if extra else b""
    start, sound = whole[:position] + more + b"data" + stated, whole[position + 8 :]
    path.write_bytes(start + sound)
    assert layout(path) == (path, 8000, 1, 60, "PCM_16", len(start))


def test_works_in_a_dataset_with_lengths_of_their_own(tmp_path):
    paths = [
        write(tmp_path / f"{samples}.wav", samples=samples) for samples in (50, 70)
    ]
    files = WavFiles([layout(path) for path in paths])
    lengths = tf.constant([50, 70], tf.int64)
    zero = tf.constant([0], tf.int64)
    whole = tf.data.Dataset.range(2).map(
        lambda i: files.excerpts(i[tf.newaxis], zero, tf.gather(lengths, i))
    )
    assert whole.element_spec.shape.as_list() == [1, 2, None]
    assert [item.shape[-1] for item in whole] == [50, 70]


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.flac", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "ULAW")]
)
def test_files_that_must_be_decoded_have_no_layout(tmp_path, name, subtype):
    assert layout(write(tmp_path / name, subtype)) is None


def test_files_that_are_not_sound_have_no_layout(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing of the kind")
    assert layout(tmp_path / "a.wav") is None


def test_a_file_cut_short_is_an_error(tmp_path):
    path = write(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(audio.AudioError, match="breaks off"):
        layout(path)


def test_a_file_that_shrinks_later_is_an_error(tmp_path):
    path = write(tmp_path / "a.wav")
    files = WavFiles([layout(path)])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(audio.AudioError, match="became shorter"):
        files.excerpts(tf.constant([0]), tf.constant([900]), 100)
