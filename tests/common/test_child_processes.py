"""Signals, exit codes and the end of child processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from common import child_processes

PARENT = """
import sys
from common import child_processes
sys.exit(child_processes.run(["bash", "-c", sys.argv[1], "bash", sys.argv[2]]))
"""
CHILD = """
trap 'echo INT >>"$1"; exit 130' INT
trap 'echo TERM >>"$1"; exit 7' TERM
echo "ready $$" >>"$1"
while :; do sleep 0.05; done
"""


@pytest.fixture
def start(tmp_path):
    """Start a process whose child writes to a file what it receives."""
    file = tmp_path / "seen"

    def start(child=CHILD):
        # A test run in the background ignores SIGINT, and so would its children.
        command = ["env", "--default-signal=INT", sys.executable, "-c", PARENT]
        command += [child, str(file)]
        parent = subprocess.Popen(command, start_new_session=True)
        return parent, lines(file, 1)[0].split()[-1], file

    return start


def lines(file, count):
    """Wait for so many lines of a file."""
    deadline = time.monotonic() + 20
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return file.read_text().splitlines()


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [(signal.SIGINT, "INT", 130), (signal.SIGTERM, "TERM", 7)],
)
@pytest.mark.parametrize("to_group", [False, True])
def test_a_signal_reaches_the_child_once(start, number, name, code, to_group):
    """A terminal signals the group, another program only the parent."""
    parent, _, file = start()
    (os.killpg if to_group else os.kill)(parent.pid, number)
    assert parent.wait(timeout=60) == code
    assert file.read_text().splitlines()[1:] == [name]


def test_the_child_ends_with_its_parent(start):
    parent, _, file = start()
    parent.kill()
    parent.wait()
    assert lines(file, 2)[1] == "TERM"


def test_a_child_that_a_signal_ends_has_the_code_of_a_shell(start):
    parent, child, _ = start()
    os.kill(int(child), signal.SIGKILL)
    assert parent.wait(timeout=60) == 137


def state(pid):
    status = open(f"/proc/{pid}/stat").read()  # noqa: PTH123, SIM115
    return status.rpartition(")")[2].split()[0]


def test_a_job_stops_and_continues_as_a_whole(start):
    parent, child, _ = start()
    os.kill(parent.pid, signal.SIGTSTP)
    wait_until(lambda: state(parent.pid) == state(child) == "T")
    os.kill(parent.pid, signal.SIGCONT)
    wait_until(lambda: "T" not in (state(parent.pid), state(child)))
    parent.terminate()
    assert parent.wait(timeout=60) == 7


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_ignored_signal_stays_ignored(tmp_path):
    file = tmp_path / "seen"
    child = 'echo "ready $$" >>"$1"; sleep 0.5; exit 5'
    command = ["env", "--ignore-signal=INT", sys.executable, "-c", PARENT]
    parent = subprocess.Popen([*command, child, str(file)])
    lines(file, 1)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=60) == 5


def test_handlers_are_those_of_before():
    before = signal.getsignal(signal.SIGTERM)
    assert child_processes.run(["true"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_environment_may_be_given():
    command = ["sh", "-c", "exit $CODE"]
    assert child_processes.run(command, {**os.environ, "CODE": "9"}) == 9


def test_a_program_that_is_not_there_ends_the_others():
    def missing():
        return subprocess.Popen(["/none"])

    def sleeping():
        started.append(subprocess.Popen(["sleep", "100"]))
        return started[-1]

    started = []
    with pytest.raises(FileNotFoundError):
        child_processes.run_together([sleeping, missing], lambda process, number: None)
    assert started[0].wait(timeout=60) == -9
