"""Two real processes train one model, as two machines would."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from common.config import flatten, to_dict
from common.training import cluster, distribution
from common.training.logs import read_scalars


def words(config, **changes):
    """Write a configuration as a command line."""
    values = {**flatten(to_dict(config)), **changes}
    return ["with", "tiny", *(f"{key}={value}" for key, value in values.items())]


def start(config, index, ports, folder, **changes):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
    command = [sys.executable, "-m", "mixit.train"]
    command += words(config, output=str(folder), **changes)
    return subprocess.Popen(command, env=environment)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def network(folder):
    """Weights of the latest checkpoint by name."""
    reader = tf.train.load_checkpoint(str(folder / "latest"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("network/")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(config, tmp_path):
    one = tmp_path / "one"
    command = [sys.executable, "-m", "mixit.train"]
    command += words(config, output=str(one), batch_size=8)
    subprocess.run(command, check=True, timeout=300)
    two = tmp_path / "two"
    ports = free_ports(2)
    workers = [start(config, index, ports, two) for index in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    alone, together = network(one), network(two)
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        np.testing.assert_allclose(together[name], value, atol=1e-4, err_msg=name)
    assert len(list((two / "sacred").glob("[0-9]*"))) == 1
    lines = [read_scalars(folder) for folder in (one, two)]
    for a, b in zip(*lines, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-3)


@pytest.mark.slow
def test_killed_workers_continue(config, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        ports = free_ports(2)
        workers = [start(config, i, ports, folder, epochs=4) for i in range(2)]
        if folder == broken:
            while not list(broken.glob("latest/step-*.index")):
                assert workers[0].poll() is None
                time.sleep(0.05)
            for worker in workers:
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait()
            ports = free_ports(2)
            workers = [start(config, i, ports, folder, epochs=4) for i in range(2)]
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    one, other = network(straight), network(broken)
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_chief_by_environment(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.is_chief()
    task = {
        "cluster": {"worker": ["a:1", "b:1"]},
        "task": {"type": "worker", "index": 1},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    assert not cluster.is_chief()
    task["task"]["index"] = 0
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    assert cluster.is_chief()
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(ValueError, match=r"TF_CONFIG='\{' is not understood"):
        cluster.is_chief()


def test_devices_that_are_not_there():
    assert len(tf.config.list_logical_devices("CPU")) == 2
    with pytest.raises(ValueError, match="replicas=9 asked for, but 2 CPU devices"):
        distribution.choose("mirrored", 9)
    with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG"):
        distribution.choose("multiworker")
