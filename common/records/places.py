"""Where the records of a plan lie: beside those of other plans, never over them.

The first set of records lies in the folder that the caller names. A set of other
tracks, files or options gets a folder of its own inside it, because a run may still
read the first one. Where only the times of files changed, a set is kept.
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
from common.records.format import RecordsError
from common.records.index import INDEX_NAME, Index, load_index
from common.records.pieces import records
from common.records.plan import Plan

SAME_NAME = "same.json"
"""By the plan of the index beside it, further plans that make the same records."""


def own_folder(folder: Path, plan: Plan) -> Path:
    """Name the folder of records that are not the first ones in ``folder``."""
    return folder / f"plan-{plan.digest[:16]}"


def sets(folder: Path) -> list[Path]:
    """List the folders of all finished sets of records of a folder."""
    places = (folder, *sorted(folder.glob("plan-*")))
    return [place for place in places if (place / INDEX_NAME).exists()]


def whole(folder: Path) -> Iterator[Index | RecordsError]:
    """Open all sets of records of a folder, or tell what is wrong with them."""
    for place in sets(folder):
        try:
            yield load_index(place)
        except RecordsError as error:
            yield error


def finished(folder: Path, plan: Plan) -> Index | None:
    """Open the records of a plan, if they are in a folder."""
    for index in whole(folder):
        if isinstance(index, Index) and plan.digest in _plans(index):
            return index
    return None


def remember(index: Index, plan: Plan) -> None:
    """Note that a plan makes the records of an index."""
    plans = [*_plans(index)[1:], plan.digest]
    write_json({index.plan: plans}, index.folder / SAME_NAME)


def makes_same(plan: Plan, index: Index, jobs: int) -> bool:
    """Tell whether a plan makes the records of an index, by making them in memory.

    Args:
        plan: The plan.
        index: Records that are there.
        jobs: Number of shards that are made at once.

    Raises:
        AudioError: A sound file cannot be read.
        RecordsError: A sound cannot be written as the plan asks.
    """
    if not _is_alike(plan, index):
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
            made = _digest(plan, number, progress, stop)
            return made == index.shards[number].sha256

        try:
            return all(pool.map(compare, range(len(plan.shards))))
        finally:
            stop.set()


def _is_alike(plan: Plan, index: Index) -> bool:
    """Compare what takes no reading of sounds."""
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
    """SHA-256 of the records of a shard; of fewer records once another one differs."""
    content = hashlib.sha256()
    for position in range(*plan.shards[shard]):
        if stop.is_set():
            break
        for record in records(plan, position):
            content.update(record)
        progress.update()
    return content.hexdigest()


def _plans(index: Index) -> list[str]:
    try:
        same = json.loads((index.folder / SAME_NAME).read_text("utf-8"))
        return [index.plan, *same.get(index.plan, [])]
    except (OSError, ValueError, AttributeError):
        return [index.plan]
