"""Two real processes train both phases, as two machines would."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.config import flatten, override, to_dict


def words(config, **changes):
    """Write a configuration as a command line."""
    values = {**flatten(to_dict(config)), **changes}
    return ["with", "tiny", *(f"{key}={value}" for key, value in values.items())]


def start(config, task=None):
    environment = dict(os.environ)
    if task is not None:
        environment["TF_CONFIG"] = json.dumps(task)
    command = [sys.executable, "-m", "adversarial.train", *words(config)]
    return subprocess.Popen(command, env=environment)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def weights(folder):
    """Weights of separator and critics in the latest checkpoint by name."""
    reader = tf.train.load_checkpoint(str(folder / "latest"))
    names = reader.get_variable_to_shape_map()
    kept = [n for n in names if n.startswith(("network/", "model/critics/"))]
    return {name: reader.get_tensor(name) for name in kept}


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_in_both_phases(config, tmp_path):
    rates = dict.fromkeys(
        ("init_sup_sep_lr", "init_unsup_sep_lr", "init_disc_lr"), 1e-4
    )
    values = {f"model_config.{key}": value for key, value in rates.items()}
    # The cache of excerpts turns over with the batch, which is not the global one.
    values |= {"model_config.excerpts_reused": False}
    config = override(config, values)
    one, two = (
        override(config, {"output": str(tmp_path / name), "model_config.batch_size": n})
        for name, n in (("one", 4), ("two", 2))
    )
    assert start(one).wait(timeout=600) == 0
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    tasks = [
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": n}}
        for n in range(2)
    ]
    processes = [start(two, task) for task in tasks]
    assert [each.wait(timeout=600) for each in processes] == [0, 0]
    for phase, count in (("sup", 12), ("semisup", 30)):
        alone, together = (weights(Path(c.output) / phase) for c in (one, two))
        assert alone.keys() == together.keys()
        assert len(alone) >= count
        for name, value in alone.items():
            np.testing.assert_allclose(together[name], value, atol=1e-4, err_msg=name)
