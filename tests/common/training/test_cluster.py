"""Addresses of workers from Slurm, Kubernetes and lists of hosts."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from common import child_processes, job
from common.config import ConfigError
from common.training import cluster

SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[08-09],login",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2),2",
    "SLURM_JOB_ID": "1007",
}
POD = {
    "JOB_COMPLETION_INDEX": "1",
    "HOSTNAME": "train-1",
    "JOB_SERVICE": "net",
    "JOB_COMPLETIONS": "2",
}
# Runs the line in a shell of the machine, as ssh does on another one.
SSH = """#!/usr/bin/env bash
echo "$*" >>"$SSH_CALLS"
exec bash -c "${@: -1}"
"""


def test_a_task_of_slurm():
    worker = cluster.worker(SLURM)
    hosts = ["gpu08:20070", "gpu09:20070", "login:20070", "login:20071"]
    assert worker == (hosts, 2, "slurm-1007")
    assert json.loads(worker.tf_config()) == {
        "cluster": {"worker": hosts},
        "task": {"type": "worker", "index": 2},
    }


def test_variables_of_a_slurm_step_have_priority_over_its_job():
    whole = {
        "SLURM_NTASKS": "9",
        "SLURM_JOB_NODELIST": "n[1-9]",
        "SLURM_TASKS_PER_NODE": "1(x9)",
        "CLUSTER_PORT": "4000",
    }
    worker = cluster.worker({**SLURM, **whole})
    assert len(worker.addresses) == 4
    assert worker.addresses[0] == "gpu08:4000"
    older = {"SLURM_PROCID": "8", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "5", **whole}
    assert cluster.worker(older).addresses[8] == "n9:4000"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "n[1-4]"},  # a shell of salloc
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        {"SLURM_PROCID": "0"},
        {"JOB_COMPLETION_INDEX": "3", "HOSTNAME": "seeds-3"},
    ],
)
def test_one_process_is_no_worker(environment):
    assert cluster.worker(environment) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"SLURM_PROCID": "x"}, "SLURM_PROCID='x': expected a whole number"),
        ({"SLURM_PROCID": "4"}, "SLURM_PROCID=4: expected a number below that of the"),
        ({"SLURM_STEP_NODELIST": "n[1-"}, "'n[1-' is not understood"),
        ({"SLURM_STEP_NODELIST": "n[a-b]"}, "'n[a-b]' is not understood"),
        ({"SLURM_STEP_NODELIST": "n[1--2],a,b"}, "'1--2' in the list of hosts"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2"}, "does not give 4 tasks on 3 hosts"),
        ({"SLURM_STEP_TASKS_PER_NODE": "1,x,2"}, "does not give 4 tasks on 3 hosts"),
        ({"SLURM_STEP_TASKS_PER_NODE": ""}, "neither SLURM_STEP_TASKS_PER_NODE nor"),
        ({"CLUSTER_PORT": "80"}, "CLUSTER_PORT=80: expected a port, 1024 to 65000"),
    ],
)
def test_a_setting_that_slurm_lacks_is_reported_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        cluster.worker({**SLURM, **changes})


def test_a_batch_script_does_not_wait_for_the_tasks_that_it_is_not():
    batch = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "n[1-4]"}
    with pytest.raises(ConfigError, match="start it by 'srun'"):
        cluster.worker(batch)


def test_a_pod_of_an_indexed_job():
    assert cluster.worker(POD) == (
        ["train-0.net:12345", "train-1.net:12345"],
        1,
        "train",
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"JOB_SERVICE": ""},
            "JOB_SERVICE is not set; set JOB_SERVICE to the headless",
        ),
        ({"JOB_COMPLETIONS": ""}, "JOB_COMPLETIONS is not set"),
        ({"JOB_COMPLETIONS": "two"}, "JOB_COMPLETIONS='two': expected a whole number"),
        ({"JOB_COMPLETIONS": "1"}, "JOB_COMPLETION_INDEX=1: expected a number below"),
        ({"HOSTNAME": "mine"}, "HOSTNAME='mine': expected NAME-1"),
    ],
)
def test_a_setting_that_a_pod_lacks_is_reported_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        cluster.worker({**POD, **changes})


def test_hosts_are_read_from_a_file(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("# mine\n\nme@a  # fast\n 10.0.0.2\nb slots=2\n")
    assert cluster.read_hosts(file) == ["me@a", "10.0.0.2", "b"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read"),
        ("# none\n", "names no host"),
        ("a\n-oProxyCommand=x\n", "names '-oProxyCommand=x'; expected the name"),
        ("a:22\n", "names 'a:22'; expected the name"),
    ],
)
def test_unusable_files_of_hosts_are_reported_in_one_sentence(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "hosts").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        cluster.read_hosts(tmp_path / "hosts")


@pytest.mark.parametrize(
    ("machines", "task", "chief"),
    [
        ({"worker": ["a", "b"]}, ("worker", 0), True),
        ({"worker": ["a", "b"]}, ("worker", 1), False),
        ({"chief": ["a"], "worker": ["b"]}, ("chief", 0), True),
        ({"chief": ["a"], "worker": ["b"]}, ("worker", 0), False),
    ],
)
def test_one_process_is_the_chief(monkeypatch, machines, task, chief):
    entry = {"type": task[0], "index": task[1]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": machines, "task": entry}))
    assert cluster.is_chief() is chief


def test_a_process_without_tf_config_is_the_chief(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.is_chief()


@pytest.mark.parametrize("text", ["no json", "{}", '{"task": {"type": "worker"}}'])
def test_a_wrong_tf_config_raises(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"TF_CONFIG=.* is not understood"):
        cluster.is_chief()


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Replace ssh by a program; returns the file of its calls."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def run(command, tmp_path, hosts=("a", "me@b"), **variables):
    return cluster.run_on_hosts(hosts, command, variables, tmp_path / "logs")


def test_a_command_runs_on_every_host(ssh, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CLUSTER_PORT", "5000")
    program = 'printf "%s\\n" "$PWD" "$TF_CONFIG" "$NAME" "$1"'
    command = ["bash", "-c", program, "x", "it's"]
    assert run(command, tmp_path, NAME="a b") == 0
    outputs = [capfd.readouterr().out, (tmp_path / "logs/1-me@b.log").read_text()]
    for index, text in enumerate(outputs):
        where, task, name, word = text.splitlines()
        assert (where, name, word) == (str(folder), "a b", "it's")
        assert json.loads(task) == {
            "cluster": {"worker": ["a:5000", "b:5000"]},
            "task": {"type": "worker", "index": index},
        }
    calls = sorted(ssh.read_text().splitlines())
    assert [call.split(" cd ")[0] for call in calls] == [
        "-T -o BatchMode=yes a",
        "-T -o BatchMode=yes me@b",
    ]


def test_a_missing_ssh_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="--hosts needs ssh, which is not on PATH"):
        run(["true"], tmp_path)


FAILS = """
case "$TF_CONFIG" in *'"index": 1'*) echo the reason; exit 3 ;; esac
read -r signal; echo "$signal" >"$SEEN"; exit 1
"""


def test_one_host_that_fails_ends_the_others(ssh, tmp_path, capfd):
    command = ["bash", "-c", FAILS]
    assert run(command, tmp_path, SEEN=str(tmp_path / "seen")) == 3
    log = tmp_path / "logs" / "1-me@b.log"
    error = capfd.readouterr().err
    assert (
        error == f"me@b failed with exit code 3; its output is in {log}\n  the reason\n"
    )
    assert (tmp_path / "seen").read_text() == "SIGTERM\n"


def test_a_host_that_does_not_end_is_killed(ssh, tmp_path, monkeypatch):
    monkeypatch.setattr(child_processes, "GRACE_SECONDS", 0.2)
    fails = FAILS.replace("read -r signal; ", "exec sleep 100; ")
    assert run(["bash", "-c", fails], tmp_path) == 3


LAUNCHER = """
import sys
from pathlib import Path
from common.training import cluster
program = "import sys; from pathlib import Path; from common import child_processes;" \\
    "child_processes.listen();" \\
    "sys.exit(child_processes.run(['bash', '-c', sys.argv[1]]))"
command = [sys.executable, "-c", program, sys.argv[1]]
sys.exit(cluster.run_on_hosts(["a", "b"], command, {}, Path(sys.argv[2])))
"""
SLEEPS = """
trap 'echo INT >>"$SEEN"; exit 130' INT
trap 'echo TERM >>"$SEEN"; exit 143' TERM
echo ready >>"$SEEN"
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [
        (signal.SIGINT, "INT", 130),
        (signal.SIGTERM, "TERM", 143),
        (signal.SIGKILL, "TERM", -9),  # ssh sees the end of its input
    ],
)
def test_signals_reach_the_programs_of_the_hosts(ssh, tmp_path, number, name, code):
    seen = tmp_path / "seen"
    environment = {**os.environ, "SEEN": str(seen)}
    # A test run in the background ignores SIGINT, and so would its children.
    command = ["env", "--default-signal=INT", sys.executable, "-c", LAUNCHER]
    command += [SLEEPS, str(tmp_path / "logs")]
    launcher = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    wait_for(seen, ["ready"] * 2)
    launcher.send_signal(number)
    assert launcher.wait(timeout=60) == code
    wait_for(seen, ["ready"] * 2 + [name] * 2)


def wait_for(file, lines):
    deadline = time.monotonic() + 20
    while not file.exists() or sorted(file.read_text().split()) != sorted(lines):
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.02)


SCRIPT = """#!/usr/bin/env bash
exec "{python}" -m mixit.job "$@"
"""


@pytest.mark.slow
def test_two_hosts_train_one_run(ssh, tmp_path, monkeypatch):
    """The launcher, two workers on loopback, and the evaluation by the chief."""
    from dataclasses import replace

    from mixit import job as mixit_job

    script = tmp_path / "script.sh"
    script.write_text(SCRIPT.format(python=sys.executable))
    script.chmod(0o755)
    (tmp_path / "hosts").write_text("127.0.0.1\n127.0.0.1\n")
    monkeypatch.setenv("CLUSTER_PORT", str(free_port()))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(job, "REPOSITORY", tmp_path)
    run_folder = tmp_path / "run"
    words = ["tiny", "train.epochs=1", "train.steps_per_epoch=2", "batch_size=2"]
    words += ["validation_examples=4", "segment_seconds=0.5", "model.num_repeats=1"]
    words += ["model.conv_channels=8", "model.bottleneck=8", "model.num_dilations=2"]
    named = replace(mixit_job.SCRIPT, name="script.sh")
    arguments = [*words, f"output={run_folder}", "--hosts", str(tmp_path / "hosts")]
    assert job.main(named, arguments) == 0
    record = json.loads((run_folder / "run.json").read_text())
    assert record["starts"][0]["global_batch"] == 4
    assert (run_folder / "evaluation" / "summary.md").exists()
    log = (run_folder / "hosts" / "1-127.0.0.1.log").read_text()
    assert "trained 2 steps" in log
    assert "Weights and configuration" not in log


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return min(server.getsockname()[1], 64000)
