"""Sound files of any container, in and out, in chunks: probe, read, blocks, write."""

from __future__ import annotations

from common.audio.files import (
    CHUNK_SAMPLES,
    FORMATS,
    GROWING,
    SUFFIXES,
    AudioError,
    AudioInfo,
    Format,
    Writer,
    blocks,
    format_of,
    loudest,
    probe,
    read,
    write,
)

__all__ = [
    "CHUNK_SAMPLES",
    "FORMATS",
    "GROWING",
    "SUFFIXES",
    "AudioError",
    "AudioInfo",
    "Format",
    "Writer",
    "blocks",
    "format_of",
    "loudest",
    "probe",
    "read",
    "write",
]
