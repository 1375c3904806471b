"""Read and write sound files of any container, at once or in chunks."""

from __future__ import annotations

from common.audio.encoding import CHUNK_SAMPLES, FORMATS, GROWING, Writer
from common.audio.files import (
    SUFFIXES,
    AudioInfo,
    blocks,
    count,
    format_of,
    loudest,
    probe,
    read,
    write,
)
from common.audio.headers import AudioError

__all__ = [
    "CHUNK_SAMPLES",
    "FORMATS",
    "GROWING",
    "SUFFIXES",
    "AudioError",
    "AudioInfo",
    "Writer",
    "blocks",
    "count",
    "format_of",
    "loudest",
    "probe",
    "read",
    "write",
]
