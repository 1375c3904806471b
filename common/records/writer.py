"""Write records: shards in parallel, atomically, and resumable after a kill."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from common import cpus, files
from common.beam import PipelineError, Spread
from common.corpora.track import BadTrack, Track
from common.records import reuse
from common.records.format import RecordsError
from common.records.index import INDEX_NAME, Entry, Index, save_index
from common.records.plan import Options, Plan, make_plan
from common.records.shards import (
    JOB_SUFFIX,
    PATTERNS,
    Report,
    read_report,
    report_path,
    run_job,
    save_job,
    shard_path,
    write_shard,
)

logger = logging.getLogger(__name__)


NAMED = 3
"""Number of bad tracks that a message names; the index names all."""


class BadTracksError(RecordsError):
    """Tracks that cannot be read or written."""


class _StoppedError(Exception):
    """Another shard failed, so this one is abandoned."""


@dataclass(frozen=True)
class _Job:
    """Records to write: the plan, the folder, and the options of :func:`write`."""

    plan: Plan
    folder: Path
    jobs: int
    bad: tuple[BadTrack, ...]
    skip: bool
    spread: Spread | None


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
    bad: Sequence[BadTrack] = (),
    skip: bool = False,
    spread: Spread | None = None,
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
        bad: Tracks that the caller could not read, for the index.
        skip: Leave out tracks whose sounds cannot be read or written, and list them in
            the index, instead of an error at the end that names them.
        spread: Function that writes the shards by calling another one with each of
            several job files, on machines that see all files under the same paths; by
            default the threads of this process write them.

    Returns:
        The index of the finished records.

    Raises:
        BadTracksError: If tracks cannot be read or written. All others are written, and
            with ``skip`` the next call only leaves the bad ones out.
        RecordsError: If a track or an option does not fit, or the disk is full.
        AudioError: If the header of a sound file cannot be read.

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
    job = _Job(plan, folder, jobs, tuple(bad), skip, spread)
    finished = reuse.find(folder, plan)
    if finished is None:
        finished = _write_locked(job)
    return _accepted(finished, skip)


def _write_locked(job: _Job) -> Index:
    folder = job.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with files.locked(folder):
            return reuse.find(folder, job.plan) or _keep_or_write(job)
    except (OSError, tf.errors.OpError) as error:
        if isinstance(error, PipelineError):
            raise
        reason = getattr(error, "strerror", None) or getattr(error, "message", error)
        reason = str(reason).rpartition("; ")[2]  # TensorFlow names the draft before
        raise RecordsError(
            f"The records could not be written into {folder} ({reason}); make room "
            "there and give the same command, which goes on with what is missing."
        ) from error


def _accepted(index: Index, skip: bool) -> Index:
    """Return records from which no track is left out, or may be."""
    if not index.skipped:
        return index
    if not skip:
        raise BadTracksError(_named(index.skipped, len(index) + len(index.skipped)))
    logger.warning(
        "%s: these are left out and listed in %s: %s",
        *(index.folder, INDEX_NAME),
        _named(index.skipped, len(index) + len(index.skipped)),
    )
    return index


def _named(bad: Sequence[BadTrack], count: int) -> str:
    """Return a sentence with the number of bad tracks and the first of them.

    >>> _named([BadTrack("a", "a.wav is empty")], 3)
    "1 of 3 tracks cannot be read or written: 'a' (a.wav is empty)"
    """
    rows = [f"{name!r} ({reason})" for name, reason in bad[:NAMED]]
    rows += [f"and {len(bad) - NAMED} more"] if len(bad) > NAMED else []
    return f"{len(bad)} of {count} tracks cannot be read or written: {', '.join(rows)}"


def _keep_or_write(job: _Job) -> Index:
    """Reuse equal records, else write new ones and leave the old to their readers."""
    earlier = None
    for earlier in _readable_indexes(job.folder):
        if reuse.makes_same(job.plan, earlier, job.jobs):
            reuse.add_plan(earlier, job.plan)
            return earlier
    if earlier is None:
        return _write_missing(job)
    subfolder = reuse.plan_folder(job.folder, job.plan)
    logger.warning(
        "%s holds records of other tracks, files or options; writing new ones into %s. "
        "The old ones can be deleted once no run reads them.",
        earlier.folder,
        subfolder,
    )
    subfolder.mkdir(exist_ok=True)
    return _write_missing(replace(job, folder=subfolder))


def _readable_indexes(folder: Path) -> Iterator[Index]:
    for index in reuse.open_finished(folder):
        if isinstance(index, Index):
            yield index
        else:
            logger.warning("Records are left out or written anew: %s", index)


def _write_missing(job: _Job) -> Index:
    plan, folder = job.plan, job.folder
    written = _clear(job)
    if plan.misfit:
        logger.warning(
            "%s: cut to the length of their track: %d sounds, padded with "
            "silence: %d; the furthest: %s",
            folder,
            plan.cut,
            plan.padded,
            plan.misfit,
        )
    missing = [number for number in range(len(plan.shards)) if number not in written]
    write = _write_by_threads if job.spread is None else _write_by_jobs
    written.update(write(job, missing))
    reports = [written[number] for number in sorted(written)]
    bad = [*job.bad, *(track for report in reports for track in report.bad)]
    if bad and not job.skip:
        raise BadTracksError(_named(bad, len(plan.tracks) + len(job.bad)))
    index = _assemble(plan, folder, reports, bad)
    if not index.tracks:
        raise BadTracksError(_named(bad, len(bad)))
    save_index(index)
    for number in written:
        shard = shard_path(folder, plan, number)
        report_path(shard).unlink()
        shard.with_suffix(JOB_SUFFIX).unlink(missing_ok=True)
    return index


def _write_by_jobs(job: _Job, numbers: list[int]) -> dict[int, Report]:
    """Write shards on other machines, and read the reports that these have left."""
    assert job.spread is not None
    paths = {number: shard_path(job.folder, job.plan, number) for number in numbers}
    saved = [str(save_job(job.plan.part(n), path)) for n, path in paths.items()]
    if saved:
        job.spread(run_job, saved)
    found = {number: read_report(path, job.plan) for number, path in paths.items()}
    reports = {number: report for number, report in found.items() if report}
    lacking = [path.name for number, path in paths.items() if number not in reports]
    if lacking:
        raise RecordsError(
            f"The workers ended, but {len(lacking)} of {len(paths)} shards, first "
            f"{lacking[0]}, are not in {job.folder}; they must see this folder under "
            "the same path, as on a shared disk."
        )
    return reports


def _write_by_threads(job: _Job, numbers: list[int]) -> dict[int, Report]:
    plan, stop = job.plan, threading.Event()
    there = len(plan.tracks) - sum(
        end - first for first, end in (plan.shards[number] for number in numbers)
    )
    progress = tqdm(
        total=len(plan.tracks),
        initial=there,
        desc=str(job.folder),
        unit="track",
        disable=None,
    )

    def proceed() -> None:
        if stop.is_set():
            raise _StoppedError
        progress.update()

    def work(number: int) -> Report:
        path = shard_path(job.folder, plan, number)
        try:
            return write_shard(plan.part(number), path, proceed)
        except BaseException:
            stop.set()
            raise

    with progress, ThreadPoolExecutor(min(job.jobs, len(numbers)) or 1) as pool:
        futures = {pool.submit(work, number): number for number in numbers}
        try:
            return {futures[done]: done.result() for done in as_completed(futures)}
        finally:
            stop.set()


def _assemble(
    plan: Plan, folder: Path, reports: list[Report], bad: list[BadTrack]
) -> Index:
    entries = []
    for number, (report, (first, _)) in enumerate(
        zip(reports, plan.shards, strict=True)
    ):
        for position, offsets in enumerate(report.tracks, start=first):
            if not offsets:  # a bad track
                continue
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
        shards=tuple(report.shard for report in reports),
        tracks=tuple(entries),
        plan=plan.digest,
        skipped=tuple(bad),
    )


def _clear(job: _Job) -> dict[int, Report]:
    """Remove the files of an earlier write, except finished shards of the same plan."""
    folder, plan = job.folder, job.plan
    # The index goes first, because the shards that it describes are about to change.
    for name in (INDEX_NAME, reuse.SAME_NAME):
        (folder / name).unlink(missing_ok=True)
    shards = [shard_path(folder, plan, number) for number in range(len(plan.shards))]
    reports = {number: read_report(path, plan) for number, path in enumerate(shards)}
    # Without skip, bad tracks are tried again.
    finished = {
        number: report
        for number, report in reports.items()
        if report is not None and (job.skip or not report.bad)
    }
    kept = {shards[number] for number in finished}
    kept |= {report_path(path) for path in kept}
    temporary = (".records-*.partial", f".{INDEX_NAME}.*.partial")
    for pattern in (*PATTERNS, *temporary):
        for path in set(folder.glob(pattern)) - kept:
            path.unlink(missing_ok=True)
    return finished
