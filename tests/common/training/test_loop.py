"""Runs that are broken off end as if they had not been."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import training
from common.config import from_dict, to_dict
from common.training import distribution
from common.training.logs import read_scalars
from common.training.resume import TrainingError
from common.training.run_folder import RunFolderError


@pytest.mark.parametrize("step", [2, 5, 7, 9])
def test_a_run_that_was_killed_ends_with_the_same_bits(toys, step):
    whole, broken = toys.config("whole"), toys.config("broken")
    straight = training.train(whole, toys.build)
    toys.kill(broken, step)
    resumed = training.train(broken, toys.build)
    for a, b in zip(toys.weights(straight), toys.weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert read_scalars(broken.output) == read_scalars(whole.output)


def test_steps_that_were_not_saved_are_taken_again(toys):
    config = toys.config(checkpoint_steps=3)
    toys.kill(config, 3)
    training.train(config, toys.build)
    lines = [x for x in read_scalars(config.output) if "epoch" in x]
    positions = [x["position"] for x in lines if x["split"] == "train"]
    assert positions[0] == pytest.approx(np.mean(np.arange(16)))


def test_the_next_position_is_that_of_the_next_step(toys):
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


def test_epochs_and_steps_are_counted_over_the_whole_run(toys, capsys):
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


def test_workers_that_do_not_share_the_run_folder_are_refused(toys, monkeypatch):
    config, starts = toys.config(), []

    def build(each, strategy):
        return replace(toys.build(each, strategy), start=lambda: starts.append(1))

    monkeypatch.setattr(distribution, "of_workers", lambda strategy, step: [6, step])
    with pytest.raises(TrainingError, match=r"different steps \(0, 6\), so"):
        training.train(config, build)
    assert not starts


def test_data_that_an_earlier_release_knew_otherwise_are_the_same(toys):
    config = toys.config(epochs=1)
    toys.kill(config, 3)

    def build(each, strategy):
        job = toys.build(each, strategy)
        return replace(job, digest="content", earlier_digest="toy")

    training.train(config, build)
    values = json.loads(Path(config.output, "run.json").read_text())
    assert values["data_digest"] == "content"


def test_a_finished_run_stays_as_it_is(toys):
    config = toys.config(epochs=1)
    done = training.train(config, toys.build)
    again = training.train(config, toys.build)
    np.testing.assert_array_equal(toys.weights(done)[0], toys.weights(again)[0])


def test_a_new_run_alone_takes_the_weights_of_another(toys):
    config, starts = toys.config(epochs=1), []

    def build(each, strategy):
        job = toys.build(each, strategy)
        return replace(job, start=lambda: starts.append(each.output))

    toys.kill(config, 3, build)
    training.train(config, build)
    assert starts == [config.output]


def test_the_global_batch_is_divided_anew(toys, capsys):
    whole = toys.config("whole", epochs=2)
    straight = training.train(whole, toys.build)
    broken = toys.config("broken", epochs=2)
    toys.kill(broken, 3)
    schedule = replace(broken.train, strategy="mirrored", replicas=2)
    capsys.readouterr()
    resumed = training.train(replace(broken, train=schedule), toys.build)
    assert "global batch 4, 2 for each replica" in capsys.readouterr().out
    ours, theirs = (toys.weights(m.network)[0] for m in (straight, resumed))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    ours, theirs = (read_scalars(each.output) for each in (whole, broken))
    assert [x.get("position") for x in ours] == [x.get("position") for x in theirs]


@pytest.mark.parametrize(
    ("batch_size", "divisible", "sentence"),
    [
        (3, True, "has a global batch of 3, which 2 replicas cannot share equally"),
        (4, False, "started with another number of replicas than 2"),
    ],
)
def test_other_replicas_are_refused(toys, batch_size, divisible, sentence):
    config = toys.config(epochs=2, batch_size=batch_size)
    toys.kill(config, 3)

    def build(each, strategy):
        return replace(toys.build(each, strategy), divisible=divisible)

    schedule = replace(config.train, strategy="mirrored", replicas=2)
    with pytest.raises(RunFolderError, match=sentence):
        training.train(replace(config, train=schedule), build)


def test_a_lost_record_does_not_change_the_global_batch(toys):
    config = toys.config(epochs=2)
    toys.kill(config, 3)
    (toys.folder / "run" / "run.json").unlink()
    schedule = replace(config.train, strategy="mirrored", replicas=2)
    with pytest.raises(RunFolderError, match="global batch of 4, now 8"):
        training.train(replace(config, train=schedule), toys.build)


def test_the_configuration_survives_sacred(toys):
    config = toys.config()
    assert from_dict(type(config), to_dict(config)) == config
