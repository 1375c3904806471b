"""Google's roomsim records as a corpus: examples in TFRecord files become records here.

An example holds ``receiver_audio`` [microphones, samples] and ``source_images``
[sources, microphones, samples] as flat lists of floats, with neither their shapes nor
their rate. One microphone is assumed, so that the length follows from the first list.
Other features, such as diarization labels, are ignored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.corpora.track import CorpusError, Sound, Track
from common.files import write_json
from common.records.encoding import AUTO, folder_of
from common.records.format import FRAMING_BYTES, PCM16_SCALE, RecordsError
from common.records.index import Index, load_index
from common.records.writer import write as write_records

MIXTURE, SOURCES = "receiver_audio", "source_images"
SPLITS = re.compile(r"(?<![a-z])(train|validation|eval)(?![a-z])")
FILES = "*.tfrecord*"
OWN_FILES = re.compile(r"records-\d+-of-\d+\.")
"""Shards of this program, which may lie in a folder below that of the corpus."""
STAMPS = "roomsim.json"
"""File beside the records: their folder by the state of the files that they hold."""
HEAD_BYTES = 12
"""Header of each example in a TFRecord file: its length and a checksum."""
RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Largest accepted difference of a mixture from the sum of its sources, as in FUSS."""

logger = logging.getLogger(__name__)


def files(folder: Path, split: str) -> list[Path]:
    """Return the TFRecord files of a split.

    Args:
        folder: Folder of the corpus.
        split: ``train``, ``validation`` or ``eval``.

    Returns:
        The ``*.tfrecord`` files, also ``*.tfrecord-00000-of-00010``, below the folder
        with the name of the split as a word of their name or else of a folder, sorted.
    """
    candidates = sorted(path for path in folder.rglob(FILES) if path.is_file())
    return [path for path in candidates if _split(path.relative_to(folder)) == split]


def _split(path: Path) -> str | None:
    """Return the split of a file by the last word of its path that names one."""
    if path.name.startswith(".") or OWN_FILES.match(path.name):
        return None
    words = SPLITS.findall(path.as_posix())
    return words[-1] if words else None


def tracks(folder: Path, split: str, sample_rate: int) -> list[Track]:
    """Read a split once to check it, and map its samples on disk.

    Args:
        folder: Folder of the corpus.
        split: ``train``, ``validation`` or ``eval``.
        sample_rate: Rate in Hz, which the files do not state.

    Returns:
        One track for each example, named by its file and its number there. Its sources
        ``reference_0``, ``reference_1``, ... are arrays that are read from disk when
        they are used.

    Raises:
        CorpusError: There is no file, or one is empty, damaged or of another layout.
    """
    paths = files(folder, split)
    if not paths:
        raise CorpusError(
            f"roomsim: {folder} holds no *.tfrecord file of the split {split!r}; name "
            f"the files, or a folder that they are in, by {split}"
        )
    examples = []
    worst = 0.0
    for path in paths:
        name = path.relative_to(folder).as_posix()
        for number, (sources, excess) in enumerate(_examples(path)):
            references = {f"reference_{i}": source for i, source in enumerate(sources)}
            samples = sources[0].shape[1]
            examples.append(Track(f"{name}/{number}", sample_rate, samples, references))
            worst = max(worst, excess)
    if worst:
        logger.warning(
            "%s: %s differs from the sum of %s by up to %.2g; that sum is taken for "
            "the mixture",
            *(folder, MIXTURE, SOURCES, worst),
        )
    return examples


def _examples(path: Path) -> Iterator[tuple[list[np.ndarray], float]]:
    """Yield the sources [1, samples] of each example and the misfit of their sum."""
    records: Iterator[Any] = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    empty = path.stat().st_size == 0
    content = np.zeros(0, np.uint8) if empty else np.memmap(path, np.uint8, "r")
    offset = number = 0
    while True:
        where = f"roomsim: example {number} of {path}"
        try:
            record = next(records, None)
            if record is None:
                break
            mixture, values = _parse(record)
        except tf.errors.OpError as error:
            raise CorpusError(
                f"{where} cannot be read ({error.message}); expected whole TFRecords "
                f"with {MIXTURE} and {SOURCES} as floats; copy or make the file again"
            ) from error
        start = record.find(values.tobytes())
        if not mixture.size or not values.size or values.size % mixture.size:
            raise CorpusError(
                f"{where} has {mixture.size} values of {MIXTURE} and {values.size} of "
                f"{SOURCES}; expected a whole number of sources as long as the mixture"
            )
        if start < 0:
            raise CorpusError(
                f"{where} does not hold its {SOURCES} in one piece; write it with "
                "tf.io.TFRecordWriter"
            )
        first = offset + HEAD_BYTES + start
        mapped = content[first : first + values.nbytes]
        rows = np.frombuffer(mapped, "<f4").reshape(-1, 1, mixture.size)
        yield list(rows), _mismatch(mixture, rows.sum(axis=(0, 1)))
        offset += len(record) + FRAMING_BYTES
        number += 1
    if not number:
        raise CorpusError(
            f"roomsim: {path} holds no example; copy it again, or remove it"
        )


def _parse(record: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat lists of an example, empty where they are missing."""
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    parsed = tf.io.parse_single_example(record, {MIXTURE: floats, SOURCES: floats})
    return parsed[MIXTURE].numpy(), parsed[SOURCES].numpy()


def _mismatch(mixture: np.ndarray, total: np.ndarray) -> float:
    """Return the largest difference of a mixture from a sum, 0 if tolerated."""
    fits = np.allclose(mixture, total, RELATIVE, ABSOLUTE)
    return 0.0 if fits else float(np.abs(mixture - total).max())


def write(
    folder: Path, split: str, records: Path, encoding: str, sample_rate: int
) -> Index:
    """Write a split as records, or open those that were written from the same files.

    Args:
        folder: Folder of the corpus.
        split: ``train``, ``validation`` or ``eval``.
        records: Folder of the records; another encoding has its own folder beside it.
        encoding: As for :func:`common.records.write`, or ``auto``: 16 bits where they
            keep every sample, else float32.
        sample_rate: Rate in Hz, which the files do not state.

    Returns:
        The index of the records.

    Raises:
        CorpusError: As :func:`tracks`.
        RecordsError: The disk is full, or a sample does not fit into the encoding.
    """
    stamp = _stamp(folder, split, encoding, sample_rate)
    stamps = _stamps(records)
    if stamp in stamps:
        try:
            return load_index(records.parent / stamps[stamp])
        except RecordsError as error:
            logger.warning("Records are written anew: %s", error)
    examples = tracks(folder, split, sample_rate)
    if encoding == AUTO:
        sounds = (sound for track in examples for sound in track.sources.values())
        encoding = "pcm16" if all(map(_has_16_bits, sounds)) else "float32"
    index = write_records(
        examples,
        folder_of(records, encoding, "pcm16"),
        encoding=encoding,
        sample_rate=sample_rate,
        channels=1,
    )
    kept = index.folder.relative_to(records.parent.absolute()).as_posix()
    records.mkdir(exist_ok=True)
    write_json({**_stamps(records), stamp: kept}, records / STAMPS)
    return index


def _stamp(folder: Path, split: str, encoding: str, sample_rate: int) -> str:
    """Hash names, sizes and times of the files and what is made of them."""
    states = [(path, path.stat()) for path in files(folder, split)]
    rows = [
        (path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns)
        for path, state in states
    ]
    return hashlib.sha256(repr((rows, encoding, sample_rate)).encode()).hexdigest()


def _stamps(records: Path) -> dict[str, str]:
    try:
        return dict(json.loads((records / STAMPS).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _has_16_bits(sound: Sound) -> bool:
    scaled = np.asarray(sound) * PCM16_SCALE
    whole = np.array_equal(scaled, np.rint(scaled))
    return whole and scaled.min() >= -PCM16_SCALE and scaled.max() < PCM16_SCALE
