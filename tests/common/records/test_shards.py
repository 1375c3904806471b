"""Shards as jobs of other machines, and tracks that cannot be read or written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common import audio, records
from common.beam import PipelineError
from common.corpora.track import BadTrack, Channel, Sum, Track
from common.records import shards

RATE = 8000
SAMPLES = 300


def sound(path, seed, channels=1, broken=None):
    """A file of floats, with a value that cannot be written at one position."""
    path.parent.mkdir(exist_ok=True)
    wave = np.random.default_rng(seed).uniform(-0.4, 0.4, [SAMPLES, channels])
    if broken is not None:
        wave[broken] = np.nan
    soundfile.write(path, wave.astype(np.float32), RATE, subtype="FLOAT")
    return path


@pytest.fixture
def tracks(tmp_path):
    """Five tracks of files, channels of files and sums, one with a stored mixture."""
    files = [sound(tmp_path / "in" / f"{n} ü.wav", n, 1 + n % 2) for n in range(6)]
    return [
        Track("files", RATE, SAMPLES, {"x": files[0], "y": files[2]}),
        Track(
            "channel",
            RATE,
            SAMPLES,
            {"x": Channel(files[1], 0, 2), "y": Channel(files[1], 1)},
        ),
        Track("sum", RATE, SAMPLES, {"x": Sum((files[0], Channel(files[3], 0)))}),
        Track("mixture", RATE, SAMPLES - 9, {"x": files[2]}, files[4]),
        Track("low", RATE // 2, SAMPLES // 2, {"x": files[4]}),
    ]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def backwards(work, jobs):
    for job in reversed(jobs):
        work(job)
        work(job)  # as a runner may do


OPTIONS = {"sample_rate": RATE, "channels": 1, "shards": 3, "encoding": "float32"}


@pytest.mark.parametrize("piece_samples", [None, 70])
def test_jobs_give_the_bytes_of_threads(tmp_path, tracks, piece_samples):
    options = {**OPTIONS, "piece_samples": piece_samples}
    records.write(tracks, tmp_path / "threads", **options)
    records.write(tracks, tmp_path / "jobs", **options, spread=backwards)
    assert content(tmp_path / "jobs") == content(tmp_path / "threads")
    assert len(content(tmp_path / "jobs")) == 4


def test_jobs_do_not_depend_on_the_working_folder(tmp_path, tracks, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tracks[0].sources["x"].relative_to(tmp_path)
    relative = [Track("a", RATE, SAMPLES, {"x": file})]

    def elsewhere(work, jobs):
        monkeypatch.chdir("/")
        backwards(work, jobs)

    index = records.write(relative, "out", **OPTIONS, spread=elsewhere)
    assert records.verify(tmp_path / "out") == index


def test_a_failed_pipeline_resumes_with_the_missing_shards(tmp_path, tracks):
    records.write(tracks, tmp_path / "undisturbed", **OPTIONS)
    done = []

    def fails(work, jobs):
        work(jobs[1])
        raise PipelineError("the cluster is gone")

    def resumes(work, jobs):
        done.extend(jobs)
        backwards(work, jobs)

    with pytest.raises(PipelineError, match="the cluster is gone"):
        records.write(tracks, tmp_path / "out", **OPTIONS, spread=fails)
    assert not (tmp_path / "out/index.json").exists()
    records.write(tracks, tmp_path / "out", **OPTIONS, spread=resumes)
    names = [job.rpartition("/records-")[2] for job in done]
    assert names == ["00000-of-00003.job.json", "00002-of-00003.job.json"]
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def test_workers_that_see_no_shared_folder_are_reported(tmp_path, tracks):
    with pytest.raises(records.RecordsError, match="3 of 3 shards, first rec"):
        records.write(tracks, tmp_path, **OPTIONS, spread=lambda work, jobs: None)
    with pytest.raises(records.RecordsError, match="There is no /none/a"):
        shards.run_job("/none/a.job.json")
    (tmp_path / "a.job.json").write_text("{}")
    with pytest.raises(records.RecordsError, match=r"a\.job\.json is damaged"):
        shards.run_job(str(tmp_path / "a.job.json"))


def test_arrays_are_no_jobs(tmp_path):
    track = Track("a", RATE, 5, {"x": np.zeros((1, 5), np.float32)})
    with pytest.raises(records.RecordsError, match=r"an array \[1, 5\] cannot be read"):
        records.write([track], tmp_path, spread=backwards)


@pytest.fixture
def half_bad(tmp_path):
    """Six tracks, of which the second and fifth hold a sample that is not a number."""
    broken = {1: 0, 4: SAMPLES - 1}
    files = [
        sound(tmp_path / "in" / f"{n}.wav", n, broken=broken.get(n)) for n in range(6)
    ]
    return [Track(path.stem, RATE, SAMPLES, {"x": path}) for path in files]


@pytest.mark.parametrize("piece_samples", [None, 70])
@pytest.mark.parametrize("spread", [None, backwards])
def test_bad_tracks_are_named_or_left_out(tmp_path, half_bad, piece_samples, spread):
    options = {**OPTIONS, "shards": 2, "piece_samples": piece_samples, "spread": spread}
    message = r"^2 of 6 tracks cannot be read or written: '1' \(.*1.wav holds nan"
    for _ in range(2):
        with pytest.raises(records.BadTracksError, match=message + r".*'4' \("):
            records.write(half_bad, tmp_path / "out", **options)
    index = records.write(half_bad, tmp_path / "out", **options, skip=True)
    assert [entry.name for entry in index.tracks] == ["0", "2", "3", "5"]
    assert [bad.name for bad in index.skipped] == ["1", "4"]
    assert records.verify(tmp_path / "out") == index
    listed = json.loads((tmp_path / "out/index.json").read_text("utf-8"))["skipped"]
    assert [row["name"] for row in listed] == ["1", "4"]
    for number, name in enumerate("0235"):
        read = records.excerpt(index, tf.constant(number), tf.constant(0), SAMPLES)
        wave, _ = audio.read(tmp_path / "in" / f"{name}.wav")
        np.testing.assert_array_equal(read["sources"][0], wave)


def test_threads_and_jobs_leave_out_the_same(tmp_path, half_bad):
    options = {**OPTIONS, "shards": 2, "piece_samples": 70, "skip": True}
    records.write(half_bad, tmp_path / "threads", **options)
    records.write(half_bad, tmp_path / "jobs", **options, spread=backwards)
    assert content(tmp_path / "jobs") == content(tmp_path / "threads")


def test_finished_records_without_bad_tracks_need_skip(tmp_path, half_bad, caplog):
    first = records.write(half_bad, tmp_path / "out", **OPTIONS, skip=True)
    assert "left out and listed in index.json: 2 of 6 tracks" in caplog.text
    with pytest.raises(records.BadTracksError, match="2 of 6 tracks"):
        records.write(half_bad, tmp_path / "out", **OPTIONS)
    assert records.write(half_bad, tmp_path / "out", **OPTIONS, skip=True) == first


def test_finished_shards_are_kept_and_bad_tracks_tried_again(
    tmp_path, half_bad, monkeypatch
):
    real, opened = audio.blocks, []

    def watched(path, *arguments):
        opened.append(path.stem)
        return real(path, *arguments)

    monkeypatch.setattr(audio, "blocks", watched)
    options = {**OPTIONS, "shards": 6, "jobs": 1}
    for expected in ("012345", "14"):
        with pytest.raises(records.BadTracksError):
            records.write(half_bad, tmp_path / "out", **options)
        assert "".join(opened) == expected
        opened.clear()
    records.write(half_bad, tmp_path / "out", **options, skip=True)
    assert not opened


def test_tracks_that_the_caller_could_not_read_are_listed(tmp_path, tracks):
    bad = [BadTrack("gone", "gone.wav does not exist")]
    with pytest.raises(records.BadTracksError, match=r"1 of 6.*'gone' \(gone.wav"):
        records.write(tracks, tmp_path, **OPTIONS, bad=bad)
    index = records.write(tracks, tmp_path, **OPTIONS, bad=bad, skip=True)
    assert index.skipped == tuple(bad)
    assert len(index) == 5


def test_nothing_is_written_of_bad_tracks_alone(tmp_path, half_bad):
    for spread in (None, backwards):
        with pytest.raises(records.BadTracksError, match="1 of 1 tracks"):
            records.write(
                half_bad[1:2], tmp_path / "out", **OPTIONS, skip=True, spread=spread
            )
        assert not (tmp_path / "out/index.json").exists()
