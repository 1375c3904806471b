"""Encode FLAC blobs by soundfile, and decode them in the graph by TensorFlow I/O."""

from __future__ import annotations

import functools
import io
import warnings

import numpy as np
import soundfile
import tensorflow as tf

TFIO_VERSIONS = ("2.16.", "2.17.")
"""TensorFlow releases with kernels of TensorFlow I/O, which may crash on others."""


def encode(pcm: np.ndarray, sample_rate: int) -> bytes:
    """Compress 16-bit frames losslessly.

    Args:
        pcm: Frames, int16 [samples, channels].
        sample_rate: Rate in Hz.

    Returns:
        A complete FLAC file.
    """
    memory = io.BytesIO()
    soundfile.write(memory, pcm, sample_rate, format="FLAC", subtype="PCM_16")
    return memory.getvalue()


@functools.cache
def flac_decoder() -> str:
    """Return the package that decodes FLAC records on this machine.

    TensorFlow I/O decodes inside the graph, without Python. It is imported only with a
    TensorFlow that it was built for, and used only after it has decoded a few samples.

    Returns:
        ``"tensorflow-io"`` or ``"soundfile"``.

    >>> flac_decoder() in ("tensorflow-io", "soundfile")
    True
    """
    if not tf.__version__.startswith(TFIO_VERSIONS):
        return "soundfile"
    pcm = np.array([[1], [-2], [3]], np.int16)
    try:
        with warnings.catch_warnings(), tf.init_scope():
            warnings.simplefilter("ignore")
            decoded = _decode_one(tf.constant(encode(pcm, 8000)))
    except (ImportError, NotImplementedError, tf.errors.OpError):
        return "soundfile"
    return "tensorflow-io" if np.array_equal(decoded, pcm) else "soundfile"


def decode(
    blobs: tf.Tensor, samples: tf.Tensor, channels: int, decoder: str | None = None
) -> tf.Tensor:
    """Decode a table of FLAC files in the graph.

    Args:
        blobs: Files, string [sounds, chunks]; empty ones are silent.
        samples: Length of a chunk; shorter ones are zero padded at the end.
        channels: Number of channels.
        decoder: Package to use; by default that of :func:`flac_decoder`.

    Returns:
        Frames, int16 [sounds, chunks, samples, channels].
    """
    samples = tf.cast(samples, tf.int32)
    if (decoder or flac_decoder()) == "tensorflow-io":
        return _decode_in_graph(blobs, samples, channels)
    frames = tf.numpy_function(
        _decode_in_python, [blobs, samples, channels], tf.int16, stateful=False
    )
    fixed: tf.Tensor = tf.ensure_shape(frames, blobs.shape + [None, channels])
    return fixed


def _decode_one(blob: tf.Tensor) -> tf.Tensor:
    import tensorflow_io as tfio

    frames: tf.Tensor = tfio.audio.decode_flac(blob, dtype=tf.int16)
    return frames


def _decode_in_graph(blobs: tf.Tensor, samples: tf.Tensor, channels: int) -> tf.Tensor:
    def padded(blob: tf.Tensor) -> tf.Tensor:
        frames = tf.cond(
            tf.strings.length(blob) > 0,
            lambda: tf.ensure_shape(_decode_one(blob), [None, channels]),
            lambda: tf.zeros([0, channels], tf.int16),
        )
        missing = samples - tf.shape(frames)[0]
        return tf.concat([frames, tf.zeros([missing, channels], tf.int16)], axis=0)

    signature = tf.TensorSpec([None, channels], tf.int16)
    flat = tf.reshape(blobs, [-1])
    table = tf.map_fn(padded, flat, fn_output_signature=signature)  # type: ignore[call-overload]
    shape = tf.concat([tf.shape(blobs), [samples, channels]], axis=0)
    return tf.reshape(table, shape)


def _decode_in_python(blobs: np.ndarray, samples: int, channels: int) -> np.ndarray:
    table = np.zeros((*blobs.shape, samples, channels), np.int16)
    for position, blob in np.ndenumerate(blobs):
        if blob:
            frames, _ = soundfile.read(io.BytesIO(blob), dtype="int16", always_2d=True)
            table[position][: len(frames)] = frames
    return table
