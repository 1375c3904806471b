"""Write one shard of records, here or on another machine that gets a job file.

The bytes of a shard depend on its part of the plan alone. A report beside the shard,
written after it, holds its part of the index, so that a killed write resumes with the
shards that have none. A job file holds the part of the plan; a machine that sees the
sounds and the folder of the records under the same paths needs nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import files
from common.audio import AudioError
from common.corpora.track import BadTrack, Channel, CorpusError, Sound, Sum, Track
from common.records.chunks import records
from common.records.format import FRAMING_BYTES, RecordsError
from common.records.index import Shard
from common.records.plan import Plan

BAD_SOUND = (AudioError, CorpusError, RecordsError)
"""Errors that are about one track, not about the disk or the program."""
PATTERNS = ("records-*-of-*.tfrecord", "records-*-of-*.json")
"""Names of shards, and of their reports and jobs."""
JOB_SUFFIX = ".job.json"
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""Errors of reading JSON that somebody has changed, or a disk has."""


class Report(NamedTuple):
    """Report of a finished shard, its part of the index.

    Attributes:
        shard: Name, size and digest of the file.
        tracks: Offsets of the chunks of each track of its plan; none of a bad one.
        bad: Tracks that could not be read or written, and are left out.
    """

    shard: Shard
    tracks: list[list[int]]
    bad: list[BadTrack]


class _SpoiledError(Exception):
    """A track failed after its first chunks were written, so the shard begins anew."""


def shard_path(folder: Path, plan: Plan, number: int) -> Path:
    """Return the file of a shard."""
    return folder / f"records-{number:05d}-of-{len(plan.shards):05d}.tfrecord"


def report_path(shard: Path) -> Path:
    """Return the file of the report of a shard."""
    return shard.with_suffix(".json")


def write_shard(plan: Plan, path: Path, proceed: Callable[[], None]) -> Report:
    """Write a shard, then its report, both whole or not at all.

    Args:
        plan: The plan of this shard alone, from :meth:`Plan.part`.
        path: The shard.
        proceed: Called before each track; may raise an error to stop.

    Returns:
        The report. Tracks that cannot be read or written are left out and named in it.

    Raises:
        OSError: The disk is full.
    """
    bad: dict[int, BadTrack] = {}
    report = None
    while report is None:
        with suppress(_SpoiledError):
            report = _attempt(plan, path, proceed, bad)
    written = {"plan": plan.digest, **_as_json(report)}
    files.write_text(report_path(path), json.dumps(written))
    return report


def read_report(path: Path, plan: Plan) -> Report | None:
    """Return the report of a shard, or None if the shard is not finished.

    Args:
        path: The shard.
        plan: The plan that it must be of.
    """
    try:
        written = json.loads(report_path(path).read_text("utf-8"))
        shard = Shard(**written["shard"])
        bad = [BadTrack(*row) for row in written.get("bad", [])]
        is_finished = (
            written["plan"] == plan.digest and shard.bytes == path.stat().st_size
        )
        report = Report(shard, written["tracks"], bad)
    except (FileNotFoundError, *DAMAGED):
        return None
    return report if is_finished else None


def save_job(plan: Plan, path: Path) -> Path:
    """Write what another machine needs to write a shard.

    Args:
        plan: The plan of this shard alone, from :meth:`Plan.part`.
        path: The shard.

    Returns:
        The job file, for :func:`run_job`.

    Raises:
        RecordsError: A sound is an array, which no other machine can read.
    """
    job = path.with_suffix(JOB_SUFFIX)
    values = {field.name: getattr(plan, field.name) for field in fields(plan)}
    values["tracks"] = [
        {
            "name": track.name,
            "sample_rate": track.sample_rate,
            "samples": track.samples,
            "sources": {name: _pack(track.sources[name]) for name in track.sources},
            "mixture": None if track.mixture is None else _pack(track.mixture),
        }
        for track in plan.tracks
    ]
    files.write_text(job, json.dumps(values))
    return job


@files.beside_other_machines()
def run_job(job: str) -> None:
    """Write the shard of a job file, unless it is finished.

    Args:
        job: Path of the file, from :func:`save_job`.

    Raises:
        RecordsError: There is no such file, or it is damaged.
        OSError: The disk is full.
    """
    name = Path(job).name.removesuffix(JOB_SUFFIX)
    path = Path(job).with_name(f"{name}.tfrecord")
    plan = _read_job(Path(job))
    if read_report(path, plan) is None:
        write_shard(plan, path, lambda: None)


def _attempt(
    plan: Plan, path: Path, proceed: Callable[[], None], bad: dict[int, BadTrack]
) -> Report:
    """Write a shard without the tracks in ``bad``; add others that cannot be read."""
    content, offset = hashlib.sha256(), 0
    tracks: list[list[int]] = [[] for _ in plan.tracks]
    with (
        files.replacing(path) as draft,
        closing(tf.io.TFRecordWriter(str(draft))) as writer,
    ):
        for position, record in _records(plan, proceed, bad):
            writer.write(record)
            content.update(record)
            tracks[position].append(offset)
            offset += len(record) + FRAMING_BYTES
    shard = Shard(path.name, offset, content.hexdigest())
    return Report(shard, tracks, [bad[position] for position in sorted(bad)])


def _records(
    plan: Plan, proceed: Callable[[], None], bad: dict[int, BadTrack]
) -> Iterator[tuple[int, bytes]]:
    """Yield the position of a track and a record of it, for all tracks not in bad."""
    for position, track in enumerate(plan.tracks):
        if position in bad:
            continue
        proceed()
        is_begun = False
        try:
            for record in records(plan, position):
                yield position, record
                is_begun = True
        except BAD_SOUND as error:
            bad[position] = BadTrack(track.name, str(error))
            if is_begun:
                raise _SpoiledError from error


def _as_json(report: Report) -> dict[str, Any]:
    values = {"shard": report.shard._asdict(), "tracks": report.tracks}
    return values | ({"bad": report.bad} if report.bad else {})


def _read_job(job: Path) -> Plan:
    try:
        values = json.loads(job.read_text("utf-8"))
        for key in ("sources", "samples", "rates", "shards"):
            values[key] = tuple(values[key])
        values["tracks"] = tuple(_track(row) for row in values["tracks"])
        return Plan(**values)
    except FileNotFoundError:
        raise RecordsError(
            f"There is no {job}; this machine must see the folder of the records under "
            "the path that it has where the pipeline was started."
        ) from None
    except DAMAGED as error:
        raise RecordsError(
            f"{job} is damaged ({error}); give the command that wrote it again."
        ) from None


def _track(row: dict[str, Any]) -> Track:
    sources = {name: _unpack(sound) for name, sound in row["sources"].items()}
    mixture = None if row["mixture"] is None else _unpack(row["mixture"])
    return Track(row["name"], row["sample_rate"], row["samples"], sources, mixture)


def _pack(sound: Sound) -> object:
    """Turn a sound in files into JSON: a path, a path and a channel, or a sum."""
    if isinstance(sound, Sum):
        return {"sum": [_pack(part) for part in sound.parts]}
    if isinstance(sound, Channel):
        return [str(sound.file.absolute()), sound.channel, sound.count]
    if isinstance(sound, np.ndarray):
        raise RecordsError(
            f"an array {list(sound.shape)} cannot be read by other machines; write "
            "these records without a pipeline, or make the array a sound file."
        )
    return str(sound.absolute())


def _unpack(packed: Any) -> Any:
    if isinstance(packed, dict):
        return Sum(tuple(_unpack(part) for part in packed["sum"]))
    if isinstance(packed, list):
        return Channel(Path(packed[0]), *packed[1:])
    return Path(packed)
