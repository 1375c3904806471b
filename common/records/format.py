"""Encode one record: a chunk of a track with all its sources."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from common.records import flac

BYTES_PER_SAMPLE = {"pcm16": 2, "float32": 4, "flac": 2}
ENCODINGS = tuple(BYTES_PER_SAMPLE)
FRAMING_BYTES = 16
"""Bytes that a TFRecord file adds to each record: its length and two checksums."""
PCM16_SCALE = 32768


class RecordsError(ValueError):
    """Tracks that cannot be written as records, or records that cannot be read."""


def encode(waveform: np.ndarray, encoding: str, sample_rate: int, label: str) -> bytes:
    """Encode a waveform as one blob; silence becomes an empty one.

    Sixteen-bit samples are ``round(32768 * x)``, which restores a 16-bit file bit for
    bit; exactly +1.0, which 16 bits cannot hold, becomes 32767.

    Args:
        waveform: Samples, float [channels, samples], full scale +-1.
        encoding: One of :data:`ENCODINGS`.
        sample_rate: Rate in Hz, kept in the header of a FLAC blob.
        label: Track and source, for the error.

    Returns:
        Interleaved little-endian frames, a complete FLAC file, or ``b""``.

    Raises:
        RecordsError: If a sample is not finite, or beyond full scale in 16 bits.

    >>> encode(np.array([[0.5, -1.0]]), "pcm16", 8000, "a").hex()
    '00400080'
    """
    if not waveform.any():
        return b""
    peak = float(np.abs(waveform).max())
    if not np.isfinite(peak):
        raise RecordsError(
            f"{label} holds a sample that is not a finite number; repair the file, or "
            "leave the track out."
        )
    frames = np.ascontiguousarray(waveform.T)
    if encoding == "float32":
        return frames.astype("<f4").tobytes()
    if peak > 1.0:
        raise RecordsError(
            f"{label} peaks at {peak:.6g}, beyond the full scale of 1.0 that "
            f"records_encoding={encoding} holds; set records_encoding=float32."
        )
    pcm = np.minimum(np.rint(frames * PCM16_SCALE), PCM16_SCALE - 1).astype("<i2")
    return pcm.tobytes() if encoding == "pcm16" else flac.encode(pcm, sample_rate)


def example(
    heading: dict[str, str | int],
    source_names: tuple[str, ...],
    sources: list[bytes],
    mixture: bytes | None,
) -> bytes:
    """Serialize one record, always to the same bytes.

    Args:
        heading: ``name``, ``piece``, ``start``, ``samples``, ``channels`` and
            ``sample_rate`` of the chunk.
        source_names: Names of all sources of the index.
        sources: One blob for each name, empty if the track lacks the source.
        mixture: Blob of the mixture, or None if it is the sum of the sources.

    Returns:
        A serialized ``tf.train.Example``.
    """
    features = {key: _feature(value) for key, value in heading.items()}
    features["source_names"] = _bytes([name.encode() for name in source_names])
    features["sources"] = _bytes(sources)
    if mixture is not None:
        features["mixture"] = _bytes([mixture])
    message = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(message.SerializeToString(deterministic=True))


def _feature(value: str | int) -> tf.train.Feature:
    if isinstance(value, str):
        return _bytes([value.encode()])
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
