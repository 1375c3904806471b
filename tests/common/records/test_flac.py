"""FLAC records: both decoders give the same bits."""

from __future__ import annotations

import importlib.metadata
import sys

import numpy as np
import pytest
import tensorflow as tf

from common import records
from common.corpora.track import Track
from common.records import flac


def has_tensorflow_io():
    """Return whether it is installed, with a TensorFlow that it was built for."""
    try:
        importlib.metadata.version("tensorflow-io")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tf.__version__.startswith(("2.16.", "2.17."))


def blobs(channels):
    random = np.random.default_rng(5)
    pcm = [
        random.integers(-32768, 32768, (samples, channels)).astype(np.int16)
        for samples in (40, 1, 33)
    ]
    files = [flac.encode(frames, 44100) for frames in pcm]
    table = tf.constant([[files[0], b""], [files[1], files[2]]])
    expected = np.zeros((2, 2, 40, channels), np.int16)
    expected[0, 0] = pcm[0]
    expected[1, 0, :1] = pcm[1]
    expected[1, 1, :33] = pcm[2]
    return table, expected


def test_the_decoder_is_tensorflow_io_if_it_is_installed():
    expected = "tensorflow-io" if has_tensorflow_io() else "soundfile"
    assert records.flac_decoder() == expected


def test_tensorflow_io_is_never_imported_elsewhere():
    if has_tensorflow_io():
        pytest.skip("this is the lane of TensorFlow I/O")
    records.flac_decoder()
    assert "tensorflow_io" not in sys.modules


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_soundfile_decodes_bit_for_bit(channels):
    table, expected = blobs(channels)
    decode = tf.function(
        lambda table: flac.decode(table, tf.constant(40), channels, "soundfile")
    )
    np.testing.assert_array_equal(decode(table), expected)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_tensorflow_io_decodes_bit_for_bit(channels):
    if not has_tensorflow_io():
        pytest.skip("TensorFlow I/O is not installed on this lane")
    table, expected = blobs(channels)
    decode = tf.function(
        lambda table: flac.decode(table, tf.constant(40), channels, "tensorflow-io")
    )
    np.testing.assert_array_equal(decode(table), expected)


def test_the_graph_of_the_tensorflow_io_lane_holds_no_python(tmp_path):
    sound = np.full((1, 50), 0.5, np.float32)
    index = records.write(
        [Track("a", 8000, 50, {"x": sound})], tmp_path, encoding="flac"
    )
    read = tf.function(lambda start: records.excerpt(index, 0, start, 10))
    graph = read.get_concrete_function(tf.TensorSpec([], tf.int64)).graph.as_graph_def()
    ops = {node.op for node in graph.node}
    for function in graph.library.function:
        ops |= {node.op for node in function.node_def}
    assert any("DecodeFlac" in op for op in ops) == has_tensorflow_io()
    assert any("PyFunc" in op for op in ops) != has_tensorflow_io()


def test_compressed_records_are_smaller(tmp_path):
    wave = np.sin(np.arange(20_000) / 30)[None].astype(np.float32) / 2
    tracks = [Track("a", 8000, 20_000, {"x": wave})]
    plain = records.write(tracks, tmp_path / "plain")
    small = records.write(tracks, tmp_path / "small", encoding="flac")
    assert small.shards[0].bytes < plain.shards[0].bytes / 2
