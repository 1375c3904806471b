"""Jobs in their database, and the room that they need on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_split.jobs import DONE, QUEUED, Job, Jobs, new_id
from harmony_split.limits import Limits, RefusedError


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Jobs that are kept for no time."""
    jobs = Jobs(tmp_path, keep_seconds=0.0)
    yield jobs
    jobs.close()


def test_only_finished_jobs_expire(jobs):
    queued = jobs.add(Job(new_id(), "fake/halves"))
    done = jobs.add(Job(new_id(), "fake/halves", state=DONE))
    assert jobs.remove_expired() == 1
    assert jobs.get(queued.id).state == QUEUED
    with pytest.raises(RefusedError):
        jobs.get(done.id)


def test_disk_space_is_kept_for_songs_that_are_not_finished(web, jobs):
    from harmony_split.intake import Intake

    intake = Intake(jobs, Limits(disk_gigabytes=1e-3))

    def free() -> float:
        """Free kB; folders take some too."""
        return max(kb for kb in range(1001) if intake.has_room(1000 * kb))

    assert free() == 1000
    job = jobs.add(Job(new_id(), "fake/halves", reserved=400_000))
    jobs.folder(job.id).mkdir()
    (jobs.folder(job.id) / "upload").write_bytes(bytes(100_000))
    assert free() == pytest.approx(500, abs=10)
    jobs.change(job.id, state=DONE)
    assert free() == pytest.approx(900, abs=10)
    jobs.delete(job.id)
    assert free() == 1000
