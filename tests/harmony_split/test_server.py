"""The way of a song through the server: upload, queue, preview, stems, deletion."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile

from harmony_split import pool, worker
from harmony_split.jobs import DONE, SONG, Job, Jobs, new_id
from harmony_split.limits import Limits
from harmony_split.openapi import DOCUMENT
from harmony_split.worker import Worker

STEMS = ["high", "low"]


def test_a_song_becomes_stems(page, song, packed):
    mixture = song(2.5)
    job = page.finish(page.make(packed(mixture)))
    assert job["state"] == "done"
    assert job["error"] is None
    part = job["stems"]
    assert part["stems"] == STEMS
    assert (part["samples"], part["sample_rate"], part["channels"]) == (20000, 8000, 2)
    for name, share in zip(STEMS, (0.75, 0.25), strict=True):
        np.testing.assert_allclose(page.stem(job["id"], name), share * mixture)
    left = {path.name for path in (page.folder / job["id"]).rglob("*.*")}
    assert left == {"high.wav", "low.wav", "overview.json"}


def test_the_loudest_part_comes_first(serve, song, packed):
    page = serve(preview_seconds=1)
    mixture = song(6)
    mixture[24000:32000] *= 5
    id_ = page.make(packed(mixture), "fake/slow")
    events = events_of(page, f"/api/events?job={id_}")
    shown = next(event for event in events if event["preview"])
    assert shown["state"] == "separating"
    assert shown["preview"]["start"] == 3
    under_way = [event for event in events if event["remaining"]]
    assert under_way
    assert all(0 < event["progress"] < 1 for event in under_way)
    excerpt = 0.75 * mixture[24000:32000]
    np.testing.assert_allclose(page.stem(id_, STEMS[0], "preview"), excerpt)
    job = page.finish(id_)
    assert job["stems"]["samples"] == 48000
    assert page.client.get(f"/api/jobs/{id_}/preview.zip").status_code == 200


def test_events_report_each_step_and_the_end(page, song, packed):
    id_ = page.make(packed(song(3)), "fake/slow")
    first = page.make(packed(song(0.5)))
    events = events_of(page, f"/api/events?job={id_}&job={first}")
    states = [event["state"] for event in events if event["id"] == id_]
    assert states[-1] == "done"
    assert "separating" in states
    waiting = [e["position"] for e in events if e["id"] == first]
    assert waiting[0] in (0, 1)
    assert waiting[-1] is None
    progress = [event["progress"] for event in events if event["id"] == id_]
    assert progress == sorted(progress)
    assert [e["state"] for e in events if e["id"] == first][-1] == "done"


@pytest.mark.parametrize("count", [0, 101])
def test_events_of_no_or_too_many_jobs_are_refused(page, count):
    answer = page.client.get("/api/events", params={"job": ["x"] * count})
    assert answer.status_code == 400
    assert f"names {count} jobs; expected" in answer.json()["error"]["message"]


def test_stems_come_in_every_format_and_as_zip(page, song, packed):
    id_ = page.make(packed(song(1)))
    page.finish(id_)
    answer = page.client.get(f"/api/jobs/{id_}/stems/low.flac")
    assert answer.headers["content-type"] == "audio/flac"
    assert soundfile.info(io.BytesIO(answer.content)).subtype == "PCM_24"
    answer = page.client.get(f"/api/jobs/{id_}/stems/low.wav?format=wav24")
    assert soundfile.info(io.BytesIO(answer.content)).subtype == "PCM_24"
    for wrong in ("low", "low.wav?format=flac", "low.flac?format=wav", "x.wav"):
        assert page.client.get(f"/api/jobs/{id_}/stems/{wrong}").status_code == 404
    assert page.client.get(f"/api/jobs/{id_}/stems/low.exe").status_code == 400
    answer = page.client.get(f"/api/jobs/{id_}/stems.zip?format=wav16")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.namelist() == ["high.wav", "low.wav"]
    sound = io.BytesIO(archive.read("low.wav"))
    assert soundfile.info(sound).subtype == "PCM_16"


def test_a_part_of_a_stem_is_answered(page, song, packed):
    id_ = page.make(packed(song(1)))
    page.finish(id_)
    address = f"/api/jobs/{id_}/stems/low.wav"
    whole = page.client.get(address).content
    answer = page.client.get(address, headers={"Range": "bytes=100-199"})
    assert answer.status_code == 206
    assert answer.content == whole[100:200]


def test_overview_has_waveform_and_spectrogram(page, song, packed):
    id_ = page.make(packed(song(1)))
    page.finish(id_)
    stems = page.client.get(f"/api/jobs/{id_}/stems/overview").json()["stems"]
    assert [*stems] == STEMS
    assert max(stems["low"]["peaks"]) == pytest.approx(
        np.abs(0.25 * song(1)).max(), abs=1e-4
    )


def test_cancel_ends_a_job_and_the_worker_continues(page, song, packed):
    id_ = page.make(packed(song(20)), "fake/slow")
    after = page.make(packed(song(1)))
    page.wait(id_, lambda job: job["progress"] > 0)
    assert page.client.post(f"/api/jobs/{id_}/cancel").json()["state"] == "cancelled"
    assert page.finish(after)["state"] == "done"
    assert not (page.folder / id_).exists()
    assert page.client.get(f"/api/jobs/{id_}/stems/low.wav").status_code == 409


def test_a_job_that_waits_is_cancelled(page, song, packed):
    first = page.make(packed(song(20)), "fake/slow")
    second = page.make(packed(song(1)))
    assert page.client.post(f"/api/jobs/{second}/cancel").json()["state"] == "cancelled"
    page.client.post(f"/api/jobs/{first}/cancel")
    third = page.make(packed(song(1)))
    assert page.finish(third)["state"] == "done"
    assert page.job(second)["state"] == "cancelled"


def test_delete_leaves_nothing(page, song, packed):
    id_ = page.make(packed(song(1)))
    page.finish(id_)
    assert (page.folder / id_).exists()
    assert page.client.delete(f"/api/jobs/{id_}").status_code == 204
    assert not (page.folder / id_).exists()
    answer = page.client.get(f"/api/jobs/{id_}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    text = page.client.get(f"/api/events?job={id_}").text
    assert '"state": "gone"' in text


def test_a_worker_that_dies_begins_its_job_again(page, song, packed, caplog):
    id_ = page.make(packed(song(2)), "fake/dies_once")
    seen = page.wait(id_, lambda job: job["note"])
    assert "begins again" in seen["note"]
    job = page.finish(id_)
    assert job["state"] == "done"
    assert job["note"] == ""
    lines = [record.getMessage() for record in caplog.records]
    assert "a worker ended with -9; starting another" in lines
    np.testing.assert_allclose(page.stem(id_, "low"), 0.25 * song(2))


def test_a_job_whose_end_was_not_recorded_is_separated_again(tmp_path, song, packed):
    """The server may be killed before it records what the worker has sent."""
    load = runpy.run_path(str(Path(__file__).with_name("fake_worker.py")))["load"]
    order = {"job": "a", "folder": str(tmp_path), "model": "fake/halves"}
    (tmp_path / "upload").write_bytes(packed(song(1)))
    for _ in range(2):
        events = []
        at_work = Worker(load, Limits(), events.append)
        at_work.prepare(order)
        at_work.run(order)
        # The song is too short for a preview.
        names = {event["event"] for event in events}
        assert names <= {"decoded", "progress", "done"}
        assert events[-1]["event"] == "done"


def test_a_worker_keeps_the_models_that_it_used_last(monkeypatch):
    monkeypatch.setattr(worker, "MOST_MODELS", 2)
    loaded = []
    at_work = Worker(lambda _, name: loaded.append(name) or name, Limits(), print)
    for name in "abacab":
        assert at_work.model(f"fake/{name}") == name
    assert loaded == ["a", "b", "c", "b"]


def test_a_job_that_kills_its_worker_is_given_up_and_others_continue(
    serve, song, packed
):
    page = serve(attempts=2)
    bad = page.make(packed(song(1)), "fake/dies")
    good = page.make(packed(song(1)))
    job = page.finish(bad)
    assert job["state"] == "failed"
    assert "crashed 2 times" in job["error"]["message"]
    assert page.finish(good)["state"] == "done"


def test_an_error_while_a_worker_starts_is_logged_and_it_is_started_again(
    serve, song, packed, monkeypatch, caplog
):
    started, calls = pool._started, []

    async def started_later(command):
        calls.append(command)
        if len(calls) < 3:
            raise OSError("cannot allocate memory")
        return await started(command)

    monkeypatch.setattr(pool, "_started", started_later)
    page = serve()
    assert page.finish(page.make(packed(song(1))))["state"] == "done"
    assert "cannot allocate memory" in caplog.text


def test_a_model_that_fails_says_why(page, song, packed):
    job = page.finish(page.make(packed(song(1)), "fake/fails"))
    assert job["error"]["code"] == "failed"
    assert "not finite" in job["error"]["message"]


def test_a_separation_that_takes_too_long_is_ended(serve, song, packed):
    page = serve(job_minutes=0.02)
    id_ = page.make(packed(song(60)), "fake/slow")
    job = page.finish(id_)
    assert job["state"] == "failed"
    assert "takes longer than" in job["error"]["message"]
    assert not (page.folder / id_).exists()


def test_jobs_and_files_survive_a_restart_of_the_server(serve, song, packed):
    page = serve()
    done = page.make(packed(song(1)))
    page.finish(done)
    at_work = page.make(packed(song(4, seed=1)), "fake/slow")
    waiting = page.make(packed(song(1, seed=2)))
    page.wait(at_work, lambda job: job["progress"] > 0)
    page = serve()
    assert page.job(done)["state"] == "done"
    np.testing.assert_allclose(page.stem(done, "low"), 0.25 * song(1))
    for id_, sound in ((at_work, song(4, seed=1)), (waiting, song(1, seed=2))):
        assert page.finish(id_)["state"] == "done"
        np.testing.assert_allclose(page.stem(id_, "low"), 0.25 * sound)


def test_files_without_a_job_are_removed_at_the_start(serve):
    page, name = serve(), new_id()
    (page.folder / name).mkdir()
    (page.folder / name / "upload").write_bytes(b"RIFF")
    page = serve()
    assert not (page.folder / name).exists()


def test_the_decoded_song_of_a_finished_job_is_removed_at_the_start(tmp_path):
    """The server may be killed after it has recorded the end and before it does so."""
    jobs = Jobs(tmp_path, 3600)
    job = jobs.add(Job(new_id(), "fake/halves", state=DONE))
    jobs.folder(job.id).mkdir()
    (jobs.folder(job.id) / SONG).write_bytes(b"RIFF")
    jobs.close()
    Jobs(tmp_path, 3600).close()
    assert [*jobs.folder(job.id).iterdir()] == []


def test_jobs_expire(serve, song, packed):
    page = serve(keep_hours=0.2 / 3600)
    id_ = page.make(packed(song(0.5)))
    page.finish(id_)
    time.sleep(0.3)
    page = serve()
    page.wait(id_, lambda job: "error" in job and "state" not in job)
    assert [*page.folder.iterdir()] == []


def test_several_workers_share_the_queue(serve, song, packed):
    page = serve(workers=2)
    ids = [page.make(packed(song(2, seed=i)), "fake/slow") for i in range(2)]
    page.wait(ids[1], lambda job: job["state"] == "separating")
    for i, id_ in enumerate(ids):
        page.finish(id_)
        np.testing.assert_allclose(page.stem(id_, "low"), 0.25 * song(2, seed=i))


def test_models_are_listed_with_score_and_licence(page):
    body = page.client.get("/api/models").json()
    assert body["models"][0]["name"] == "fake/halves"
    absent = body["models"][-1]
    assert absent["name"] == "fake/absent"
    assert not absent["ready"]
    assert absent["licence"] == "Apache-2.0"
    assert body["limits"]["bytes"] == 50_000_000


def test_the_document_lists_every_address(page):
    described = {
        (path, method.upper())
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }
    routes = {
        (route.path, method)
        for route in page.client.app.routes
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith("/api") and method != "HEAD"
    }
    assert routes == described
    assert page.client.get("/api/openapi.json").json()["openapi"] == "3.1.0"


def test_the_document_is_openapi():
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT))
    assert {*references} <= {*schemas}
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            parameters = operation["parameters"]
            inside = {each["name"] for each in parameters if each["in"] == "path"}
            assert inside == {*re.findall(r"{(\w+)}", path)}
            assert len({each["name"] for each in parameters}) == len(parameters)
            for status, answer in operation["responses"].items():
                assert re.fullmatch(r"default|20\d", status)
                assert answer["description"]


def test_what_is_answered_fits_the_document(page, song, packed):
    get = page.client.get
    id_ = page.make(packed(song(3)), "fake/slow")
    queued = page.job(id_)
    gone, *events = events_of(page, f"/api/events?job=none&job={id_}")
    assert "separating" in [event["state"] for event in events]
    answers = [("Gone", gone), *(("Job", event) for event in [queued, *events])]
    failed = page.finish(page.make(packed(song(1)), "fake/fails"))
    answers += [("Job", failed), ("Models", get("/api/models").json())]
    answers.append(("Overview", get(f"/api/jobs/{id_}/stems/overview").json()))
    for path in ("/api/jobs/x", "/api/none", "/api/events", f"/api/jobs/{id_}/stems/x"):
        answers.append(("Error", get(path).json()))
    for name, answer in answers:
        jsonschema.validate(answer, closed(name))


def events_of(page, address: str) -> list[dict]:
    lines = page.client.get(address).text.split("\n")
    return [json.loads(line[6:]) for line in lines if line[:6] == "data: "]


def closed(name: str) -> dict:
    """A schema of the document that lets no further property through."""
    text = json.dumps(DOCUMENT["components"]["schemas"])
    schemas = json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    for schema in schemas.values():
        schema["additionalProperties"] = schema.get("additionalProperties", False)
    return {"$ref": f"#/$defs/{name}", "$defs": schemas}


def test_logs_hold_no_secret(page, caplog, song, packed):
    caplog.set_level("INFO")
    id_ = page.make(packed(song(0.5)))
    page.finish(id_)
    page.client.delete(f"/api/jobs/{id_}")
    ours = [r.getMessage() for r in caplog.records if r.name == "harmony_split"]
    assert any(id_[:4] in line for line in ours)
    assert not any(id_ in line for line in ours)


def test_workers_end_with_the_server(serve, song, packed):
    others = _children()
    page = serve()
    page.finish(page.make(packed(song(0.5))))
    pids = _children() - others
    assert pids
    serve()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _children() -> set[int]:
    """Process ids of all children of this process."""
    files = Path("/proc/self/task").glob("*/children")
    return {int(pid) for file in files for pid in file.read_text().split()}


def test_the_server_starts_without_tensorflow(web):
    code = "import sys, harmony_split.server, harmony_split.worker\n"
    code += "print('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
