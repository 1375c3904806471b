"""Examples by position for any number of replicas; choice of strategies."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from common.training import distribution


def example(position):
    return {"position": position}


def positions(strategy, dataset, steps):
    """Return the positions of each step, over all replicas."""
    rows = []
    for batch, _ in zip(dataset, range(steps), strict=False):
        parts = strategy.experimental_local_results(batch["position"])
        rows.append(np.concatenate([part.numpy() for part in parts]).tolist())
    return rows


@pytest.fixture(params=["one", "mirrored"])
def strategy(request):
    return distribution.choose(request.param, 2 if request.param == "mirrored" else 0)


def test_training_reads_every_position_once_from_any_step(strategy):
    size = 4 // strategy.num_replicas_in_sync
    batches = distribution.training_batches(strategy, example, size, 3)
    assert positions(strategy, batches, 3) == [
        [12, 13, 14, 15],
        [16, 17, 18, 19],
        [20, 21, 22, 23],
    ]


def test_validation_reads_every_position_once_and_pads_with_weight_0(strategy):
    size = 4 // strategy.num_replicas_in_sync
    batches, steps = distribution.validation_batches(strategy, example, 6, size)
    assert steps == 2
    weighted = {}
    for batch in batches:
        for name in ("position", "weight"):
            parts = strategy.experimental_local_results(batch[name])
            weighted.setdefault(name, []).extend(np.concatenate(parts).tolist())
    assert weighted["position"] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert weighted["weight"] == [1.0] * 6 + [0.0] * 2


def test_the_order_does_not_depend_on_the_number_of_workers(strategy):
    batches = [
        distribution.training_batches(strategy, example, 4, 0, workers)
        for workers in (1, 3)
    ]
    first, second = (positions(strategy, each, 4) for each in batches)
    assert first == second


WORKER = """
from common.training import distribution
strategy = distribution.choose("multiworker")
print(distribution.of_workers(strategy, 10 + strategy.cluster_resolver.task_id))
"""


@pytest.mark.slow
def test_workers_exchange_their_numbers():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    cluster, workers = {"worker": hosts}, []
    for index in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
        command = [sys.executable, "-c", WORKER]
        workers.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        )
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [each.split(b"\n")[-2] for each in outputs] == [b"[10, 11]"] * 2


def test_one_process_has_one_number():
    assert distribution.of_workers(tf.distribute.get_strategy(), 3) == [3]


def test_more_replicas_than_devices_raise():
    # From here on the devices cannot be divided any more.
    assert len(tf.config.list_logical_devices("CPU")) == 2
    with pytest.raises(ValueError, match=r"replicas=9 asked for, but \d CPU devices"):
        distribution.choose("mirrored", 9)


def test_auto_is_one_device_without_gpus(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert distribution.choose("auto").num_replicas_in_sync == 1
    mirrored = distribution.choose("auto", 2)
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert mirrored.num_replicas_in_sync == 2


def test_multiworker_needs_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG"):
        distribution.choose("multiworker")
