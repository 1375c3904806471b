"""Batches of which several make one step."""

from dataclasses import replace

import numpy as np
import pytest

from common import training
from common.training.logs import read_scalars
from common.training.run_folder import RunFolderError


def run(toys, name, **changes):
    """Train a run of two epochs; gives its weight and the positions of its steps."""
    config = toys.config(name, epochs=2, strategy="auto", **changes)
    model = training.train(config, toys.build)
    return toys.weights(model.network)[0], [
        line.get("position") for line in read_scalars(config.output)
    ]


def test_two_batches_of_4_equal_one_of_8_on_any_number_of_replicas(toys, capsys):
    weight, positions = run(toys, "whole", batch_size=8)
    accumulated = run(toys, "accumulated", batch_size=4, accumulate=2)
    replicas = run(toys, "replicas", batch_size=2, accumulate=2, replicas=2)
    for other in (accumulated, replicas):
        np.testing.assert_allclose(other[0], weight, atol=1e-6)
        assert other[1] == positions
    sentences = [
        line for line in capsys.readouterr().out.splitlines() if "batch" in line
    ]
    assert [line.partition("global ")[2] for line in sentences] == [
        "batch 8",
        "batch 8, 2 times 4 for each replica",
        "batch 8, 2 times 2 for each replica",
    ]


def test_the_global_batch_is_divided_among_replicas_and_their_batches(toys):
    config = toys.config(batch_size=2, accumulate=2)
    toys.kill(config, 3)
    schedule = replace(config.train, strategy="mirrored", replicas=2)
    model = training.train(replace(config, train=schedule), toys.build)
    straight = training.train(toys.config("undisturbed", batch_size=4), toys.build)
    one, other = (toys.weights(each.network)[0] for each in (model, straight))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_global_batch_that_cannot_be_divided_raises(toys):
    config = toys.config(batch_size=3, accumulate=2)
    toys.kill(config, 3)
    schedule = replace(config.train, strategy="mirrored", replicas=2)
    sentence = "batch of 6, which 2 replicas cannot .* to a number that divides it by 2"
    with pytest.raises(RunFolderError, match=sentence):
        training.train(replace(config, train=schedule), toys.build)
