"""Child processes that receive the signals of this process and end with it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

FORWARDED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP.
)
GRACE_SECONDS = 20.0
"""Time that a process has to end after SIGTERM, before it is killed."""
POLL_SECONDS = 0.1
PARENT_DEATH_SIGNAL = 1
"""The option ``PR_SET_PDEATHSIG`` of ``prctl`` on Linux."""

Process = subprocess.Popen[Any]
Send = Callable[[Process, signal.Signals], None]


class Result(NamedTuple):
    """How processes ended.

    Attributes:
        code: 0 if all succeeded, else the exit code of the first that failed, as a
            shell gives it: 128 and the number of the signal that ended it.
        failed: Index of that process, or None.
    """

    code: int
    failed: int | None = None


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a program to its end.

    Signals to this process reach the program once each, whether a terminal or another
    process sends them. The program ends with this process, even after SIGKILL.

    Args:
        command: The program and its arguments.
        environment: Its environment; None keeps that of this process.

    Returns:
        Its exit code, see :class:`Result`.

    >>> run(["sh", "-c", "exit 3"])
    3
    """
    start = functools.partial(_start, command, environment)
    return run_together([start], _signal_group).code


def run_together(starts: Sequence[Callable[[], Process]], send: Send) -> Result:
    """Run programs at the same time and end all once one of them fails.

    Args:
        starts: Functions that start a program each.
        send: Sends a signal to a program.
    """
    processes: list[Process] = []
    with _received() as signals:
        try:
            for start in starts:  # if one fails to start, the others are ended
                processes.append(start())  # noqa: PERF401
            failed = _wait(processes, send, signals)
        except BaseException:
            for process in processes:
                process.kill()
            raise
    if failed is None:
        return Result(0)
    code = processes[failed].returncode
    return Result(code if code > 0 else 128 - code, failed)


def start_through_stdin(command: Sequence[str], output: IO[Any] | None) -> Process:
    """Start a program that reads its signals as lines of its standard input.

    For example ssh, which does not forward signals to the program on the other
    machine. That program calls :func:`listen`.

    Args:
        command: The program and its arguments.
        output: File for its output; None: the output of this process.
    """
    error = None if output is None else subprocess.STDOUT
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=error,
        start_new_session=True,
    )


def send_through_stdin(process: Process, number: signal.Signals) -> None:
    """Send a signal to a program of :func:`start_through_stdin`."""
    if process.stdin is not None:
        process.stdin.write(f"{number.name}\n".encode())
        process.stdin.flush()


def listen() -> None:
    """Take lines of standard input as signals to this process, its end as SIGTERM."""

    def read() -> None:
        for line in sys.stdin:
            os.kill(os.getpid(), signal.Signals[line.strip()])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=read, daemon=True).start()


def _start(command: Sequence[str], environment: Mapping[str, str] | None) -> Process:
    """Start a program in its own session, so that no signal reaches it twice."""
    control = getattr(ctypes.CDLL(None), "prctl", None)  # only on Linux
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,  # the lines of this one may be signals, see listen
        start_new_session=True,
        preexec_fn=control  # noqa: PLW1509
        and (lambda: control(PARENT_DEATH_SIGNAL, signal.SIGTERM)),
    )


def _wait(processes: Sequence[Process], send: Send, signals: list[int]) -> int | None:
    """Wait for all processes; return the index of the first that failed."""
    failed, deadline = None, 0.0
    while running := [child for child in processes if child.poll() is None]:
        while signals:
            _pass_on(running, send, signal.Signals(signals.pop(0)))
        if failed is None:
            failed = _first_failed(processes)
            if failed is not None:
                deadline = time.monotonic() + GRACE_SECONDS
                _pass_on(running, send, signal.SIGTERM)
        elif time.monotonic() > deadline:
            for process in running:
                process.kill()
        time.sleep(POLL_SECONDS)
    return _first_failed(processes) if failed is None else failed


def _pass_on(processes: Sequence[Process], send: Send, number: signal.Signals) -> None:
    """Send a signal to processes, or stop and continue together with them."""
    if number == signal.SIGTSTP:
        _send_all(processes, _signal_group, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        _send_all(processes, _signal_group, signal.SIGCONT)
    else:
        _send_all(processes, send, number)


def _send_all(processes: Sequence[Process], send: Send, number: signal.Signals) -> None:
    """Send a signal to those of the processes that have not ended."""
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError, BrokenPipeError):
                send(process, number)


def _first_failed(processes: Sequence[Process]) -> int | None:
    codes = [process.returncode for process in processes]
    return next((index for index, code in enumerate(codes) if code), None)


def _signal_group(process: Process, number: signal.Signals) -> None:
    os.killpg(process.pid, number)


@contextlib.contextmanager
def _received() -> Iterator[list[int]]:
    """Collect signals within a block; ignored signals remain ignored."""
    numbers: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: numbers.append(number))
        for number in (*FORWARDED, signal.SIGTSTP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
