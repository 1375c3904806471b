"""Find damaged records: in a whole folder, or at the offset that an error names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from common.records.format import RecordsError
from common.records.index import Entry, Index, load_index
from common.records.reader import read_records

BUFFER_BYTES = 2**20
HEADER_BYTES = 12
"""Length and checksum of a record, which TensorFlow reads before the content."""


def verify(folder: str | Path) -> Index:
    """Read every record of a folder and compare it with its checksum and the index.

    Args:
        folder: The records.

    Returns:
        The index, if every record is as it was written.

    Raises:
        RecordsError: A record is damaged; the error names the shard and track of the
            first.
    """
    index = load_index(folder)
    for number, shard in enumerate(index.shards):
        path = index.folder / shard.name
        content = hashlib.sha256()
        records = tf.data.TFRecordDataset(
            str(path), None, BUFFER_BYTES
        ).as_numpy_iterator()
        for entry, offset in _offsets(index, number):
            try:
                record = bytes(next(records))
            except (tf.errors.OpError, StopIteration):
                raise RecordsError(_damaged(path, entry, offset)) from None
            content.update(record)
        if content.hexdigest() != shard.sha256:
            raise RecordsError(
                f"{path} holds other records than the index beside it describes; copy "
                "or write them again."
            )
    return index


def explain(error: Exception, index: Index) -> str:
    """Return a sentence with the shard and track that a TensorFlow error is about.

    TensorFlow names only an offset (``corrupted record at 1028``). The records at that
    offset, at most one in each shard, are read again to find the damaged one.

    Args:
        error: Error of a pipeline over :func:`common.records.excerpt`.
        index: Index of the records that it read.

    Returns:
        One sentence with shard and track, or with the command that finds them.
    """
    match = re.search(r"(?:corrupted|truncated) record at (\d+)", str(error))
    damaged = int(match.group(1)) if match else -1
    for number, shard in enumerate(index.shards):
        path = index.folder / shard.name
        for entry, offset in _offsets(index, number):
            is_named = offset in (damaged, damaged - HEADER_BYTES)
            if is_named and not _readable(path, offset):
                return _damaged(path, entry, offset)
    return (
        f"Reading {index.folder} failed; `python -m common.records verify "
        f"'{index.folder}'` names a damaged shard."
    )


def _offsets(index: Index, shard: int) -> Iterator[tuple[Entry, int]]:
    """Yield the track and the offset of each record of a shard."""
    for entry in index.tracks:
        if entry.shard == shard:
            for offset in entry.offsets:
                yield entry, offset


def _readable(path: Path, offset: int) -> bool:
    try:
        read_records(str(path), tf.constant(offset, tf.int64), 1)
    except tf.errors.OpError:
        return False
    return True


def _damaged(path: Path, entry: Entry, offset: int) -> str:
    return (
        f"{path} is damaged in the record of track {entry.name!r} that begins at byte "
        f"{offset}; copy this file again, or delete it and write the records again."
    )
