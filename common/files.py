"""Files that are whole or absent, locks between processes, and the cache folder."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

PREFIX = ".partial-"
"""Prefix of the names of all drafts."""

OLD_PREFIX = ".replaced-"
"""Prefix of the name of a folder while another one replaces it."""

DIGEST_BYTES = 1 << 20
"""Bytes of a file that are read at once for its digest."""

LOCK_SECONDS = 0.1
"""Time between two attempts at a lock on Windows."""

_swept: set[tuple[int, Path]] = set()
_sees_locks: ContextVar[bool] = ContextVar("sees_locks", default=True)


def _optional(name: str) -> Any:
    """Import a module that some systems do not have."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_fcntl, _msvcrt = _optional("fcntl"), _optional("msvcrt")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a draft that takes the name of a file once it is whole and on disk.

    The draft is in the same folder and has a unique name with the same suffix, so any
    number of processes may write one file: the last to finish wins. After an error the
    draft is removed and the file stays as it was; after a kill the next process that
    writes to the folder removes the draft, except on Windows.

    Args:
        path: The file to create or replace; its folder must exist.

    Yields:
        The path to write to, an empty file.

    Raises:
        OSError: The folder cannot be written.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.txt")
    >>> with replacing(file) as draft:
    ...     _ = draft.write_text("whole")
    >>> file.read_text()
    'whole'
    """
    path = Path(path)
    with naming(path):
        sweep(path.parent)
        draft, handle = _create_file(path)
        try:
            yield draft
            sync(draft)
            draft.replace(path)
            sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)
            _close(handle)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let errors of the system name a path instead of its draft, or of nothing.

    Writing to an open file raises errors without a name.

    Args:
        path: What is written.

    >>> with naming("a.txt"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    ...
    OSError: [Errno 28] No space left on device: 'a.txt'
    """
    try:
        yield
    except OSError as error:
        names = [name for name in (error.filename, error.filename2) if name]
        if error.errno and (not names or any(map(_is_draft, names))):
            error.filename = os.fspath(path)
            if error.filename2 is not None:
                del error.filename2
        raise


def _is_draft(name: str | bytes) -> bool:
    parts = Path(os.fsdecode(name)).parts
    return any(
        part.startswith((PREFIX, OLD_PREFIX))
        or (part.startswith(".") and part.endswith((".lock", ".part")))
        for part in parts
    )


@contextmanager
def replacing_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a folder that takes its name once all files in it are whole and on disk.

    Args:
        path: Its final name; parents are made.
        overwrite: Whether a folder of that name that is not empty is replaced.

    Yields:
        The temporary folder, beside the final one.

    Raises:
        FileExistsError: The name is that of a file or of a folder that is not empty.
        OSError: The parent folder cannot be written.
    """
    path = Path(path).resolve()
    recover_folder(path)
    refuse_existing(path, overwrite=overwrite)
    with naming(path), scratch_folder(path.parent) as draft:
        yield draft
        for folder, _, names in os.walk(draft):
            for name in names:
                sync(Path(folder, name))
            sync(Path(folder))
        with locked(_old(path)):
            refuse_existing(path, overwrite=overwrite)
            _exchange(draft, path)
        sync(path.parent)


def recover_folder(path: str | Path) -> None:
    """Restore a folder that a process was killed while replacing.

    Args:
        path: Its name; parents are made.

    Raises:
        OSError: The parent folder cannot be written.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), locked(_old(path)):
        if _old(path).is_dir() and not path.exists():
            _old(path).replace(path)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a folder that is removed at the end, or after a kill by the next process.

    Args:
        parent: The folder to make it in, which must exist.

    Raises:
        OSError: ``parent`` cannot be written.
    """
    sweep(parent)
    draft, handle = _create_folder(parent)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _close(handle)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Create a file that no other process claims, and remove it at the end.

    Others may read it meanwhile. Where it got another name it stays.

    Args:
        path: The file; one that exists is left as it is.

    Raises:
        BlockingIOError: Another process has claimed it.
        OSError: It cannot be written.

    >>> import tempfile
    >>> draft = Path(tempfile.mkdtemp(), "a.part.txt")
    >>> with claimed(draft):
    ...     draft.exists()
    True
    >>> draft.exists()
    False
    """
    handle = _claim(path)
    try:
        yield
    finally:
        if handle is None or _has_name(handle, path):
            path.unlink(missing_ok=True)
        _close(handle)


def _claim(path: Path) -> int | None:
    """Create and lock a file; Windows does not rename a file that is open."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        if _fcntl is None:
            os.close(handle)
            return None
        try:
            lock(handle, wait=False)
        except BlockingIOError as error:
            os.close(handle)
            raise BlockingIOError(
                f"{path} is being written by another process; wait for its end"
            ) from error
        except OSError:  # the file system has no locks
            pass
        if _has_name(handle, path):
            return handle
        os.close(handle)


@contextmanager
def beside_other_machines() -> Iterator[None]:
    """Keep drafts that look abandoned, within this context.

    Many shared file systems do not show the locks of other machines, so that a draft
    that another machine writes would be removed.
    """
    token = _sees_locks.set(False)
    try:
        yield
    finally:
        _sees_locks.reset(token)


def sweep(folder: Path) -> None:
    """Remove the drafts of killed processes, once per process and folder."""
    key = (os.getpid(), folder.absolute())
    if key in _swept or _fcntl is None or not _sees_locks.get():
        return
    _swept.add(key)
    for draft in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # Held by its writer, or removed by another process.
            _remove_unlocked(draft)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a name for a new folder that exists.

    Args:
        path: The name.
        overwrite: Whether a folder that is not empty may be replaced.

    Raises:
        FileExistsError: The name is that of a file or of a folder that is not empty.
    """
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; choose another name for the folder.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise FileExistsError(
            f"The folder {path} is not empty; choose another or empty it."
        )


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8 so that it is whole or absent."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def write_json(values: object, path: str | Path) -> None:
    """Write values as indented JSON so that the file is whole or absent."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make a file or folder; the others wait for it.

    Args:
        path: The file or folder; the lock is a hidden file beside it, which is removed
            afterwards and blocks no process after a kill.

    Raises:
        OSError: The folder of ``path`` cannot be made or written.
    """
    hidden = path.parent / f".{path.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            held = _hold(hidden)
    except OSError as error:
        if not _is_in_cache(path):
            raise
        raise OSError(
            f"the cache {path.parent} cannot be written ({error.strerror}); set "
            "SEPARATION_CACHE to a folder that you may write to"
        ) from error
    with held:
        try:
            yield
        finally:
            # It blocks nobody. Windows does not remove an open file; the next
            # process does.
            with suppress(OSError):
                hidden.unlink()


def lock(handle: int, wait: bool = True) -> None:
    """Lock an open file for this process, until it is closed or the process ends.

    Args:
        handle: Descriptor of the file.
        wait: Whether to wait for a process that holds the lock.

    Raises:
        BlockingIOError: Another process holds it, and ``wait`` is false.
        OSError: The file system has no locks.
    """
    if _fcntl is not None:
        _fcntl.flock(handle, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
    elif _msvcrt is not None:
        while not _is_locked_by_windows(handle):
            if not wait:
                raise BlockingIOError(errno.EACCES, "another process holds the lock")
            time.sleep(LOCK_SECONDS)


def _is_locked_by_windows(handle: int) -> bool:
    try:
        _msvcrt.locking(handle, _msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache, ``SEPARATION_CACHE`` or one in the home folder.

    Raises:
        FileNotFoundError: Neither exists.

    >>> cache_folder("records").name
    'records'
    """
    return Path(_cache_root(), *parts)


def user_path(path: str | Path) -> Path:
    """Return a path with a leading ``~`` replaced by the home folder.

    Raises:
        FileNotFoundError: The home folder is unknown.

    >>> user_path("a/b").as_posix()
    'a/b'
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(
            f"{path}: the home folder that ~ stands for is unknown; write the whole "
            "path"
        ) from error


def _cache_root() -> Path:
    if root := os.environ.get("SEPARATION_CACHE"):
        return Path(root)
    if home := os.environ.get("XDG_CACHE_HOME"):
        return Path(home, "tf-separation-suite")
    try:
        return Path.home() / ".cache" / "tf-separation-suite"
    except RuntimeError as error:
        raise FileNotFoundError(
            "there is no home folder to keep records and downloads in; set "
            "SEPARATION_CACHE to a folder that you may write to"
        ) from error


def _is_in_cache(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return path.absolute().is_relative_to(_cache_root().absolute())
    return False


def digest(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits.

    >>> import os
    >>> digest(Path(os.devnull))[:8]
    'e3b0c442'
    """
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(DIGEST_BYTES):
            content.update(block)
    return content.hexdigest()


def _create_file(path: Path) -> tuple[Path, int | None]:
    """Create and lock a draft, again if another process removed it in between.

    Windows does not rename an open file, so there are no locks and no removal there.
    """
    while True:
        draft = path.with_name(f"{PREFIX}{secrets.token_hex(8)}{path.suffix}")
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if _fcntl is not None and _is_locked(handle, draft):
            return draft, handle
        os.close(handle)
        if _fcntl is None:
            return draft, None


def _create_folder(parent: Path) -> tuple[Path, int | None]:
    while True:
        draft = parent / f"{PREFIX}{secrets.token_hex(8)}"
        draft.mkdir()
        if _fcntl is None:
            return draft, None
        with suppress(FileNotFoundError):
            handle = os.open(draft, os.O_RDONLY)
            if _is_locked(handle, draft):
                return draft, handle
            os.close(handle)


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _is_locked(handle: int, path: Path) -> bool:
    """Lock a file if the file system can; return whether it still has its name."""
    with suppress(OSError):
        lock(handle)
    return _has_name(handle, path)


def _has_name(handle: int, path: Path) -> bool:
    """Return whether an open file is that of a path."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(handle).st_ino
    return False


def _remove_unlocked(draft: Path) -> None:
    """Remove a draft, or raise an error if its writer holds it."""
    handle = os.open(draft, os.O_RDONLY)
    try:
        lock(handle, wait=False)
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink()
    finally:
        os.close(handle)


def _exchange(draft: Path, path: Path) -> None:
    """Move a finished folder to its name, and remove the old one."""
    old = _old(path)
    if path.is_dir() and any(path.iterdir()):
        shutil.rmtree(old, ignore_errors=True)
        path.replace(old)
    elif path.is_dir():
        path.rmdir()
    draft.replace(path)
    if old.exists():
        # A kill from here on leaves a draft, which the next process removes.
        stale = path.with_name(f"{PREFIX}{secrets.token_hex(8)}")
        old.replace(stale)
        shutil.rmtree(stale, ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(f"{OLD_PREFIX}{path.name}")


def sync(path: Path) -> None:
    """Flush a file, or the list of names of a folder, to disk.

    >>> sync(Path())
    """
    is_windows = os.name == "nt"
    if is_windows and path.is_dir():
        return  # Windows has no handles of folders.
    handle = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hold(path: Path) -> TextIO:
    """Lock a file that still has its name once it is locked."""
    while True:
        file = path.open("w")
        if _is_locked(file.fileno(), path):
            return file
        file.close()  # the process before has removed it
