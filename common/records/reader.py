"""Read records inside a graph: excerpts at any position, and endless shuffling."""

from __future__ import annotations

import tensorflow as tf

from common.records import flac
from common.records.format import BYTES_PER_SAMPLE, PCM16_SCALE
from common.records.index import Index

BUFFER_BYTES = 0
"""No buffer: reading records directly takes a little less CPU."""


def excerpt(
    index: Index, track: tf.Tensor, start: tf.Tensor, samples: int | tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return an excerpt of a track with all its sources, by graph operations alone.

    Only the records that the excerpt overlaps are read. Samples before and after the
    track are zero, and so is a source that the track lacks.

    Args:
        index: The records, from :func:`common.records.load_index`.
        track: Position of the track in the index, int64 scalar.
        start: First sample of the excerpt, int64 scalar; may be negative.
        samples: Length of the excerpt; an int64 tensor if lengths vary.

    Returns:
        ``sources`` [sources, channels, samples] in the order of the index, and
        ``mixture`` [channels, samples]; float32, full scale +-1.
    """
    track, start = tf.cast(track, tf.int64), tf.cast(start, tf.int64)
    tables = index.tables
    chunk_samples = tf.constant(index.piece_samples or 0, tf.int64)
    if index.piece_samples is None:
        chunk_samples = tf.gather(tables.samples, track)
    last = tf.gather(tables.chunks, track) - 1
    first = tf.clip_by_value(start // chunk_samples, 0, last)
    end = tf.clip_by_value((start + samples - 1) // chunk_samples, 0, last)
    blobs = _read_blobs(index, track, first, end - first + 1)
    frames = _decode(index, blobs, chunk_samples)
    begin = tf.cast(start - first * chunk_samples, tf.int32)
    frames = _cut(frames, begin, samples)
    return _waveforms(index, track, frames)


def shuffled(position: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Return the example at a position of an endless shuffled sequence.

    The sequence is a permutation of all examples, then another one, and so on. It
    depends on nothing but the arguments, so a run can resume at any position.

    Args:
        position: Position in the sequence, int64 scalar, from 0.
        count: Number of examples.
        seed: Any integer.

    Returns:
        Index of the example, int64 scalar in [0, count).

    >>> sorted(int(shuffled(position, 3, seed=0)) for position in range(3))
    [0, 1, 2]
    """
    position = tf.cast(position, tf.int64)
    seeds = tf.constant([seed % 2**63, 0], tf.int64)
    random = tf.random.experimental  # type: ignore[attr-defined]
    epoch_seed = random.stateless_fold_in(seeds, position // count)
    index = tf.math.floormod(position, tf.constant(count, tf.int64))
    last = tf.constant(count - 1, tf.int64)
    shuffled_index: tf.Tensor = random.index_shuffle(index, epoch_seed, last)
    return shuffled_index


def read_records(
    path: tf.Tensor | str, offset: tf.Tensor | int, count: tf.Tensor | int
) -> tf.Tensor:
    """Read consecutive records of one file.

    Args:
        path: The file, string scalar.
        offset: Offset of the first of them in bytes, int64 scalar.
        count: Number of records, int64 scalar.

    Returns:
        Serialized examples, string [count].
    """
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.constant(BUFFER_BYTES, tf.int64),
        byte_offsets=[offset],
    )
    records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
    serialized: tf.Tensor = records.take(count).batch(count).get_single_element()
    return serialized


def _read_blobs(
    index: Index, track: tf.Tensor, first: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """Return the blobs of the sources, and of the mixture if any is stored."""
    tables = index.tables
    paths = tf.constant([str(index.folder / shard.name) for shard in index.shards])
    path = tf.gather(paths, tf.gather(tables.shard, track))
    chunk = tf.gather(tables.first_chunk, track) + first
    serialized = read_records(path, tf.gather(tables.offsets, chunk), count)
    features = {"sources": tf.io.FixedLenFeature([len(index.sources)], tf.string)}
    if tables.mixture.any():
        features["mixture"] = tf.io.FixedLenFeature([1], tf.string, [""])
    parsed = tf.io.parse_example(serialized, features)
    blobs = [parsed["sources"]] + [parsed[key] for key in parsed if key == "mixture"]
    return tf.concat(blobs, axis=1)  # type: ignore[arg-type]


def _decode(index: Index, blobs: tf.Tensor, chunk_samples: tf.Tensor) -> tf.Tensor:
    """Return the stored frames [sounds, chunks * samples, channels]."""
    channels = index.channels
    # Sounds first; oneDNN prints an error where tf.transpose gets strings or int16.
    blobs = tf.stack(tf.unstack(blobs, axis=1))
    if index.encoding == "flac":
        frames = flac.decode(blobs, chunk_samples, channels)
    else:
        # The fixed length pads short last chunks and silent sources with zeros.
        size = chunk_samples * channels * BYTES_PER_SAMPLE[index.encoding]
        dtype = tf.float32 if index.encoding == "float32" else tf.int16
        frames = tf.io.decode_raw(blobs, dtype, fixed_length=tf.cast(size, tf.int32))
    return tf.reshape(frames, [blobs.shape[0], -1, channels])


def _cut(frames: tf.Tensor, begin: tf.Tensor, samples: int | tf.Tensor) -> tf.Tensor:
    static_length = samples if isinstance(samples, int) else None
    samples = tf.cast(samples, tf.int32)
    total = tf.shape(frames)[1]
    first = tf.clip_by_value(begin, 0, total)
    end = tf.clip_by_value(begin + samples, 0, total)
    front = tf.clip_by_value(-begin, 0, samples)
    back = samples - front - (end - first)
    edges = [tf.zeros(2, tf.int32), tf.stack([front, back]), tf.zeros(2, tf.int32)]
    # As float32, because oneDNN prints an error where tf.pad gets int16.
    padded = tf.pad(tf.cast(frames[:, first:end], tf.float32), tf.stack(edges))
    fixed: tf.Tensor = tf.ensure_shape(padded, [None, static_length, None])
    return fixed


def _waveforms(
    index: Index, track: tf.Tensor, frames: tf.Tensor
) -> dict[str, tf.Tensor]:
    waveforms = tf.transpose(frames, [0, 2, 1])
    if index.encoding != "float32":
        waveforms *= 1 / PCM16_SCALE
    count = len(index.sources)
    sources = waveforms[:count]
    stored = index.tables.mixture
    if stored.all():
        mixture = waveforms[count]
    else:
        mixture = tf.reduce_sum(sources, axis=0)
        if stored.any():
            mixture = tf.where(tf.gather(stored, track), waveforms[count], mixture)
    return {"sources": sources, "mixture": mixture}
