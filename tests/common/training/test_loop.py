"""Interrupted runs end with the same bits as undisturbed ones."""

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common import files, training
from common.config import from_dict, to_dict
from common.training import distribution, loop
from common.training.logs import read_scalars
from common.training.resume import TrainingError
from common.training.run_folder import RunFolderError


def test_a_killed_run_ends_with_the_same_bits(toys):
    undisturbed = toys.config("undisturbed")
    straight = training.train(undisturbed, toys.build)
    for step in (2, 5, 7, 9):
        killed = toys.config(f"killed at {step}")
        toys.kill(killed, step)
        resumed = training.train(killed, toys.build)
        for a, b in zip(toys.weights(straight), toys.weights(resumed), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"killed at {step}")
        assert read_scalars(killed.output) == read_scalars(undisturbed.output), step


@pytest.mark.one_lane
def test_a_run_that_never_began_can_be_corrected(toys):
    def fails(each, strategy):
        raise ValueError("no examples")

    config = toys.config(epochs=1)
    with pytest.raises(ValueError, match="no examples"):
        training.train(replace(config, lr=0.5), fails)
    model = training.train(config, toys.build)
    assert int(model.optimizer.iterations.numpy()) == 4


@pytest.mark.one_lane
def test_steps_that_were_not_saved_are_repeated(toys):
    config = toys.config(checkpoint_steps=3)
    toys.kill(config, 3)
    training.train(config, toys.build)
    lines = [x for x in read_scalars(config.output) if "epoch" in x]
    positions = [x["position"] for x in lines if x["split"] == "train"]
    assert positions[0] == pytest.approx(np.mean(np.arange(16)))


@pytest.mark.one_lane
def test_a_resumed_run_reads_the_position_of_its_step(toys):
    config = toys.config(epochs=1)
    toys.kill(config, 3)
    positions = []

    def build(each, strategy):
        job = toys.build(each, strategy)

        def train(step):
            positions.append(step)
            return job.train(step)

        return replace(job, train=train)

    training.train(config, build)
    assert positions == [2]


@pytest.mark.one_lane
def test_progress_counts_the_epochs_and_steps_of_the_run(toys, capsys):
    config = toys.config()
    toys.kill(config, 7)
    capsys.readouterr()
    training.train(config, toys.build)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Epoch")] == [
        "Epoch 2/3",
        "Epoch 3/3",
    ]
    assert sum(line.startswith("4/4 - ") for line in lines) == 2
    assert any("step 6 of 12, global batch 4" in line for line in lines)


def test_workers_that_do_not_share_the_run_folder_raise(toys, monkeypatch):
    config, starts = toys.config(), []

    def build(each, strategy):
        return replace(toys.build(each, strategy), start=lambda: starts.append(1))

    monkeypatch.setattr(distribution, "of_workers", lambda strategy, step: [6, step])
    with pytest.raises(TrainingError, match=r"different steps \(0, 6\), so"):
        training.train(config, build)
    assert not starts


@pytest.mark.one_lane
def test_that_another_worker_has_ended_is_one_sentence(toys, monkeypatch):
    def fails(*_):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")

    monkeypatch.setattr(loop, "_fit", fails)
    with pytest.raises(tf.errors.UnavailableError):  # none has ended without workers
        training.train(toys.config("alone"), toys.build)
    monkeypatch.setattr(distribution, "has_workers", lambda strategy: True)
    monkeypatch.setattr(distribution, "of_workers", lambda strategy, step: [step] * 2)
    with pytest.raises(TrainingError, match="another worker of this run has ended"):
        training.train(toys.config("together"), toys.build)


@pytest.mark.one_lane
def test_the_data_digest_of_an_earlier_release_is_accepted(toys):
    config = toys.config(epochs=1)
    toys.kill(config, 3)

    def build(each, strategy):
        job = toys.build(each, strategy)
        return replace(job, digest="content", earlier_digest="toy")

    training.train(config, build)
    values = json.loads(Path(config.output, "run.json").read_text())
    assert values["data_digest"] == "content"


def test_a_finished_run_is_not_changed_and_continues_with_more_epochs(toys):
    config = toys.config(epochs=1)
    done = training.train(config, toys.build)
    again = training.train(config, toys.build)
    np.testing.assert_array_equal(toys.weights(done)[0], toys.weights(again)[0])
    more = training.train(toys.config(epochs=2), toys.build)
    assert int(more.optimizer.iterations.numpy()) == 8


@pytest.mark.one_lane
def test_only_a_new_run_takes_the_weights_of_another(toys):
    config, starts = toys.config(epochs=1), []

    def build(each, strategy):
        job = toys.build(each, strategy)
        return replace(job, start=lambda: starts.append(each.output))

    toys.kill(config, 3, build)
    training.train(config, build)
    assert starts == [config.output]


@pytest.mark.one_lane
def test_the_global_batch_is_divided_among_the_current_replicas(toys, capsys):
    undisturbed = toys.config("undisturbed", epochs=2)
    straight = training.train(undisturbed, toys.build)
    killed = toys.config("killed", epochs=2)
    toys.kill(killed, 3)
    schedule = replace(killed.train, strategy="mirrored", replicas=2)
    capsys.readouterr()
    resumed = training.train(replace(killed, train=schedule), toys.build)
    assert "global batch 4, 2 for each replica" in capsys.readouterr().out
    expected, actual = (toys.weights(m.network)[0] for m in (straight, resumed))
    np.testing.assert_allclose(expected, actual, atol=1e-6)
    expected, actual = (read_scalars(each.output) for each in (undisturbed, killed))
    assert [x.get("position") for x in expected] == [x.get("position") for x in actual]


@pytest.mark.parametrize(
    ("batch_size", "divisible", "sentence"),
    [
        (3, True, "has a global batch of 3, which 2 replicas cannot share equally"),
        (4, False, "started with another number of replicas than 2"),
    ],
)
def test_replicas_that_need_another_batch_raise(toys, batch_size, divisible, sentence):
    config = toys.config(epochs=2, batch_size=batch_size)
    toys.kill(config, 3)

    def build(each, strategy):
        return replace(toys.build(each, strategy), divisible=divisible)

    schedule = replace(config.train, strategy="mirrored", replicas=2)
    with pytest.raises(RunFolderError, match=sentence):
        training.train(replace(config, train=schedule), build)


def test_a_missing_run_json_does_not_change_the_global_batch(toys):
    config = toys.config(epochs=2)
    toys.kill(config, 3)
    (toys.folder / "run" / "run.json").unlink()
    schedule = replace(config.train, strategy="mirrored", replicas=2)
    with pytest.raises(RunFolderError, match="global batch of 4, now 8"):
        training.train(replace(config, train=schedule), toys.build)


def test_sacred_does_not_change_the_configuration(toys):
    config = toys.config()
    assert from_dict(type(config), to_dict(config)) == config


@pytest.mark.parametrize("damaged", [0, 1, None])
def test_the_damaged_records_are_named_else_the_first(monkeypatch, damaged):
    texts = [f"{name} is intact" for name in ("train", "valid")]
    if damaged is not None:
        texts[damaged] = "a shard is damaged"
    monkeypatch.setattr(loop, "explain", lambda error, index: texts[index])
    assert loop._damage(OSError(), [0, 1]) == texts[damaged or 0]


def test_data_without_records_and_digest_are_trained(toys):
    def build(config, strategy):
        return replace(toys.build(config, strategy), records=[], digest="")

    for epochs in (1, 2):
        config = toys.config(epochs=epochs)
        model = training.train(config, build)
    assert int(model.optimizer.iterations.numpy()) == 8


def test_data_without_a_length_need_steps_per_epoch(toys):
    def endless(each, strategy):
        return replace(
            toys.build(each, strategy), steps_per_epoch=loop.Job.steps_per_epoch
        )

    with pytest.raises(TrainingError, match=r"steps_per_epoch=0: expected at least 1"):
        training.train(toys.config(steps_per_epoch=0), endless)


@pytest.mark.parametrize(
    ("restored", "words"),
    [([1.0, -2.0], None), ([1.0, -2.1], "differs by 0.1"), ([1.0], "shorter")]
    + [([1.0, np.nan], "differs by nan")],
)
def test_a_check_compares_all_weights_of_both_processes(
    toys, monkeypatch, restored, words
):
    monkeypatch.setattr(
        loop, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1)
    )
    weights = [
        [np.full(3, value) for value in each] for each in ([1.0, -2.0], restored)
    ]
    monkeypatch.setattr(loop, "_three_steps", lambda *_: (weights[0], 0.5))
    monkeypatch.setattr(loop, "_check_again", lambda *_: weights[1])
    if words is None:
        assert loop.check(toys.config(), toys.build) == 0
    else:
        with pytest.raises(ValueError, match=words):
            loop.check(toys.config(), toys.build)


def test_the_next_check_removes_the_folder_of_a_killed_one(toys, monkeypatch, tmp_path):
    folders = []

    def look(config, _build):
        folders.append(Path(config.output).parent)
        return [np.zeros(1)], 0.5

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(
        loop, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1)
    )
    monkeypatch.setattr(loop, "_three_steps", look)
    monkeypatch.setattr(loop, "_check_again", lambda *_: [np.zeros(1)])
    assert loop.check(toys.config(), toys.build) == 0
    folders[0].mkdir()  # no process holds it, as after a kill
    files._swept.clear()
    assert loop.check(toys.config(), toys.build) == 0
    assert len(folders) == 2
    assert not list(tmp_path.iterdir())


def test_a_check_that_fails_at_once_ends_its_second_process(toys, monkeypatch):
    def fails(*_):
        raise ValueError("no such weights")

    def late(*arguments):
        time.sleep(0.5)  # the folder of the dry run must not be made again after this
        return start(*arguments)

    parents = [os.getpid()] * 5 + [0] * 5  # 0 ends the second process anyway
    start = loop._start
    monkeypatch.setattr(loop, "_start", late)
    monkeypatch.setattr(loop, "_three_steps", fails)
    monkeypatch.setattr(loop.os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(
        loop, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1)
    )
    with pytest.raises(ValueError, match="no such weights"):
        loop.check(toys.config(), toys.build)
    assert len(parents) == 9
