"""Records: tracks in sharded TFRecord files for random access inside a graph.

A record is one chunk of a track with all its sources; a JSON index beside the shards
holds the offset of each chunk. :func:`write` writes records, :func:`load_index` opens
them, :func:`excerpt` and :func:`shuffled` read them inside ``Dataset.map``:

    index = records.load_index(folder)
    positions = tf.data.Dataset.range(first_step, 2**62)
    examples = positions.map(lambda position: records.excerpt(
        index, records.shuffled(position, len(index), seed), 0, 160_000))
"""

from __future__ import annotations

from common.records.check import explain, verify
from common.records.encoding import AUTO, folder_of, lossless
from common.records.flac import flac_decoder
from common.records.format import ENCODINGS, RecordsError
from common.records.index import Entry, Index, load_index
from common.records.reader import excerpt, shuffled
from common.records.writer import BadTracksError, write

__all__ = [
    "AUTO",
    "ENCODINGS",
    "BadTracksError",
    "Entry",
    "Index",
    "RecordsError",
    "excerpt",
    "explain",
    "flac_decoder",
    "folder_of",
    "load_index",
    "lossless",
    "shuffled",
    "verify",
    "write",
]
