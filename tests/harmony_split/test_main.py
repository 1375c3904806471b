"""The command line: what it refuses before it serves."""

from __future__ import annotations

import shutil
import socket

import pytest

from harmony_split import __main__ as command


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org"])
def test_other_machines_need_a_token(web, host, capsys):
    assert command.main(["--host", host]) == 1
    message = capsys.readouterr().err
    assert "add --token SECRET" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_none(host):
    assert command._is_loopback(host)


def test_a_port_that_is_taken(web, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert command.main([f"--port={port}"]) == 1
    assert "choose another --port" in capsys.readouterr().err


def test_a_folder_that_another_server_has(web, tmp_path, capsys):
    from harmony_split.jobs import Jobs

    jobs = Jobs(tmp_path, 3600)
    assert command.main(["--port=0", f"--folder={tmp_path}"]) == 1
    assert "another server uses the folder" in capsys.readouterr().err
    jobs.close()


def test_foreign_files_in_the_folder_stay(web, tmp_path):
    from harmony_split.jobs import Jobs, new_id

    foreign, stale = tmp_path / "jobs" / "thesis", tmp_path / "jobs" / new_id()
    for folder in (foreign, stale):
        folder.mkdir(parents=True)
        (folder / "data.txt").write_text("mine")
    tmp_path.chmod(0o755)
    Jobs(tmp_path, 3600).close()
    assert (foreign / "data.txt").read_text() == "mine"
    assert not stale.exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_no_ffprobe_and_no_workers(web, monkeypatch, capsys):
    assert command.main(["--workers=0"]) == 1
    assert "--workers is 0" in capsys.readouterr().err
    assert command.main(["--queue=0"]) == 1
    assert "queue is 0" in capsys.readouterr().err
    assert command.main(["--port=99999"]) == 1
    assert "--port is 99999; expected 0 to 65535" in capsys.readouterr().err
    assert command.main(["--token=ключ"]) == 1
    assert "--token has other characters" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert command.main([]) == 1
    assert "apt install ffmpeg" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda _: None)
    assert command.main([]) == 1
    message = capsys.readouterr().err
    assert "starlette and uvicorn not installed" in message
    assert "pip install 'tf-separation-suite[web]'" in message
