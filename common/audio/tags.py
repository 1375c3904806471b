"""Tags of sound files, such as title and artist, from one container to another."""

from __future__ import annotations

import contextlib
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

import soundfile

from common.audio.decoding import open_file
from common.audio.ffmpeg import ffmpeg_url

NONE: Mapping[str, str] = {}
RIFF_NAMES = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "date": b"ICRD",
    "genre": b"IGNR",
    "tracknumber": b"ITRK",
    "comment": b"ICMT",
    "copyright": b"ICOP",
}
"""Chunks of a wav's LIST INFO by libsndfile's names of the tags that are kept."""

FFMPEG_NAMES = {"tracknumber": "track"}
"""ffmpeg's names of tags that differ from those of libsndfile."""


def read_tags(path: Path) -> dict[str, str]:
    """Read the tags of a sound file.

    Args:
        path: A sound file.

    Returns:
        The text of each tag in :data:`RIFF_NAMES` that the file has; empty if
        they cannot be read.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.flac")
    >>> with soundfile.SoundFile(file, "w", 8000, 1) as sound:
    ...     sound.title = "Blue"
    ...     sound.write([0.0])
    >>> read_tags(file)
    {'title': 'Blue'}
    """
    file = open_file(path)
    if file is None:
        tags = _probed(path)
    else:
        with file:
            # libsndfile does not read the comment of opus where ffmpeg writes it.
            is_opus = file.subtype == "OPUS"
            tags = _probed(path) if is_opus else file.copy_metadata()
    return kept_tags(tags)


def kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Select the tags that are kept.

    >>> kept_tags({"title": "Blue", "software": "Lavf", "album": ""})
    {'title': 'Blue'}
    """
    return {name: tags[name] for name in RIFF_NAMES if tags.get(name)}


def _probed(path: Path) -> dict[str, str]:
    """Read the tags of a container and its first audio stream with ffprobe."""
    if not shutil.which("ffprobe"):
        return {}
    import ffmpeg

    try:
        probed = ffmpeg.probe(ffmpeg_url(path), v="error", select_streams="a:0")
    except ffmpeg.Error:
        return {}
    ours = {theirs: name for name, theirs in FFMPEG_NAMES.items()}
    tags: dict[str, str] = {}
    for part in (*probed["streams"], probed["format"]):
        for name, text in part.get("tags", {}).items():
            tags[ours.get(name.lower(), name.lower())] = text
    return tags


def set_tags(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    """Set the tags that the container of a new file supports.

    Args:
        file: Open for writing, without samples.
        tags: Text of each tag.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.flac")
    >>> with soundfile.SoundFile(path, "w", 8000, 1) as sound:
    ...     set_tags(sound, {"artist": "Ella"})
    ...     sound.write([0.0])
    >>> read_tags(path)
    {'artist': 'Ella'}
    """
    for name, text in tags.items():
        with contextlib.suppress(soundfile.LibsndfileError):
            setattr(file, name, text)


def wav_chunk(tags: Mapping[str, str]) -> bytes:
    r"""Return tags as the LIST INFO chunk of a wav; empty without tags.

    >>> wav_chunk({"title": "A"})
    b'LIST\x0e\x00\x00\x00INFOINAM\x02\x00\x00\x00A\x00'
    >>> wav_chunk({})
    b''
    """
    chunks = b""
    for name, text in tags.items():
        data = text.encode("utf-8", "replace") + b"\0"
        chunks += RIFF_NAMES[name] + struct.pack("<I", len(data)) + data
        chunks += b"\0" * (len(data) % 2)
    if not chunks:
        return b""
    return b"LIST" + struct.pack("<I", 4 + len(chunks)) + b"INFO" + chunks


def ffmpeg_options(tags: Mapping[str, str]) -> list[str]:
    """Return the options of ffmpeg that write tags.

    >>> ffmpeg_options({"tracknumber": "7"})
    ['-metadata', 'track=7']
    """
    words = []
    for name, text in tags.items():
        words += ["-metadata", f"{FFMPEG_NAMES.get(name, name)}={text}"]
    return words
