"""Turn the expected errors of a command into one line and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable

TEMPORARY_BYTES = 1 << 20
"""Bytes that a command needs in the temporary folder: TensorFlow writes code there."""

SPACE = "free some space there, or choose a folder on another disk"
DENIED = "change its permissions, or choose another path"
CURES = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.ENAMETOOLONG: "rename the input, or choose a shorter name for the output",
    errno.EIO: "the disk or its connection fails, so choose a folder on another one",
    errno.EFBIG: "raise the file size limit (ulimit -f), or choose another disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "name a folder: this path, or a part of it, is a file",
    errno.EISDIR: "name a file",
    errno.EEXIST: "choose another path",
    errno.ELOOP: "its symbolic links lead to each other, so check them",
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: "choose a folder on another disk",
}
"""What to do about errors of the file system."""
OF_A_PATH = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP),
    *(errno.EACCES, errno.EPERM),
}
"""Errors whose cure needs the path, which the system does not always name."""

TENSOR = re.compile(r"tensor with shape(\[[\d,]*\])")
NO_MEMORY = re.compile("OOM|allocate|allocating|out of memory", re.I)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, NumPy or TensorFlow could not get the memory it needs.

    TensorFlow's error is known by its name, as commands without TensorFlow come here.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError())
    (True, False)
    """
    if isinstance(error, MemoryError):
        return True
    # A full disk and too many open files raise it as well.
    exhausted = type(error).__name__ == "ResourceExhaustedError"
    return exhausted and NO_MEMORY.search(str(error)) is not None


def is_expected(error: BaseException) -> bool:
    """Return whether an error is that of the input or the machine, and no bug.

    >>> is_expected(OSError()), is_expected(MemoryError()), is_expected(KeyError())
    (True, True, False)
    """
    return isinstance(error, ValueError | OSError) or is_out_of_memory(error)


def sentence(error: BaseException) -> str:
    """Return the text of an error, with the cure if memory or a file has failed.

    >>> sentence(OSError(errno.ENOSPC, "No space left on device", "a.wav"))
    'a.wav: No space left on device; free some space there, or choose a folder on \
another disk'
    >>> sentence(ValueError("a.wav is empty"))
    'a.wav is empty'
    >>> sentence(MemoryError())
    'not enough memory; use a shorter segment, a smaller batch or a smaller network'
    """
    if is_out_of_memory(error):
        tensor = TENSOR.search(str(error))
        what = f" for a tensor of shape {tensor[1]}" if tensor else ""
        return (
            f"not enough memory{what}; use a shorter segment, a smaller batch or a "
            "smaller network"
        )
    cure = CURES.get(error.errno or 0) if isinstance(error, OSError) else None
    if not isinstance(error, OSError) or cure is None:
        return str(error)
    name = error.filename2 or error.filename
    is_path = isinstance(name, str | bytes | os.PathLike)
    what = f"{os.fsdecode(name)}: " if is_path else ""
    if not is_path and error.errno in OF_A_PATH:
        cure = "set SEPARATION_TRACEBACK=1 to see where this arose"
    return f"{what}{error.strerror}; {cure}"


def exit_code(program: str, action: Callable[[], int]) -> int:
    """Run a command, and report bad input by one sentence on standard error.

    Every error about the user's input is a ``ValueError`` or an ``OSError`` whose text
    is written for the user. Too little memory is reported by one sentence too. Any
    other exception is a bug and keeps its traceback;
    ``SEPARATION_TRACEBACK=1`` shows the traceback of all errors.

    Args:
        program: Name at the start of the line.
        action: The command; returns its exit code.

    Returns:
        The exit code: that of the action, 1 after bad input, 130 when interrupted.

    >>> exit_code("demo", lambda: 0)
    0
    """
    try:
        _check_temporary_folder()
        return action()
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return 130
    except Exception as error:
        if not is_expected(error) or os.environ.get("SEPARATION_TRACEBACK"):
            raise
        sys.stderr.write(f"{program}: {sentence(error)}\n")
        return 1


def _check_temporary_folder() -> None:
    """Refuse a full temporary folder, with which TensorFlow prints pages of warnings.

    Raises:
        OSError: A small file cannot be written to it.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(TEMPORARY_BYTES))
            file.flush()
    except OSError as error:
        raise OSError(
            f"the temporary folder cannot take {TEMPORARY_BYTES} bytes ({error}); free "
            "some space, raise the file size limit (ulimit -f), or set TMPDIR to "
            "another folder"
        ) from error
