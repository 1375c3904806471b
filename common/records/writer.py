"""Write records: shards in parallel, atomically, and resumable after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from common import cpus, files
from common.corpora.track import Track
from common.files import write_text
from common.records import reuse
from common.records.chunks import records
from common.records.format import FRAMING_BYTES, RecordsError
from common.records.index import (
    INDEX_NAME,
    Entry,
    Index,
    Shard,
    save_index,
)
from common.records.plan import Options, Plan, make_plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """State that the threads of one write share."""

    plan: Plan
    folder: Path
    progress: tqdm
    stop: threading.Event = field(default_factory=threading.Event)


class _StoppedError(Exception):
    """Another shard failed, so this one is abandoned."""


def write(  # noqa: PLR0913 (each is one independent choice of the caller)
    tracks: Iterable[Track],
    folder: str | Path,
    *,
    encoding: str = "pcm16",
    piece_samples: int | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
    shards: int | None = None,
    jobs: int | None = None,
) -> Index:
    """Write tracks as sharded records with an index.

    The same tracks and options give the same bytes for any number of jobs. Called again
    after a kill, it writes the shards that are missing; called again after the end, it
    only opens the records, also if the modification times of files changed. Records of
    other tracks, files or options are written into a subfolder, so that a run can go on
    reading the old ones.

    Args:
        tracks: The tracks. A sound shorter than its track is zero padded at the end, a
            longer one is cut; the index counts both.
        folder: Folder of the shards and ``index.json``; made if missing. If it holds
            other records, the new ones are written into a subfolder.
        encoding: ``"pcm16"``, ``"float32"`` or ``"flac"`` (16 bits, compressed).
        piece_samples: Length of a record. An excerpt reads only the records that it
            overlaps, so set a few seconds for songs; None keeps each track in one.
        sample_rate: Rate in Hz to which all sounds are resampled; by default they must
            have the rate of their tracks.
        channels: Channels to write: 1 mixes down by the mean, more repeat a single
            channel; by default all sounds must have the same number.
        shards: Number of files, at most that of tracks; by default files of about
            128 MiB.
        jobs: Number of threads, by default one for each processor.

    Returns:
        The index of the finished records.

    Raises:
        RecordsError: If a track or an option does not fit, or the disk is full.
        AudioError: If a sound file cannot be read.

    >>> import tempfile, numpy
    >>> tone = numpy.full((1, 100), 0.5, numpy.float32)
    >>> index = write([Track("a", 8000, 100, {"x": tone})], tempfile.mkdtemp())
    >>> len(index), index.sources, index.shards[0].name
    (1, ('x',), 'records-00000-of-00001.tfrecord')
    """
    folder = Path(folder).absolute()
    jobs = jobs or cpus.count()
    options = Options(encoding, piece_samples, sample_rate, channels)
    plan = make_plan(tracks, options, shards, jobs)
    finished = reuse.find(folder, plan)
    if finished is not None:
        return finished
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with files.locked(folder):
            return reuse.find(folder, plan) or _keep_or_write(plan, folder, jobs)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", error)
        reason = str(reason).rpartition("; ")[2]  # TensorFlow names the draft before
        raise RecordsError(
            f"The records could not be written into {folder} ({reason}); make room "
            "there and give the same command, which goes on with what is missing."
        ) from error


def _keep_or_write(plan: Plan, folder: Path, jobs: int) -> Index:
    """Reuse equal records, else write new ones and leave the old to their readers."""
    earlier = None
    for earlier in _readable_indexes(folder):
        if reuse.makes_same(plan, earlier, jobs):
            reuse.add_plan(earlier, plan)
            return earlier
    if earlier is None:
        return _write_missing(plan, folder, jobs)
    subfolder = reuse.plan_folder(folder, plan)
    logger.warning(
        "%s holds records of other tracks, files or options; writing new ones into %s. "
        "The old ones can be deleted once no run reads them.",
        earlier.folder,
        subfolder,
    )
    subfolder.mkdir(exist_ok=True)
    return _write_missing(plan, subfolder, jobs)


def _readable_indexes(folder: Path) -> Iterator[Index]:
    for index in reuse.open_finished(folder):
        if isinstance(index, Index):
            yield index
        else:
            logger.warning("Records are left out or written anew: %s", index)


def _write_missing(plan: Plan, folder: Path, jobs: int) -> Index:
    written = _clear(folder, plan)
    if plan.misfit:
        logger.warning(
            "%s: cut to the length of their track: %d sounds, padded with "
            "silence: %d; the furthest: %s",
            folder,
            plan.cut,
            plan.padded,
            plan.misfit,
        )
    progress = tqdm(
        total=len(plan.tracks), desc=str(folder), unit="track", disable=None
    )
    with progress:
        progress.update(sum(len(part["tracks"]) for part in written.values()))
        job = _Job(plan, folder, progress)
        missing = set(range(len(plan.shards))) - set(written)
        written.update(_write_shards(job, sorted(missing), jobs))
    index = _assemble(plan, folder, [written[number] for number in sorted(written)])
    save_index(index)
    for number in written:
        _sidecar(folder, plan, number).unlink()
    return index


def _write_shards(
    job: _Job, numbers: list[int], jobs: int
) -> dict[int, dict[str, Any]]:
    with ThreadPoolExecutor(min(jobs, len(numbers)) or 1) as pool:
        futures = {pool.submit(_write_shard, job, number): number for number in numbers}
        try:
            parts = {futures[done]: done.result() for done in as_completed(futures)}
        finally:
            job.stop.set()
    return {number: part for number, part in parts.items() if part is not None}


def _write_shard(job: _Job, number: int) -> dict[str, Any] | None:
    """Write one shard and return its part of the index; None if another one failed."""
    path = _shard_path(job.folder, job.plan, number)
    first, end = job.plan.shards[number]
    content = hashlib.sha256()
    tracks = []
    offset = 0
    try:
        with (
            files.replacing(path) as draft,
            closing(tf.io.TFRecordWriter(str(draft))) as writer,
        ):
            for position in range(first, end):
                if job.stop.is_set():
                    raise _StoppedError
                offsets = []
                for record in records(job.plan, position):
                    writer.write(record)
                    content.update(record)
                    offsets.append(offset)
                    offset += len(record) + FRAMING_BYTES
                tracks.append(offsets)
                job.progress.update()
        shard = Shard(path.name, offset, content.hexdigest())
        part = {"plan": job.plan.digest, "shard": shard._asdict(), "tracks": tracks}
        write_text(_sidecar(job.folder, job.plan, number), json.dumps(part))
        return part
    except _StoppedError:
        return None
    except BaseException:
        job.stop.set()
        raise


def _assemble(plan: Plan, folder: Path, parts: list[dict[str, Any]]) -> Index:
    entries = []
    for number, (part, (first, _)) in enumerate(zip(parts, plan.shards, strict=True)):
        for position, offsets in enumerate(part["tracks"], start=first):
            track = plan.tracks[position]
            present = tuple(name for name in plan.sources if name in track.sources)
            stored = track.mixture is not None
            samples = plan.samples[position]
            entries.append(
                Entry(track.name, samples, present, stored, number, tuple(offsets))
            )
    return Index(
        folder=folder,
        encoding=plan.encoding,
        sample_rate=plan.sample_rate,
        channels=plan.channels,
        sources=plan.sources,
        piece_samples=plan.piece_samples,
        padded=plan.padded,
        cut=plan.cut,
        shards=tuple(Shard(**part["shard"]) for part in parts),
        tracks=tuple(entries),
        plan=plan.digest,
    )


def _clear(folder: Path, plan: Plan) -> dict[int, dict[str, Any]]:
    """Remove the files of an earlier write, except finished shards of the same plan."""
    # The index goes first, because the shards that it describes are about to change.
    for name in (INDEX_NAME, reuse.SAME_NAME):
        (folder / name).unlink(missing_ok=True)
    finished = {
        number: part
        for number in range(len(plan.shards))
        if (part := _finished_part(folder, plan, number)) is not None
    }
    kept = {_shard_path(folder, plan, number) for number in finished}
    kept |= {_sidecar(folder, plan, number) for number in finished}
    patterns = ("records-*-of-*.tfrecord", "records-*-of-*.json")
    temporary = (".records-*.partial", f".{INDEX_NAME}.*.partial")
    for path in [
        path for pattern in (*patterns, *temporary) for path in folder.glob(pattern)
    ]:
        if path not in kept:
            path.unlink(missing_ok=True)
    return finished


def _finished_part(folder: Path, plan: Plan, number: int) -> dict[str, Any] | None:
    try:
        part = json.loads(_sidecar(folder, plan, number).read_text("utf-8"))
        size = _shard_path(folder, plan, number).stat().st_size
        is_finished = part["plan"] == plan.digest and part["shard"]["bytes"] == size
    # Somebody has changed it, or a disk has.
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return part if is_finished else None


def _shard_path(folder: Path, plan: Plan, number: int) -> Path:
    return folder / f"records-{number:05d}-of-{len(plan.shards):05d}.tfrecord"


def _sidecar(folder: Path, plan: Plan, number: int) -> Path:
    return _shard_path(folder, plan, number).with_suffix(".json")
