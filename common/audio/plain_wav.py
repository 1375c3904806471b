"""Read the header of a plain wav file from its first bytes.

For the tens of thousands of files of a corpus, one read of each gives their lengths ten
times faster than a decoder. All other files are left to the decoder and its errors.
"""

from __future__ import annotations

import io
import os
import struct
from typing import NamedTuple

from common.audio.headers import chunks

HEAD_BYTES = 512
ENCODINGS = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
}
"""libsndfile's names of the samples, by format and bits."""


class Header(NamedTuple):
    """Rate in Hz, channels, length, encoding and first byte of the samples."""

    sample_rate: int
    channels: int
    samples: int
    encoding: str
    first_byte: int


def read(path: str | os.PathLike[str]) -> Header | None:
    """Read the header of a wav file.

    Args:
        path: A file of any format.

    Returns:
        The header; None if the file is not a wav of plain samples, is shorter than its
        header states, or states no length.

    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 44, b"WAVE", b"fmt ",
    ...     16, 1, 1, 8000, 16000, 2, 16) + struct.pack("<4sI", b"data", 8)
    >>> _ = file.write_bytes(header + bytes(8))
    >>> read(file)
    Header(sample_rate=8000, channels=1, samples=4, encoding='PCM_16', first_byte=44)
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        head, size = os.read(file, HEAD_BYTES), os.fstat(file).st_size
    except OSError:
        return None
    finally:
        os.close(file)
    return _parse(head, size)


def _parse(head: bytes, size: int) -> Header | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    form = None
    for name, length, first_byte in chunks(io.BytesIO(head)):
        if name == b"fmt " and first_byte + 16 <= len(head):
            form = struct.unpack_from("<HHIIHH", head, first_byte)
        if name == b"data":
            return _header(form, length, first_byte, size)
    return None


def _header(
    form: tuple[int, ...] | None, length: int, first_byte: int, size: int
) -> Header | None:
    """Return the header if all its numbers are consistent."""
    if form is None:
        return None
    format_tag, channels, rate, _, frame_bytes, bits = form
    encoding = ENCODINGS.get((format_tag, bits))
    if not rate or not frame_bytes or channels * bits != 8 * frame_bytes:
        return None
    is_all = 0 < length <= size - first_byte and not length % frame_bytes
    if encoding is None or not is_all:
        return None
    return Header(rate, channels, length // frame_bytes, encoding, first_byte)
