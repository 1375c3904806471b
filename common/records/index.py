"""The index of a folder of records: its tracks, and the offset of each chunk."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.corpora.track import BadTrack
from common.files import write_text
from common.records.format import ENCODINGS, RecordsError

INDEX_NAME = "index.json"
VERSION = 1


class Entry(NamedTuple):
    """One track.

    Attributes:
        name: Name of the track.
        samples: Length in samples.
        sources: Names of the sources that the track has.
        mixture: Whether a mixture is stored; else it is the sum of the sources.
        shard: Number of the shard that holds all chunks of the track.
        offsets: Offset of each chunk in the shard, in bytes.
    """

    name: str
    samples: int
    sources: tuple[str, ...]
    mixture: bool
    shard: int
    offsets: tuple[int, ...]


class Shard(NamedTuple):
    """One file: its name, its size, and the SHA-256 of its records without framing."""

    name: str
    bytes: int
    sha256: str


class Tables(NamedTuple):
    """The index as arrays, for look-ups in a graph: [tracks], ``offsets`` [chunks]."""

    samples: np.ndarray
    shard: np.ndarray
    mixture: np.ndarray
    first_chunk: np.ndarray
    chunks: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Index:
    """A folder of records.

    Attributes:
        folder: Folder of the shards.
        encoding: ``"pcm16"``, ``"float32"`` or ``"flac"``.
        sample_rate: Rate in Hz.
        channels: Channels of every sound.
        sources: Names of all sources, in order of first appearance.
        piece_samples: Length of a chunk, or None if each track is one chunk.
        padded: Number of sounds shorter than their track, zero padded at the end.
        cut: Number of sounds longer than their track, cut at its end.
        shards: The files.
        tracks: The tracks, in the order of the call that wrote them.
        plan: Digest of the tracks, files and options.
        skipped: Tracks that could not be read or written, and are left out.
    """

    folder: Path
    encoding: str
    sample_rate: int
    channels: int
    sources: tuple[str, ...]
    piece_samples: int | None
    padded: int
    cut: int
    shards: tuple[Shard, ...]
    tracks: tuple[Entry, ...]
    plan: str
    skipped: tuple[BadTrack, ...] = ()

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def hours(self) -> float:
        """Total duration of all tracks."""
        samples = sum(entry.samples for entry in self.tracks)
        return samples / self.sample_rate / 3600

    @property
    def digest(self) -> str:
        """SHA-256 of the content of all shards."""
        joined = "".join(shard.sha256 for shard in self.shards)
        return hashlib.sha256(joined.encode()).hexdigest()

    @functools.cached_property
    def tables(self) -> Tables:
        """The look-up tables of the reader."""
        chunks = np.array([len(entry.offsets) for entry in self.tracks], np.int64)
        return Tables(
            samples=np.array([entry.samples for entry in self.tracks], np.int64),
            shard=np.array([entry.shard for entry in self.tracks], np.int64),
            mixture=np.array([entry.mixture for entry in self.tracks], bool),
            first_chunk=np.cumsum(chunks) - chunks,
            chunks=chunks,
            offsets=np.array(
                [offset for entry in self.tracks for offset in entry.offsets], np.int64
            ),
        )


def save_index(index: Index) -> None:
    """Write ``index.json`` into the folder of the index, atomically.

    Args:
        index: The index.
    """
    head = {
        "version": VERSION,
        "encoding": index.encoding,
        "sample_rate": index.sample_rate,
        "channels": index.channels,
        "sources": index.sources,
        "piece_samples": index.piece_samples,
        "count": len(index),
        "hours": round(index.hours, 4),
        "padded": index.padded,
        "cut": index.cut,
        "digest": index.digest,
        "plan": index.plan,
    }
    lines = [f"{_json(key)}: {_json(value)}" for key, value in head.items()]
    shards = [_json(shard._asdict()) for shard in index.shards]
    tracks = [_json(_track_fields(index, entry)) for entry in index.tracks]
    tables = {"shards": shards, "tracks": tracks}
    if index.skipped:
        tables["skipped"] = [_json(bad._asdict()) for bad in index.skipped]
    for key, rows in tables.items():
        lines.append(f"{_json(key)}: [\n  " + ",\n  ".join(rows) + "\n ]")
    write_text(index.folder / INDEX_NAME, "{\n " + ",\n ".join(lines) + "\n}\n")


def load_index(folder: str | Path) -> Index:
    """Open a folder of records.

    Args:
        folder: A folder that :func:`common.records.write` has finished.

    Returns:
        The index; every shard exists and has its full size.

    Raises:
        RecordsError: If the index is missing or of another version, or a shard is
            missing or has another size.
    """
    folder = Path(folder).absolute()
    path = folder / INDEX_NAME
    try:
        fields = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RecordsError(
            f"{folder} holds no {INDEX_NAME}, which a finished set of records has; "
            "check the path, or write the records (again) into it."
        ) from None
    except (ValueError, RecursionError) as error:
        raise RecordsError(
            f"{path} is not valid JSON ({error}); copy or write the records again."
        ) from None
    index = _parse(folder, fields)
    for shard in index.shards:
        _check_size(folder / shard.name, shard.bytes)
    return index


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _track_fields(index: Index, entry: Entry) -> dict[str, Any]:
    # Values that most tracks share are left out: all sources, and no stored mixture.
    fields = entry._asdict()
    if entry.sources == index.sources:
        del fields["sources"]
    if not entry.mixture:
        del fields["mixture"]
    return fields


def _parse(folder: Path, fields: Any) -> Index:
    path = folder / INDEX_NAME
    version = fields.get("version") if isinstance(fields, dict) else None
    if version != VERSION:
        raise RecordsError(
            f"{path} has version {version!r}, this program reads version {VERSION}; "
            "write the records again."
        )
    try:
        sources = tuple(fields["sources"])
        index = Index(
            folder=folder,
            **{key: fields[key] for key in ("encoding", "sample_rate", "channels")},
            **{key: fields[key] for key in ("piece_samples", "padded", "cut", "plan")},
            sources=sources,
            shards=tuple(Shard(**shard) for shard in fields["shards"]),
            tracks=tuple(_entry(track, sources) for track in fields["tracks"]),
            skipped=tuple(BadTrack(**bad) for bad in fields.get("skipped", [])),
        )
    except (KeyError, TypeError) as error:
        raise RecordsError(
            f"{path} lacks or misspells a field ({error}); copy or write the records "
            "again."
        ) from None
    if index.encoding not in ENCODINGS or fields.get("digest") != index.digest:
        raise RecordsError(
            f"{path} was changed after it was written (its encoding or digest does not "
            "fit); copy or write the records again."
        )
    return index


def _entry(fields: dict[str, Any], sources: tuple[str, ...]) -> Entry:
    filled = {"sources": sources, "mixture": False, **fields}
    filled["sources"] = tuple(filled["sources"])
    return Entry(**{**filled, "offsets": tuple(fields["offsets"])})


def _check_size(path: Path, expected: int) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise RecordsError(
            f"{path} is missing, {INDEX_NAME} beside it lists it with {expected} "
            "bytes; copy or write the records again."
        ) from None
    if size != expected:
        raise RecordsError(
            f"{path} has {size} bytes, {INDEX_NAME} beside it says {expected}; it was "
            "copied incompletely or changed: copy or write the records again."
        )
