"""Folders of the cache, and one maker at a time."""

import threading
import time

from common import cache


def test_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    assert cache.folder("a", "b") == tmp_path / "a" / "b"
    monkeypatch.delenv("SEPARATION_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache.folder("a") == tmp_path / "x" / "tf-separation-suite" / "a"


def test_one_maker_at_a_time(tmp_path):
    inside, most = [], []

    def make():
        with cache.locked(tmp_path / "sub" / "thing"):
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
            with cache.locked(tmp_path / "thing"):
                raise KeyError
        except KeyError:
            continue
    assert not list(tmp_path.iterdir())
