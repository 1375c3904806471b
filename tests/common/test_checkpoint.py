"""Checkpoints are kept, found and skipped by what can be read."""

import numpy as np
import pytest
import tensorflow as tf

from common import training
from common.checkpoint import CheckpointError, Checkpoints, find
from common.logs import read_scalars


def damage(prefix):
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:50])


def steps(folder):
    return sorted(int(each.stem.rpartition("-")[2]) for each in folder.glob("*.index"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("step-*")}


@pytest.fixture
def saved(toys):
    """A run folder with checkpoints of the steps 1 to 3."""
    job = toys.build(toys.config(), tf.distribute.get_strategy())
    store = Checkpoints(toys.folder / "run", job.model, keep=3)
    for step in (1, 2, 3):
        job.model.network.set_weights([np.array([[float(step)]])])
        store.save(step, {"number": step})
    return toys.folder / "run", job.model


@pytest.mark.parametrize("change", ["damaged", "removed", "list"])
def test_the_newest_whole_checkpoint_is_restored(saved, change):
    folder, model = saved
    newest = folder / "latest" / "step-3"
    if change == "damaged":
        damage(newest)
    elif change == "removed":
        for part in newest.parent.glob("step-3.*"):
            part.unlink()
    else:
        (newest.parent / "checkpoint").unlink()
    step, state, skipped = Checkpoints(folder, model, 3).restore_latest()
    expected = 3 if change == "list" else 2
    assert (step, state) == (expected, {"number": expected})
    assert float(model.network.kernel[0, 0]) == expected
    assert len(skipped) == (change == "damaged")


def test_the_whole_checkpoint_outlives_the_damaged_one(saved):
    folder, model = saved
    damage(folder / "latest" / "step-3")
    store = Checkpoints(folder, model, keep=2)
    store.restore_latest()
    store.save(4, {})
    assert set(steps(folder / "latest")) >= {2, 4}


def test_nothing_is_touched_where_none_can_be_restored(toys):
    config = toys.config()
    toys.kill(config, 6)
    folder = toys.folder / "run"
    for index in folder.glob("*/step-*.index"):
        damage(index.with_suffix(""))
    before, lines = contents(folder), read_scalars(folder)
    with pytest.raises(CheckpointError, match="nothing was changed: copy the folder"):
        training.train(config, toys.build)
    assert contents(folder) == before
    assert read_scalars(folder) == lines


def test_best_goes_on_where_latest_is_damaged(toys, capsys):
    config = toys.config()
    toys.kill(config, 6)
    folder = toys.folder / "run"
    for index in folder.glob("latest/step-*.index"):
        damage(index.with_suffix(""))
    training.train(config, toys.build)
    assert "is damaged or incomplete" in capsys.readouterr().out
    assert max(steps(folder / "latest")) == 12


def test_keep_removes_the_oldest(saved):
    folder, model = saved
    Checkpoints(folder, model, keep=2).save(4, {})
    assert steps(folder / "latest") == [3, 4]


def test_best_is_used_before_latest(saved):
    folder, model = saved
    assert find(folder).name == "step-3"
    Checkpoints(folder, model).save_best(1, {})
    assert find(folder) == folder / "best" / "step-1"
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        find(folder / "nothing")
