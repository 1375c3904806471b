"""Find the finished records that a plan can reuse.

The first set of records is written into the folder that the caller names. A set of
other tracks, files or options gets its own folder inside it, because a run may still
read the first one. A set is kept if only the modification times of files changed.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from common.files import write_json
from common.records.chunks import records
from common.records.format import RecordsError
from common.records.index import INDEX_NAME, Index, load_index
from common.records.plan import Plan
from common.records.shards import BAD_SOUND

SAME_NAME = "same.json"
"""File of the other plans that make the same records as the index beside it."""


def plan_folder(folder: Path, plan: Plan) -> Path:
    """Return the subfolder for the records of a plan that are not the first ones."""
    return folder / f"plan-{plan.digest[:16]}"


def finished_folders(folder: Path) -> list[Path]:
    """Return a folder and its subfolders, as far as they hold finished records."""
    folders = (folder, *sorted(folder.glob("plan-*")))
    return [path for path in folders if (path / INDEX_NAME).exists()]


def open_finished(folder: Path) -> Iterator[Index | RecordsError]:
    """Yield the index, or the error in opening it, of each set of finished records."""
    for finished in finished_folders(folder):
        try:
            yield load_index(finished)
        except RecordsError as error:
            yield error


def find(folder: Path, plan: Plan) -> Index | None:
    """Return the index of a plan's records in a folder, or None if there are none."""
    for index in open_finished(folder):
        if isinstance(index, Index) and plan.digest in _plans(index):
            return index
    return None


def add_plan(index: Index, plan: Plan) -> None:
    """Write that a plan makes the same records as an index."""
    plans = [*_plans(index)[1:], plan.digest]
    write_json({index.plan: plans}, index.folder / SAME_NAME)


def makes_same(plan: Plan, index: Index, jobs: int) -> bool:
    """Return whether a plan makes the records of an index, by making them in memory.

    Args:
        plan: The plan.
        index: Index of the finished records.
        jobs: Number of shards to make in parallel.

    Returns:
        False too if a sound cannot be read or written, which the writer then reports.
    """
    if not _has_same_options(plan, index):
        return False
    stop = threading.Event()
    title = f"{index.folder}: comparing"
    with (
        tqdm(
            total=len(plan.tracks), desc=title, unit="track", disable=None
        ) as progress,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def compare(number: int) -> bool:
            try:
                made = _digest(plan, number, progress, stop)
            except BAD_SOUND:
                return False
            return made == index.shards[number].sha256

        try:
            return all(pool.map(compare, range(len(plan.shards))))
        finally:
            stop.set()


def _has_same_options(plan: Plan, index: Index) -> bool:
    """Return whether plan and index agree in all that needs no sound."""
    options = ("encoding", "piece_samples", "sample_rate", "channels", "sources")
    keys = (*options, "padded", "cut")
    names = tuple(track.name for track in plan.tracks)
    return (
        all(getattr(plan, key) == getattr(index, key) for key in keys)
        and names == tuple(entry.name for entry in index.tracks)
        and plan.samples == tuple(entry.samples for entry in index.tracks)
        and len(plan.shards) == len(index.shards)
    )


def _digest(plan: Plan, shard: int, progress: tqdm, stop: threading.Event) -> str:
    """Return the SHA-256 of a shard's records, of fewer once another shard differs."""
    content = hashlib.sha256()
    for position in range(*plan.shards[shard]):
        if stop.is_set():
            break
        for record in records(plan, position):
            content.update(record)
        progress.update()
    return content.hexdigest()


def _plans(index: Index) -> list[str]:
    """Return the digests of the plans that make the records of an index."""
    try:
        same = json.loads((index.folder / SAME_NAME).read_text("utf-8"))
        return [index.plan, *same.get(index.plan, [])]
    except (OSError, ValueError, AttributeError):
        return [index.plan]
