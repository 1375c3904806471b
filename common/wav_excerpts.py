"""Excerpts of plain wav files, read by graph operations alone.

A training that draws seconds out of songs needs neither the rest of the file nor a
decoder: the bytes of an excerpt lie together. They are read at their place in the file
inside ``Dataset.map``, by many threads, without a word of Python.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import tensorflow as tf

from common.containers import is_whole

ENCODINGS = {"PCM_16": tf.int16, "FLOAT": tf.float32}
SCALES = {"PCM_16": 1 / 32768, "FLOAT": 1.0}
BUFFER_BYTES = 2**18


class WavLayout(NamedTuple):
    """Where the samples of a wav file lie.

    Attributes:
        path: The file.
        encoding: Key of :data:`ENCODINGS`.
        channels: Number of channels.
        sample_rate: Rate in Hz.
        samples: Length in samples.
        first_byte: Byte at which the samples begin.
        bytes: Size of the file.
    """

    path: Path
    encoding: str
    channels: int
    sample_rate: int
    samples: int
    first_byte: int
    bytes: int


def layout(path: Path) -> WavLayout | None:
    """Find the samples of a file.

    Args:
        path: A sound file of any kind.

    Returns:
        The layout; None where the file is no wav of 16-bit or float samples that
        states its length, and must be decoded.

    Raises:
        AudioError: The file ends before the sound that its header promises.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, subtype="PCM_16")
    >>> layout(file).first_byte
    44
    """
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, TypeError):
        return None
    if info.format not in ("WAV", "WAVEX") or info.subtype not in ENCODINGS:
        return None
    first, length = _data_chunk(path)
    frame_bytes = info.channels * ENCODINGS[info.subtype].size
    if not is_whole(path, info.format) or length < info.frames * frame_bytes:
        return None
    return WavLayout(
        path,
        info.subtype,
        info.channels,
        info.samplerate,
        info.frames,
        first,
        path.stat().st_size,
    )


class WavFiles:
    """Plain wav files of one encoding and number of channels, by number.

    Args:
        layouts: From :func:`layout`.
    """

    def __init__(self, layouts: Sequence[WavLayout]) -> None:
        self.layouts = tuple(layouts)
        self.channels = layouts[0].channels
        self.encoding = layouts[0].encoding
        self.paths = np.array([str(each.path) for each in layouts])
        self.first_bytes = np.array([each.first_byte for each in layouts], np.int64)
        self.bytes = np.array([each.bytes for each in layouts], np.int64)

    def excerpt(
        self, number: tf.Tensor, start: tf.Tensor, samples: int | tf.Tensor
    ) -> tf.Tensor:
        """Read an excerpt, which must lie within the file.

        Args:
            number: Which file, int64 scalar.
            start: First sample, int64 scalar.
            samples: Length; a tensor where it is not one number for all excerpts.

        Returns:
            float32 [channels, samples], full scale +-1.
        """
        kind = ENCODINGS[self.encoding]
        frame_bytes = self.channels * kind.size
        before = tf.gather(self.first_bytes, number) + start * frame_bytes
        wanted = tf.cast(samples, tf.int64) * frame_bytes
        variant = tf.raw_ops.FixedLengthRecordDatasetV2(
            filenames=[tf.gather(self.paths, number)],
            header_bytes=before,
            record_bytes=wanted,
            # The file is to be header, one record and footer, nothing else.
            footer_bytes=tf.gather(self.bytes, number) - before - wanted,
            buffer_size=tf.constant(BUFFER_BYTES, tf.int64),
            compression_type="",
        )
        one = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
        flat = tf.io.decode_raw(one.get_single_element(), kind)
        length = samples if isinstance(samples, int) else -1
        frames = tf.reshape(flat, [length, self.channels])
        return _planar(frames, SCALES[self.encoding])


def _planar(frames: tf.Tensor, scale: float) -> tf.Tensor:
    """Turn frames [samples, channels] into float32 [channels, samples]."""
    waveform = tf.cast(tf.transpose(frames), tf.float32)
    return waveform if scale == 1.0 else waveform * scale


def _data_chunk(path: Path) -> tuple[int, int]:
    """First byte and number of bytes of the samples; nothing where there are none."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        position = 12
        while position + 8 <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"data":
                return position + 8, min(length, size - position - 8)
            position += 8 + length + length % 2
    return 0, 0
