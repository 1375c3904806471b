"""The download of FUSS, from a server here that breaks off, redirects and misleads."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import http.server
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from common import audio
from common.corpora import fuss

SCRIPT = Path(__file__).resolve().parents[1] / "get_fuss.sh"
DRY = "FUSS_ssdata.tar.gz"
PAGE = b"<!DOCTYPE html><html><body>Moved</body></html>" * 50
LISTS = [fuss.list_name(split) for split in fuss.SPLITS]


def pack(files: dict[str, bytes]) -> bytes:
    """An archive of these files, which does not shrink to one packet."""
    buffer = io.BytesIO()
    noise = random.Random(0).randbytes(60_000)
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {**files, "noise.bin": noise}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@functools.cache
def corpus(top: str = "ssdata/") -> bytes:
    """A small set in the layout of FUSS: two, one and one examples."""
    return pack({top + name: text for name, text in corpus_files().items()})


@functools.cache
def corpus_files() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for split, count in {"train": 2, "validation": 1, "eval": 1}.items():
        lines = []
        for index in range(count):
            stem = f"{split}/example{index:05d}"
            names = [f"{stem}.wav", f"{stem}_sources/background0_sound.wav"]
            names += [f"{stem}_sources/foreground{i}_sound.wav" for i in range(index)]
            files |= dict.fromkeys(names, wav())
            lines.append("\t".join(names) + "\n")
        files[fuss.list_name(split)] = "".join(lines).encode()
    return files


@functools.cache
def wav() -> bytes:
    import soundfile

    buffer = io.BytesIO()
    wave = np.full(160, 0.25)
    soundfile.write(buffer, wave, 16000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@dataclass
class Site:
    """What the server holds and how it misbehaves, and what it was asked for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    record: bytes | None = b""
    asked: list[str] = field(default_factory=list)
    ranges: bool = True
    cuts: int = 0
    """Answers that end halfway."""
    busy: int = 0
    """Answers that are 503."""
    page: bool = False
    slow: bool = False

    def hold(self, name: str, content: bytes) -> None:
        self.files[name] = content
        self.record = zenodo(self.files)

    def gets(self, name: str = DRY) -> list[str]:
        """Range headers of the requests for an archive."""
        lines = [line.split(" ", 2) for line in self.asked]
        return [rest for verb, path, rest in lines if (verb, path) == ("GET", name)]


def zenodo(files: dict[str, bytes], change: str = "") -> bytes:
    """The record as Zenodo's API gives it, with the fields that matter here."""
    entries = []
    for name, content in files.items():
        md5 = hashlib.md5(content + change.encode()).hexdigest()
        links = {"self": f"https://zenodo.org/api/records/3743844/files/{name}/content"}
        entry = {"id": "2be", "key": name, "size": len(content)}
        entries.append(entry | {"checksum": f"md5:{md5}", "links": links})
    head = {"id": 3743844, "metadata": {"description": '<p>{FUSS}, "files"</p>'}}
    return json.dumps(head | {"files": entries, "owners": [{"id": 1}]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Redirects to /store, where the archives are."""

    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        folder, _, name = self.path[1:].rpartition("/")
        site = self.site
        if folder == "files":
            self.send_response(302)
            self.send_header("Location", f"/store/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name == "record":
            content = site.record
        else:
            span = self.headers.get("Range", "")
            site.asked.append(f"{self.command} {name} {span}")
            content = PAGE if site.page else site.files.get(name)
        if site.busy and self.command == "GET":
            site.busy -= 1
            self.send_error(503)
        elif content is None:
            self.send_error(404)
        else:
            self.answer(content)

    def answer(self, content: bytes) -> None:
        site = self.site
        start = 0
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if span and site.ranges and not site.page:
            start = int(span[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        else:
            self.send_response(200)
        kind = "text/html; charset=utf-8" if site.page else "application/octet-stream"
        self.send_header("Content-Type", kind)
        content = content[start:]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD" or self.path == "/api/record":
            content = b"" if self.command == "HEAD" else content
        elif site.cuts:
            site.cuts -= 1
            content = content[: len(content) // 2]
        elif site.slow:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(3)
        self.wfile.write(content)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    handler = type("Here", (Handler,), {"site": site})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        site.hold(DRY, corpus())
        yield site
        server.shutdown()


@dataclass
class Machine:
    """The folders of a user."""

    root: Path
    site: Site

    @property
    def downloads(self) -> Path:
        return self.root / "download"

    @property
    def partial(self) -> Path:
        return self.downloads / f"{DRY}.partial"

    @property
    def goal(self) -> Path:
        return self.root / "fuss_dev" / "ssdata"

    def environment(self, **settings: str) -> dict[str, str]:
        names = {"PATH": os.environ["PATH"], "HOME": str(self.root.parent)}
        return names | {
            "ROOT_DIR": str(self.root),
            "FUSS_URL": f"{self.site.address}/files",
            "FUSS_RECORD_URL": f"{self.site.address}/api/record",
            "FUSS_RETRY_SECONDS": "0",
            **settings,
        }

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPT), *words],
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def start(self, **settings: str) -> subprocess.Popen[str]:
        # A test run in the background ignores SIGINT, and so would the script.
        return subprocess.Popen(
            ["env", "--default-signal=INT", "bash", str(SCRIPT)],
            env=self.environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def put(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def left(self) -> list[str]:
        """Everything in the folders of the archives and of the mixtures."""
        return sorted(
            file.name
            for folder in (self.downloads, self.goal.parent)
            if folder.is_dir()
            for file in folder.iterdir()
        )


@pytest.fixture
def machine(tmp_path: Path, site: Site) -> Machine:
    return Machine(tmp_path / "my data", site)


def good(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed, and the last line is a sentence with these words."""
    assert done.returncode == 1, done.stdout
    last = done.stderr.strip().split("\n")[-1]
    assert last.startswith("get_fuss.sh: ")
    assert last.endswith(".")
    for word in words:
        assert word in last


def commands(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The commands to go on with."""
    lines = done.stdout.split("Train on it by:\n")[1].splitlines()
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("top", ["ssdata/", "FUSS/ssdata/", "", "./a/b/ssdata/"])
def test_corpus_can_be_read_wherever_the_archive_holds_it(machine, site, top):
    site.hold(DRY, corpus(top))
    done = machine.run()
    good(done)
    assert machine.left() == [DRY, "ssdata"]
    ((setting, script),) = commands(done)
    assert script == str(SCRIPT.parent / "run_train_model_on_fuss.sh")
    root = setting.removeprefix("FUSS_ROOT_DIR=")
    assert root == str(machine.root)
    assert fuss.find_root(root) == machine.goal
    assert [len(fuss.tracks(root, split)) for split in fuss.SPLITS] == [2, 1, 1]
    track = fuss.tracks(root, "train")[1]
    assert list(track.sources) == ["background", "foreground_1"]
    wave, rate = audio.read(track.sources["foreground_1"])
    assert rate == 16000
    np.testing.assert_array_equal(wave, np.full((1, 160), 0.25, np.float32))
    assert machine.goal.stat().st_mode & 0o055 == 0o055 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_says_sizes_and_counts(machine):
    done = machine.run()
    assert f"{DRY}: {len(corpus()) / 1000:.1f} kB" in done.stdout
    assert "2 training, 1 validation and 1 evaluation examples" in done.stdout
    assert "20000, 1000 and 1000" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_cdpath_does_not_change_the_path_to_train_on(machine, monkeypatch):
    machine.root.mkdir(exist_ok=True)
    monkeypatch.chdir(machine.root.parent)
    done = machine.run(ROOT_DIR=machine.root.name, CDPATH=".")
    *_, command = done.stdout.splitlines()
    assert shlex.split(command)[0] == f"FUSS_ROOT_DIR={machine.root}"


def test_whole_set_is_not_warned_about(machine, site):
    files = dict(corpus_files())
    for split in fuss.SPLITS:
        line = files[fuss.list_name(split)].split(b"\n")[0]
        # The last line may lack its end, and blank lines do not count.
        files[fuss.list_name(split)] = b"\n".join([line] * fuss.SIZES[split] + [b""])
    files["eval_example_list.txt"] = files["eval_example_list.txt"].rstrip(b"\n")
    site.hold(DRY, pack(files))
    done = machine.run()
    good(done)
    assert "20000 training, 1000 validation and 1000 evaluation" in done.stdout
    assert done.stderr == ""


def test_second_run_asks_for_nothing(machine, site):
    good(machine.run())
    (machine.downloads / DRY).unlink()
    site.asked.clear()
    done = machine.run()
    good(done)
    assert "nothing to download" in done.stdout
    assert commands(done)
    assert site.asked == []
    assert machine.left() == ["ssdata"]


def test_broken_connection_is_continued(machine, site):
    site.cuts = 8
    done = machine.run()
    good(done)
    starts = [0]
    for _ in range(8):
        starts.append(starts[-1] + (len(corpus()) - starts[-1]) // 2)
    assert site.gets() == ["", *(f"bytes={start}-" for start in starts[1:])]
    assert "Interrupted at" in done.stdout
    assert machine.left() == [DRY, "ssdata"]


def test_next_run_continues_what_broke_off(machine, site):
    machine.put(machine.partial, corpus()[:40_000])
    site.busy = 99
    refused(machine.run(FUSS_RECORD_URL=""), DRY, "503", "start again")
    assert len(site.gets()) == 6
    assert machine.partial.read_bytes() == corpus()[:40_000]
    site.busy = 0
    good(machine.run())
    assert site.gets()[-1] == "bytes=40000-"
    assert machine.goal.is_dir()


def test_busy_server_is_asked_again(machine, site):
    site.busy = 3
    good(machine.run(FUSS_RECORD_URL=""))
    assert len(site.gets()) == 4


def test_server_without_ranges(machine, site):
    site.ranges = False
    site.cuts = 1
    done = machine.run()
    good(done)
    assert "starting again" in done.stdout
    assert len(site.gets()) == 3
    assert (machine.downloads / DRY).read_bytes() == corpus()


def test_server_without_ranges_that_always_breaks_off(machine, site):
    site.ranges = False
    site.cuts = 99
    refused(machine.run(), "broke off")
    assert len(site.gets()) <= 12


@pytest.mark.parametrize("size_is_known", [True, False])
def test_whole_partial_file(machine, site, size_is_known):
    machine.put(machine.partial, corpus())
    if not size_is_known:
        site.record = None
    good(machine.run())
    assert site.gets() == []
    assert machine.left() == [DRY, "ssdata"]


@pytest.mark.parametrize("old", [False, True])
def test_whole_partial_file_of_unknown_size(machine, site, tmp_path, monkeypatch, old):
    machine.put(machine.partial, corpus())
    monkeypatch.setattr(Handler, "do_HEAD", lambda self: self.send_error(405))
    path = os.environ["PATH"]
    if old:  # curl before 7.75 takes the answer 416 for a failure
        curl = f"""#!/bin/bash
        answer=$({shutil.which("curl")} "$@") || exit
        echo "$answer"
        [[ "$answer" != 416* ]] || exit 22
        """
        machine.put(tmp_path / "bin/curl", curl.encode())
        (tmp_path / "bin/curl").chmod(0o755)
        path = f"{tmp_path}/bin:{path}"
    good(machine.run(FUSS_RECORD_URL="", PATH=path))
    assert site.gets() == [f"bytes={len(corpus())}-"]
    assert machine.left() == [DRY, "ssdata"]


@pytest.mark.parametrize(
    "partial",
    [
        corpus()[:500] + b"other" * 900,
        b"\x1f\x8b" + corpus()[2:-1] + b"?",
        corpus() + b"more",
        PAGE,
        b"\x1f",
    ],
)
def test_partial_file_of_something_else(machine, site, partial):
    machine.put(machine.partial, partial)
    good(machine.run())
    assert site.gets()[-1] == ""
    assert (machine.downloads / DRY).read_bytes() == corpus()


def test_web_page_is_refused_and_deleted(machine, site):
    site.page = True
    for record in ("", f"{site.address}/api/record"):
        done = machine.run(FUSS_RECORD_URL=record)
        refused(done, DRY, "no gzip archive", "text/html", "deleted", "FUSS_URL")
        assert machine.left() == []
    assert site.gets() == ["", ""]


def test_web_page_does_not_cost_what_was_downloaded(machine, site):
    machine.put(machine.partial, corpus()[:40_000])
    site.page = True
    refused(machine.run(), "web page")
    assert machine.partial.read_bytes() == corpus()[:40_000]


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (zenodo({DRY: corpus()}, change="x"), "md5"),
        (zenodo({DRY: corpus() + b"x"}), f"{len(corpus())} bytes"),
        (zenodo({DRY: corpus()[:-1]}), f"{len(corpus())} bytes"),
    ],
)
def test_file_that_is_not_the_published_one(machine, site, record, word):
    site.record = record
    refused(machine.run(), DRY, word, "deleted")
    assert machine.left() == []
    assert len(site.gets()) == 1


def old_form(entry: dict) -> dict:
    names = ("checksum", "key", "links", "size")
    return {"bucket": "b"} | {name: entry[name] for name in names}


@pytest.mark.parametrize(
    "form",
    [
        lambda files: {"files": files},
        lambda files: {"files": [old_form(each) for each in files]},
        lambda files: {"files": {"entries": {each["key"]: each for each in files}}},
        lambda files: {"entries": [each | {"access": {"a": 1}} for each in files]},
    ],
)
def test_every_form_of_the_record_is_read(machine, site, form):
    others = {f"other_{DRY}": b"", DRY: corpus(), f"{DRY}.txt": b"", "FUSS_ssdata": b""}
    wrong = json.loads(zenodo(others, change="x"))["files"]
    site.record = json.dumps({"a": {"b": {}}, **form(wrong)}, indent=2).encode()
    md5 = hashlib.md5(corpus() + b"x").hexdigest()
    done = machine.run()
    refused(done, f"not {md5}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("record", [None, b"", PAGE, zenodo({"other.tar.gz": b"x"})])
def test_record_that_cannot_be_read(machine, site, record):
    site.record = record
    done = machine.run()
    good(done)
    (line,) = (each for each in done.stderr.splitlines() if "gzip -t" in each)
    assert f"{site.address}/api/record has no size and md5 sum of {DRY}" in line
    assert fuss.tracks(machine.root, "train")


def test_damaged_archive_without_record(machine, site):
    content = bytearray(corpus())
    content[len(content) // 2] ^= 1
    site.files[DRY] = bytes(content)
    refused(machine.run(FUSS_RECORD_URL=""), DRY, "gzip -t", "deleted")
    assert machine.left() == []


def test_missing_file_is_asked_for_once(machine, site):
    machine.put(machine.partial, corpus()[:40_000])
    site.files.clear()
    refused(machine.run(), f"{site.address}/files/{DRY}", "404", "FUSS_URL")
    assert len(site.gets()) == 1
    assert machine.partial.exists()


def test_no_network(machine):
    done = machine.run(FUSS_URL="http://127.0.0.1:9", FUSS_RECORD_URL="")
    refused(done, f"http://127.0.0.1:9/{DRY}", "cannot be reached")
    assert machine.left() == []


def test_full_disk_is_seen_before(machine, site, tmp_path):
    programs = tmp_path / "bin"
    machine.put(programs / "df", b"#!/bin/sh\necho Head\necho 'a b 9 5 12 45% /mnt'\n")
    (programs / "df").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = machine.run(PATH=path)
    need = f"needs {4 * len(corpus()) / 1000:.1f} kB"
    refused(done, DRY, need, "12.3 kB are free", "ROOT_DIR")
    assert site.gets() == []
    machine.put(programs / "df", b"#!/bin/sh\necho 'a 900 5 900 45% /mnt'\n")
    good(machine.run(PATH=path))


def test_foreign_folder_is_not_touched(machine, site):
    machine.put(machine.goal / "diary.txt", b"mine")
    refused(machine.run(), str(machine.goal), LISTS[0], "move or delete")
    assert [file.name for file in machine.goal.iterdir()] == ["diary.txt"]
    assert site.asked == []


def test_half_unpacked_folder_is_refused(machine):
    good(machine.run())
    (machine.goal / "train/example00001_sources/foreground0_sound.wav").unlink()
    refused(machine.run(), "train/example00001_sources/foreground0_sound.wav")


def test_empty_folder_and_remains_of_a_killed_run_are_replaced(machine):
    machine.goal.mkdir(parents=True)
    machine.put(machine.goal.with_name("ssdata.unpacking") / "old", b"x")
    good(machine.run())
    assert machine.left() == [DRY, "ssdata"]
    assert not list(machine.goal.rglob("old"))


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (LISTS[0], ["holds no", LISTS[0]]),
        (LISTS[2], ["lacks", LISTS[2]]),
        ("eval/example00000_sources/background0_sound.wav", ["lacks eval/example"]),
    ],
)
def test_archive_of_something_else_is_not_unpacked(machine, site, missing, words):
    files = {f"s/{n}": text for n, text in corpus_files().items() if n != missing}
    site.hold(DRY, pack(files))
    refused(machine.run(), *words)
    assert machine.left() == [DRY]


def test_archive_that_cannot_be_unpacked_leaves_nothing(machine, site):
    import gzip

    site.hold(DRY, gzip.compress(b"no archive" * 500))
    refused(machine.run(), "could not be unpacked")
    assert machine.left() == [DRY]


def test_archive_that_is_there_is_not_downloaded(machine, site):
    machine.put(machine.downloads / DRY, corpus())
    done = machine.run()
    good(done)
    assert "not downloaded again" in done.stdout
    assert site.gets() == []


@pytest.mark.parametrize(
    ("content", "span"), [(corpus()[:9000], "bytes=9000-"), (PAGE, "")]
)
def test_wrong_archive_is_replaced(machine, site, content, span):
    machine.put(machine.downloads / DRY, content)
    good(machine.run())
    assert site.gets() == [span]
    assert machine.left() == [DRY, "ssdata"]


def raw(top: str) -> bytes:
    return pack({f"{top}/{split}/sound/a.wav": wav() for split in fuss.SPLITS})


def test_all_parts_go_where_they_belong(machine, site):
    site.hold("FUSS_ssdata_reverb.tar.gz", corpus("ssdata_reverb/"))
    site.hold("FUSS_fsd_data.tar.gz", raw("fsd_data"))
    site.hold("FUSS_rir_data.tar.gz", raw("FUSS/rir_data"))
    site.hold("FUSS_license_doc.tar.gz", pack({"d/LICENSE-DATASET": b"CC BY 4.0"}))
    done = machine.run("all", "dry")
    good(done)
    asked = [line.split()[1] for line in site.asked]
    assert sorted(asked) == sorted(fuss.REMOTES.values())
    mine = machine.root
    for folder in ("fsd_data", "rir_data"):
        assert (mine / "fuss_sources_and_rirs" / folder / "eval/sound/a.wav").exists()
    licence = mine / "fuss_dev/license_doc/LICENSE-DATASET"
    assert licence.read_text() == "CC BY 4.0"
    dry, reverberant = (setting for setting, _ in commands(done))
    assert dry == f"FUSS_ROOT_DIR={mine}"
    assert reverberant == f"FUSS_ROOT_DIR={mine}/fuss_dev/ssdata_reverb"
    assert len(fuss.tracks(reverberant.split("=")[1], "train")) == 2
    site.asked.clear()
    again = machine.run("sources", "rooms", "licence")
    good(again)
    assert again.stdout.count("nothing to download") == 3
    assert "Train on it" not in again.stdout


def test_folders_of_their_own(machine, site, tmp_path):
    names = ("DOWNLOAD_DIR", "DEV_DATA_DIR", "RAW_DATA_DIR")
    folders = {name: str(tmp_path / name.lower()) for name in names}
    site.hold("FUSS_rir_data.tar.gz", raw("rir_data"))
    done = machine.run("dry", "rooms", **folders)
    good(done)
    assert not machine.root.exists()
    ((setting, _),) = commands(done)
    assert setting == f"FUSS_ROOT_DIR={folders['DEV_DATA_DIR']}"
    assert len(fuss.tracks(folders["DEV_DATA_DIR"], "eval")) == 1
    assert (tmp_path / "raw_data_dir/rir_data/train").is_dir()
    assert (tmp_path / "download_dir" / DRY).is_file()


def test_words(machine, site):
    done = machine.run("dry", "wet")
    assert done.returncode == 2
    assert "wet is unknown" in done.stderr
    assert done.stderr.count("\n") == 1
    done = machine.run(FUSS_RETRY_SECONDS="soon")
    assert done.returncode == 2
    assert "FUSS_RETRY_SECONDS=soon" in done.stderr
    done = machine.run("--help")
    good(done)
    assert "./get_fuss.sh reverberant" in done.stdout
    assert "set -euo" not in done.stdout
    for name in re.findall(r"\$\{([A-Z_]+):?-", SCRIPT.read_text()):
        assert name in done.stdout
    assert not machine.root.exists()
    assert site.asked == []


def test_missing_program_is_named(machine, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "tar", "gzip"):
        (programs / name).symlink_to(f"/bin/{name}")
    refused(machine.run(PATH=str(programs)), "curl is not installed")


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_stopped_run_is_continued(machine, site, sign, code):
    site.slow = True
    with machine.start() as process:
        wait_for(lambda: machine.partial.exists() and machine.partial.stat().st_size)
        process.send_signal(sign)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert "stopped" in errors
    assert machine.left() == [machine.partial.name]
    held = machine.partial.stat().st_size
    assert 0 < held <= len(corpus()) // 2
    site.slow = False
    good(machine.run())
    assert site.gets() == ["", f"bytes={held}-"]


def test_second_run_waits_for_the_first(machine):
    machine.downloads.mkdir(parents=True)
    lock = os.open(machine.downloads, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with machine.start() as process:
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
        time.sleep(0.2)
        assert process.poll() is None
        os.close(lock)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert machine.left() == [DRY, "ssdata"]


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
