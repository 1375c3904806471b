"""Files that are whole or absent, locks between processes, the cache folder."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from common import files
from common.corpora import fuss
from common.weights import torch_file


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), files.replacing(path) as draft:
        draft.write_bytes("not bytes")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_keeps_the_suffix_and_fits_long_names(tmp_path):
    path = tmp_path / ("x" * 250 + ".flac")
    with files.replacing(path) as draft:
        assert draft.suffix == ".flac"
        draft.write_text("whole")
    assert path.read_text() == "whole"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a", "x")
        with files.replacing_folder(tmp_path / "b") as draft:
            (draft / "c").write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o750


def _write_often(path, text, count):
    for _ in range(count):
        files.write_json({"text": text}, path)


def test_many_processes_write_one_file(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_write_often, args=(tmp_path / "a.json", text, 300))
        for text in "abcd"
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text())["text"] in "abcd"


KILLED = """
import os, sys, signal
from pathlib import Path
from common import files
with files.replacing(Path(sys.argv[1], "a.txt")) as draft:
    draft.write_text("half")
    with files.replacing_folder(Path(sys.argv[1], "b")) as folder:
        (folder / "c").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_process_removes_drafts_of_a_killed_one(tmp_path, monkeypatch):
    code = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert code.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".partial-*"))) == 2
    monkeypatch.setattr(files, "_swept", set())
    files.write_text(tmp_path / "d.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["d.txt"]


def test_a_draft_that_is_being_written_is_not_removed(tmp_path, monkeypatch):
    with files.replacing(tmp_path / "a.txt") as draft:
        draft.write_text("whole")
        monkeypatch.setattr(files, "_swept", set())
        files.write_text(tmp_path / "b.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_drafts_of_other_machines_are_not_removed(tmp_path, monkeypatch):
    """A shared file system may not show their locks, so they look abandoned."""
    draft = tmp_path / f"{files.PREFIX}of-another-machine.txt"
    draft.write_text("half")
    for keeps in (files.beside_other_machines, nullcontext):
        monkeypatch.setattr(files, "_swept", set())
        with keeps():
            files.write_text(tmp_path / "a.txt", "whole")
        assert draft.exists() == (keeps is not nullcontext)


def test_a_folder_is_replaced_only_on_request(tmp_path):
    folder = tmp_path / "a"
    for text in ("one", "two"):
        with files.replacing_folder(folder, overwrite=True) as draft:
            (draft / "b").write_text(text)
        assert (folder / "b").read_text() == text
    with (
        pytest.raises(FileExistsError, match="not empty; choose another"),
        files.replacing_folder(folder),
    ):
        raise AssertionError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_of_a_killed_replacement_is_restored(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "b").write_text("old")
    folder.replace(tmp_path / ".replaced-a")
    with pytest.raises(KeyError), files.replacing_folder(folder, overwrite=True):
        raise KeyError
    assert (folder / "b").read_text() == "old"


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    assert files.cache_folder("a", "b") == tmp_path / "a" / "b"
    monkeypatch.delenv("SEPARATION_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert files.cache_folder("a") == tmp_path / "x" / "tf-separation-suite" / "a"


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder, and no variable that names a cache."""
    for name in ("SEPARATION_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home():
        raise RuntimeError

    monkeypatch.setattr(files.Path, "home", no_home)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_cache_names_its_variable():
    with pytest.raises(FileNotFoundError, match="set SEPARATION_CACHE to a folder"):
        files.cache_folder("records")


def test_a_cache_that_cannot_be_written_names_its_variable(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "file"))
    with (
        pytest.raises(OSError, match=r"cannot be written .* set SEPARATION_CACHE"),
        files.locked(files.cache_folder("records", "a")),
    ):
        raise AssertionError


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_folder_outside_the_cache_keeps_its_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), files.locked(tmp_path / "file" / "a" / "b"):
        raise AssertionError


def test_a_lock_is_created_once(monkeypatch, tmp_path):
    opened, touched = [], []
    hold = files._hold
    monkeypatch.setattr(files, "_hold", lambda path: opened.append(path) or hold(path))
    monkeypatch.setattr(files.Path, "touch", lambda *_: touched.append(1))
    with files.locked(tmp_path / "a"):
        assert opened == [*tmp_path.iterdir()] == [tmp_path / ".a.lock"]
    assert not touched


def test_the_home_of_an_unknown_user_is_reported_in_one_sentence():
    with pytest.raises(FileNotFoundError, match=r"~nobody2/run: the home folder"):
        files.user_path("~nobody2/run")


def test_one_maker_at_a_time(tmp_path):
    inside, most = [], []

    def make():
        with files.locked(tmp_path / "sub" / "thing"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert not list((tmp_path / "sub").iterdir())


def test_the_lock_ends_with_an_error(tmp_path):
    for _ in range(2):
        try:
            with files.locked(tmp_path / "thing"):
                raise KeyError
        except KeyError:
            continue
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: fuss.write_list(folder, "train", ["a.wav\tb.wav"]),
        lambda folder: torch_file.write(folder / "a.pth", {"name": "a"}),
    ],
)
def test_many_threads_write_one_file(tmp_path, write):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [tmp_path] * 200))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size
