"""Bad input and broken machines are one line and an exit code."""

import errno
import functools
from pathlib import Path

import pytest
import tensorflow as tf

from common import errors


def fail(error):
    def action():
        raise error

    return action


def test_bad_input_is_one_line(capsys):
    assert errors.exit_code("demo", fail(ValueError("x=1: expected 2"))) == 1
    assert capsys.readouterr().err == "demo: x=1: expected 2\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "Is a directory; name a file"),
        ("none", "No such file or directory; check the path"),
        (
            "file/x",
            "Not a directory; name a folder: this path, or a part of it, is a file",
        ),
    ],
)
def test_a_path_that_cannot_be_opened_is_one_line(tmp_path, capsys, path, text):
    (tmp_path / "file").touch()
    assert errors.exit_code("demo", lambda: len((tmp_path / path).read_bytes())) == 1
    assert capsys.readouterr().err == f"demo: {tmp_path / path}: {text}\n"


def test_an_error_without_a_path_tells_how_to_find_it(capsys):
    error = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert errors.exit_code("demo", fail(error)) == 1
    assert capsys.readouterr().err == (
        "demo: No such file or directory; set SEPARATION_TRACEBACK=1 to see where "
        "this arose\n"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux")
def test_a_folder_that_cannot_be_made_is_one_line(capsys):
    def make():
        Path("/proc/runs/tables").mkdir(parents=True)
        return 0

    assert errors.exit_code("run_table.sh", make) == 1
    assert capsys.readouterr().err == (
        "run_table.sh: /proc/runs: No such file or directory; check the path\n"
    )


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(KeyError):
        errors.exit_code("demo", fail(KeyError("x")))


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError("Unable to allocate 5 GiB"), "not enough memory"),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "{{node x}} OOM when allocating tensor with shape[3,9] and"
            ),
            "not enough memory for a tensor of shape [3,9]",
        ),
    ],
)
def test_too_little_memory_is_one_line(capsys, error, what):
    assert errors.exit_code("demo", fail(error)) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"demo: {what}; use a shorter segment, a smaller batch")
    assert line.count("\n") == 1


def test_a_full_disk_of_tensorflow_is_not_taken_for_too_little_memory():
    error = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    with pytest.raises(tf.errors.ResourceExhaustedError):
        errors.exit_code("demo", fail(error))


def test_an_interrupt_is_one_line_with_the_code_of_a_shell(capsys):
    assert errors.exit_code("demo", fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "demo: interrupted\n"


def test_errors_keep_their_traceback_on_request(monkeypatch):
    monkeypatch.setenv("SEPARATION_TRACEBACK", "1")
    with pytest.raises(ValueError, match="expected 2"):
        errors.exit_code("demo", fail(ValueError("x=1: expected 2")))


def test_a_full_temporary_folder_is_one_line(capsys, monkeypatch):
    full = functools.partial(Path("/dev/full").open, "wb")
    monkeypatch.setattr(errors.tempfile, "TemporaryFile", full)
    assert errors.exit_code("demo", lambda: 0) == 1
    line = capsys.readouterr().err
    assert "the temporary folder cannot take" in line
    assert "set TMPDIR to another folder" in line
    assert line.count("\n") == 1
