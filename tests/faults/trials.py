"""Fails each call of an operation in turn, and starts the operation again.

    LD_PRELOAD=interposer.so python trials.py RESULTS EVERY MODULE [OPERATION...]

EVERY is 1 for all calls, 3 for every third one. MODULE is file_operations or
network_operations, of which all operations are tried that are not named. Each run is a
fork of this process, which has imported what it needs and run nothing of it.
"""

from __future__ import annotations

import ctypes
import importlib
import itertools
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from operation import OUT, Operation

COUNT, KILL, TORN, FULL, BROKEN = range(5)
FAULTS = {"kill": KILL, "torn write": TORN, "ENOSPC": FULL, "EIO": BROKEN}
ENDS = {0: "borne", 1: "refused"}
MOST_SECONDS = 60
ERRORS, STATES = "errors.txt", "states.pickle"
"""Files beside the folder of an operation."""

RAW = ("[Errno", ".partial-", ".replaced-", ".lock")
"""What a sentence names only where nobody has written it."""

SUMMARY = " files are done, "
"""In the last line of a batch, after a sentence for each file that has failed."""

MEMORY = Path("/dev/shm")
"""Where the runs write, if it is there, because every file is brought to disk."""

LIBRARY = ctypes.CDLL(None)

State = dict[str, Any]


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        code: Its exit code, or minus its signal.
        errors: What it printed.
        calls: Number of its calls.
        struck: The call that failed, empty where none did.
        log: A line for each call of a run without faults.
    """

    code: int
    errors: str
    calls: int
    struck: str
    log: str


def run(
    operation: Operation, folder: Path, fault: int = COUNT, number: int = 0
) -> Ended:
    """Run an operation in a fork, in which call ``number`` fails."""
    LIBRARY.faults_arm(os.fsencode(folder), fault, number)
    child = os.fork()
    if not child:
        _become(operation, folder)
    end = time.monotonic() + MOST_SECONDS
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGABRT)
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(ended[1])
    struck = LIBRARY.faults_name().decode().replace(str(folder), "")
    calls = LIBRARY.faults_calls()
    steps = LIBRARY.faults_log().decode()
    LIBRARY.faults_arm(b"", COUNT, 0)
    errors = (folder.parent / ERRORS).read_text("utf-8")
    return Ended(code, errors, calls, struck, steps)


def _become(operation: Operation, folder: Path) -> None:
    """Run an operation in this process and end it; write its result and files."""
    code = 99
    try:
        handle = os.open(folder.parent / ERRORS, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        # Of a run that may be killed another one will look at what it left.
        states = [state(operation, folder)] if LIBRARY.faults_kind() == COUNT else []
        code = operation.run(folder)
        if states:
            states.append(state(operation, folder))
            (folder.parent / STATES).write_bytes(pickle.dumps(states))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def in_fork(function: Callable[[], Any]) -> Any:
    """Call a function, in a fork if it may start threads of TensorFlow.

    This process has none, because its forks would lack them.
    """
    if "tensorflow" not in sys.modules:
        return function()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = 1
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(function(), pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("a fork has failed")
    return pickle.loads(content)


def state(operation: Operation, folder: Path) -> State:
    """Read all results of an operation but drafts, a damaged one as its error."""
    found: State = {}
    for path in sorted((folder / OUT).rglob("*")):
        name = str(path.relative_to(folder))
        is_draft = "/." in name or "_temp/" in name  # the second is TensorFlow's
        if path.is_file() and not is_draft:
            try:
                found[name] = operation.content(path)
            except Exception as error:
                found[name] = f"damaged: {error!r}"
    return found


def hidden(folder: Path) -> list[str]:
    """List hidden files but locks, which the next holder removes."""
    found = (path for path in (folder / OUT).rglob(".*") if path.suffix != ".lock")
    return [str(path.relative_to(folder)) for path in found]


def problems(
    operation: Operation, now: State, before: State, after: State, ended: Ended
) -> list[str]:
    """List what a fault did that it must not do."""
    found = [f"exit code {ended.code}"] if ended.code not in (0, 1, -9) else []
    if ended.code == 0 and now != after:
        found.append(f"success with other results: {differing(now, after)}")
    sentences = [line for line in ended.errors.splitlines() if SUMMARY not in line]
    if ended.code == 1 and len(sentences) != 1:
        found.append(f"not one sentence: {ended.errors[-2000:]!r}")
    if ended.code == 1 and any(word in ended.errors for word in RAW):
        found.append(f"not a sentence for a reader: {ended.errors!r}")
    for name, content in now.items():
        is_whole = content in (before.get(name), after.get(name))
        if not is_whole and not operation.unfinished(Path(name).name):
            found.append(f"{name} is neither that of before nor the new one")
    return found


def unsynced(log: str) -> list[str]:
    """List files that take their names before their bytes are on disk."""
    written: set[str] = set()
    found, source = [], ""
    for line in log.splitlines():
        call, _, path = line.partition(" ")
        if call in ("write", "fwrite", "pwrite", "writev", "sendfile"):
            written.add(path)
        elif call == "fsync":
            written.discard(path)
        elif call == "from":
            source = path
        elif call.startswith("rename") and source in written:
            written.discard(source)
            is_draft = "/." in path[path.index(f"/{OUT}/") :]
            written.add(path) if is_draft else found.append(path)
    return found


def differing(one: State, other: State) -> list[str]:
    return sorted(n for n in {*one, *other} if one.get(n) != other.get(n))


def restarted(ended: Ended, now: State, after: State) -> list[str]:
    """List what a restart without faults left wrong."""
    found = []
    if ended.code:
        found.append(f"restart ended with {ended.code}: {ended.errors[-2000:]!r}")
    if now != after:
        found.append(f"restart gave other results: {differing(now, after)}")
    return found


def trial(operation: Operation, root: Path, every: int) -> dict[str, Any]:
    """Fail calls of an operation by each fault; returns counts and problems."""
    template = root / "template"
    # Inputs have one path in all runs.
    folder = root / "run"
    folder.mkdir()
    in_fork(lambda: operation.prepare(folder))
    folder.replace(template)

    def fresh() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder, copy_function=shutil.copy2)
        return folder

    def looked() -> tuple[Ended, State, State]:
        """Run without faults; returns the result and the files left."""
        (folder.parent / STATES).unlink(missing_ok=True)
        ended = run(operation, folder)
        assert (folder.parent / STATES).exists(), ended.errors
        return ended, *pickle.loads((folder.parent / STATES).read_bytes())

    fresh()
    undisturbed, before, after = looked()
    assert undisturbed.code == 0, undisturbed.errors
    result: dict[str, Any] = {"calls": undisturbed.calls, "injected": 0}
    result |= {"killed": 0, "refused": 0, "borne": 0}
    began = time.monotonic()
    found = (
        []
        if not operation.synced
        else [
            f"{each} has its name before its bytes"
            for each in unsynced(undisturbed.log)
        ]
    )
    for fault, kind in FAULTS.items():
        # Another choice of calls for each fault.
        for number in itertools.count(1 + kind % every, every):
            ended = run(operation, fresh(), kind, number)
            if not ended.struck:
                break
            again, left, now = looked()
            wrong = problems(operation, left, before, after, ended)
            kept = {n: c for n, c in now.items() if not operation.leftover(n)}
            wrong += restarted(again, kept, after)
            if ended.code:
                # What a success leaves, the next process removes that writes there.
                wrong += [f"restart left {name}" for name in hidden(folder)]
            result["injected"] += 1
            result[ENDS.get(ended.code, "killed")] += 1
            found += [f"{fault} at call {number} ({ended.struck}): {w}" for w in wrong]
        sys.stdout.write(f"{fault}: {result}, {len(found)} problems\n")
        sys.stdout.flush()
    return {**result, "seconds": round(time.monotonic() - began), "problems": found}


def main(results: str, every: str, module: str, *names: str) -> int:
    """Try the operations of a module and write what came of it as JSON."""
    LIBRARY.faults_name.restype = LIBRARY.faults_log.restype = ctypes.c_char_p
    operations = importlib.import_module(module).OPERATIONS
    parent = MEMORY if MEMORY.is_dir() else None
    found = {}
    for name in names or operations:
        with tempfile.TemporaryDirectory(dir=parent) as root:
            found[name] = trial(operations[name], Path(root).resolve(), int(every))
        Path(results).write_text(json.dumps(found, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
