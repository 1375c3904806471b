"""Scripts of the page in Node.js: the list of songs, and requests to the server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import harmony_split

STATIC = Path(harmony_split.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
STORAGE = """
const stored = new Map();
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, text) => stored.set(key, text),
};
"""
SERVER = """
globalThis.fetch = async (address) => {
  const [status, code] = answers[address];
  const body = JSON.stringify({ error: { code, message: `${address} is refused.` } });
  return new Response(status === 204 ? null : body, { status });
};
"""
EVENTS = """
const finished = new Set(), requests = [];
globalThis.EventSource = class {
  constructor(address) {
    const jobs = new URLSearchParams(address.split("?")[1]).getAll("job");
    requests.push(jobs.length);
    setTimeout(() => {
      for (const id of jobs) {
        this.onmessage({ data: JSON.stringify({ id, state: "done" }) });
      }
      this.onerror();
    });
  }
  close() {}
};
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Path:
    """The scripts under names that Node.js takes for modules."""
    folder = tmp_path_factory.mktemp("modules")
    for script in SCRIPTS:
        shutil.copy(script, folder / f"{script.stem}.mjs")
    return folder


@pytest.fixture
def run(modules):
    """Run a script beside the scripts of the page; returns the JSON that it prints."""
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")

    def run(text: str) -> object:
        (modules / "test.mjs").write_text(text, "utf-8")
        command = [node, str(modules / "test.mjs")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_javascript(modules, script):
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    subprocess.run([node, "--check", str(modules / f"{script.stem}.mjs")], check=True)


def test_tabs_share_the_list_of_songs(run):
    tabs = """
const [first, second] = [await import("./songs.mjs?1"), await import("./songs.mjs?2")];
first.remember({ id: "a", name: "a.wav", size: 1, type: "wav", seconds: 2, card: {} });
second.remember({ id: "b", name: "b.wav" });
first.remember({ id: "c", name: "c.wav" });
second.forget({ id: "a" });
second.forget({ id: undefined });
first.remember({ id: "b", name: "renamed.wav" });
console.log(JSON.stringify(first.storedSongs()));
"""
    assert run(STORAGE + tabs) == [
        {"id": "b", "name": "renamed.wav"},
        {"id": "c", "name": "c.wav"},
    ]


def test_a_job_that_has_expired_is_deleted_without_an_error(run):
    requests = """
const answers = {
  "/api/jobs/here": [204], "/api/jobs/expired": [404, "not_found"],
  "/api/jobs/foreign": [403, "cross_origin"],
};
const { deleteJob } = await import("./api.mjs");
const results = [];
for (const id of ["here", "expired", "foreign"]) {
  results.push(await deleteJob(id).then(() => "deleted", (error) => error.message));
}
console.log(JSON.stringify(results));
"""
    actual = run(SERVER + requests)
    assert actual == ["deleted", "deleted", "/api/jobs/foreign is refused."]


def test_more_jobs_than_the_server_takes_at_once_are_followed(run):
    requests = """
const { watch } = await import("./api.mjs");
const ids = Array.from({ length: 230 }, (_, i) => `job${i}`);
watch(ids, (job) => {
  finished.add(job.id);
  if (finished.size === ids.length) {
    console.log(JSON.stringify(requests));
    setTimeout(process.exit, 0, 0);
  }
});
"""
    assert run(EVENTS + requests) == [100, 100, 30]
