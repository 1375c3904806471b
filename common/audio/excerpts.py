"""Read excerpts of plain wav files inside ``Dataset.map``.

The bytes of an excerpt are contiguous, so it is read without the rest of the file and
without a decoder. TensorFlow has no operation that reads from the middle of a file (its
records of fixed length read all bytes before), so this is a function in Python, which
releases the lock of the interpreter while it reads. It is declared stateless, because
deterministic runs would otherwise read with one thread.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import tensorflow as tf

from common.audio import plain_wav
from common.audio.headers import AudioError, is_whole

ENCODINGS: dict[str, np.dtype] = {"PCM_16": np.dtype("<i2"), "FLOAT": np.dtype("<f4")}
SCALES = {"PCM_16": 1 / 32768, "FLOAT": 1.0}


class WavLayout(NamedTuple):
    """Position and format of the samples of a wav file.

    Attributes:
        path: The file.
        encoding: Key of :data:`ENCODINGS`.
        channels: Number of channels.
        sample_rate: Rate in Hz.
        samples: Length in samples.
        first_byte: Byte at which the samples begin.
    """

    path: Path
    encoding: str
    channels: int
    sample_rate: int
    samples: int
    first_byte: int


def layout(path: Path) -> WavLayout | None:
    """Find the samples of a file.

    Args:
        path: A sound file of any format.

    Returns:
        The layout; None if the file is not a wav of 16-bit or float samples with a
        stated length, so that it must be decoded.

    Raises:
        AudioError: The file ends before the sound that its header promises.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, subtype="PCM_16")
    >>> layout(file).first_byte
    44
    """
    head = plain_wav.read(path)
    if head is not None:
        rate, channels, samples, encoding, first = head
        if encoding not in ENCODINGS:
            return None
        return WavLayout(path, encoding, channels, rate, samples, first)
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, TypeError):
        return None
    if info.format not in ("WAV", "WAVEX") or info.subtype not in ENCODINGS:
        return None
    first, length = _data_chunk(path)
    frame_bytes = info.channels * ENCODINGS[info.subtype].itemsize
    if not is_whole(path, info.format) or length < info.frames * frame_bytes:
        return None
    return WavLayout(
        path,
        info.subtype,
        info.channels,
        info.samplerate,
        info.frames,
        first,
    )


class WavFiles:
    """Plain wav files of one encoding and number of channels, by number.

    Args:
        layouts: From :func:`layout`.

    Attributes:
        scale: Factor from stored samples to full scale +-1.
    """

    def __init__(self, layouts: Sequence[WavLayout]) -> None:
        self.layouts = tuple(layouts)
        self.channels = layouts[0].channels
        self.encoding = layouts[0].encoding
        self.scale = SCALES[self.encoding]

    def excerpts(
        self, numbers: tf.Tensor, starts: tf.Tensor, samples: int | tf.Tensor
    ) -> tf.Tensor:
        """Read excerpts of one length, which must lie within their files.

        Args:
            numbers: Indices of the files, int64 [excerpts] of static shape.
            starts: First samples, int64 [excerpts].
            samples: Length; a tensor if it varies.

        Returns:
            float32 [excerpts, channels, samples] as stored: multiply by ``scale`` for
            full scale +-1. A mixer can include it in the gain of each sound.
        """
        waves = tf.numpy_function(
            self._read, (numbers, starts, samples), tf.float32, stateful=False
        )
        static_length = samples if isinstance(samples, int) else None
        return tf.ensure_shape(waves, [numbers.shape[0], self.channels, static_length])

    def _read(
        self, numbers: np.ndarray, starts: np.ndarray, samples: int
    ) -> np.ndarray:
        waves = np.empty([len(numbers), self.channels, samples], np.float32)
        frames = np.empty([samples, self.channels], ENCODINGS[self.encoding])
        for wave, number, start in zip(waves, numbers, starts, strict=True):
            layout = self.layouts[number]
            with layout.path.open("rb", buffering=0) as file:
                first = layout.first_byte + int(start) * frames.itemsize * self.channels
                file.seek(first)
                if (file.readinto(frames.data) or 0) < frames.nbytes:
                    raise AudioError(
                        f"{layout.path} became shorter during the training; start "
                        "the training again."
                    )
            wave[:] = frames.T
        return waves


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
