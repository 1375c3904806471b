"""Read excerpts of plain wav files inside ``Dataset.map``.

The bytes of an excerpt are contiguous, so it is read without the rest of the file and
without a decoder. TensorFlow has no operation that reads from the middle of a file (its
records of fixed length read all bytes before), so this is a function in Python, which
releases the lock of the interpreter while it reads. It is declared stateless, because
deterministic runs would otherwise read with one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import tensorflow as tf

from common.audio import plain_wav
from common.audio.headers import AudioError, chunks, is_whole

ENCODINGS: dict[str, np.dtype] = {"PCM_16": np.dtype("<i2"), "FLOAT": np.dtype("<f4")}
SCALES = {"PCM_16": 1 / 32768, "FLOAT": 1.0}


class WavLayout(NamedTuple):
    """Position and format of the samples of a wav file.

    Attributes:
        path: The file.
        sample_rate: Rate in Hz.
        channels: Number of channels.
        samples: Length in samples.
        encoding: Key of :data:`ENCODINGS`.
        first_byte: Byte at which the samples begin.
    """

    path: Path
    sample_rate: int
    channels: int
    samples: int
    encoding: str
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
    head = plain_wav.read(path) or _probed_header(path)
    if head is None or head.encoding not in ENCODINGS:
        return None
    return WavLayout(path, *head)


def _probed_header(path: Path) -> plain_wav.Header | None:
    """Return the header of a wav that only libsndfile reads, such as a WAVEX."""
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, TypeError):
        return None
    if info.format not in ("WAV", "WAVEX") or info.subtype not in ENCODINGS:
        return None
    if not is_whole(path, info.format):
        return None
    sound_bytes = info.frames * info.channels * ENCODINGS[info.subtype].itemsize
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for name, length, first in chunks(file):
            if name == b"data" and min(length, size - first) >= sound_bytes:
                facts = info.samplerate, info.channels, info.frames, info.subtype
                return plain_wav.Header(*facts, first)
    return None


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
        shape = [numbers.shape[0], self.channels, static_length]
        fixed: tf.Tensor = tf.ensure_shape(waves, shape)
        return fixed

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
