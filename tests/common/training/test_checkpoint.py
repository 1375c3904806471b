"""Checkpoints are kept, chosen and restored; damaged ones are skipped."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import training
from common.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    find,
    restore_network,
    restore_training,
    run_of,
    save_network,
    scores_folder,
    variables,
)
from common.training.logs import read_scalars
from common.weights import tf1


def damage(prefix):
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:50])


def steps(folder):
    return sorted(int(each.stem.rpartition("-")[2]) for each in folder.glob("*.index"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("step-*")}


@pytest.fixture
def saved(toys):
    """Return a run folder with checkpoints of steps 1 to 3."""
    job = toys.build(toys.config(), tf.distribute.get_strategy())
    store = Checkpoints(toys.folder / "run", job.model, keep=3)
    for step in (1, 2, 3):
        job.model.network.set_weights([np.array([[float(step)]])])
        store.save(step, {"number": step})
    return toys.folder / "run", job.model


@pytest.mark.parametrize("name", ["a [b] c", "a*c", "what?", "a\\c"])
def test_wildcards_in_a_path_are_literal(toys, name):
    job = toys.build(toys.config(), tf.distribute.get_strategy())
    folder = toys.folder / name
    folder.mkdir()
    store = Checkpoints(folder, job.model, keep=2)
    for step in (1, 2, 3):
        job.model.network.set_weights([np.array([[float(step)]])])
        store.save(step, {})
    store.save_best(3, {})
    assert steps(folder / "latest") == [2, 3]
    job.model.network.set_weights([np.zeros([1, 1])])
    assert Checkpoints(folder, job.model, 2).restore_latest()[:2] == (3, {})
    assert float(job.model.network.kernel[0, 0]) == 3
    assert find(folder) == folder / "best" / "step-3"
    assert restore_training(folder, job.model) == folder / "best" / "step-3"
    moved = folder.rename(toys.folder / "plain")
    assert Checkpoints(moved, job.model, 2).restore_latest()[0] == 3


def test_other_networks_and_checkpoints_may_have_such_paths(toys):
    network = toys.build(toys.config(), tf.distribute.get_strategy()).model.network
    folder = toys.folder / "[1]"
    folder.mkdir()
    save_network(folder, network)
    kernel = "network/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    assert kernel in variables(find(folder))
    assert kernel in tf1.read(folder / "best")


@pytest.mark.parametrize("change", ["damaged", "removed", "list"])
def test_the_newest_intact_checkpoint_is_restored(saved, change):
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


@pytest.mark.parametrize("parts", ["data", "index"])
def test_a_run_whose_first_checkpoint_was_cut_off_begins_anew(toys, parts):
    config = toys.config()
    toys.kill(config, 2)
    latest = toys.folder / "run" / "latest"
    # TensorFlow writes its list last, and the index after the data.
    (latest / "checkpoint").unlink()
    index = latest / "step-1.index"
    if parts == "data":
        index.unlink()
    else:
        index.write_bytes(index.read_bytes()[:20])
    model = training.train(config, toys.build)
    assert int(model.optimizer.iterations.numpy()) == 12


def test_a_kill_between_best_and_latest_repeats_both(saved):
    folder, model = saved
    store = Checkpoints(folder, model, keep=3)
    store.save_best(4, {})
    assert Checkpoints(folder, model, keep=3).restore_latest().step == 3
    damage(folder / "latest" / "step-3")
    assert Checkpoints(folder, model, keep=3).restore_latest().step == 2


def test_a_checkpoint_that_no_list_names_counts_as_kept(saved):
    folder, model = saved
    latest = folder / "latest"
    before = (latest / "checkpoint").read_text()
    Checkpoints(folder, model, keep=4).save(4, {})
    (latest / "checkpoint").write_text(before)
    store = Checkpoints(folder, model, keep=2)
    assert store.restore_latest().step == 4
    store.save(5, {})
    assert steps(latest) == [4, 5]


def test_drafts_of_a_killed_save_are_removed(saved):
    folder, model = saved
    (folder / "latest" / "step-3_temp").mkdir()
    (folder / "latest" / "step-3_temp" / "part.tempstate1").write_bytes(b"half")
    (folder / "latest" / "checkpoint.tmp12").write_bytes(b"half")
    Checkpoints(folder, model, keep=3).save(4, {})
    names = {path.name for path in (folder / "latest").iterdir()}
    assert not [name for name in names if "temp" in name or "tmp" in name]


def test_damaged_checkpoints_do_not_count_as_kept(saved):
    folder, model = saved
    damage(folder / "latest" / "step-3")
    store = Checkpoints(folder, model, keep=2)
    store.restore_latest()
    store.save(4, {})
    assert set(steps(folder / "latest")) == {2, 3, 4}  # the damaged one stays


def test_the_folder_is_unchanged_if_none_can_be_restored(toys):
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


@pytest.mark.one_lane
def test_a_run_resumes_from_best_if_latest_is_damaged(toys, capsys):
    config = toys.config()
    toys.kill(config, 6)
    folder = toys.folder / "run"
    for index in folder.glob("latest/step-*.index"):
        damage(index.with_suffix(""))
    training.train(config, toys.build)
    assert "is damaged or incomplete" in capsys.readouterr().out
    assert max(steps(folder / "latest")) == 12


@pytest.mark.one_lane
def test_a_full_disk_stops_the_run_and_keeps_what_was_saved(toys, monkeypatch):
    config = toys.config(checkpoint_steps=2)
    toys.kill(config, 5)

    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left")

    with monkeypatch.context() as patch:
        patch.setattr(tf.train.CheckpointManager, "save", full)
        with pytest.raises(OSError, match=r"cannot be written to .* free space"):
            training.train(config, toys.build)
    assert max(steps(toys.folder / "run" / "latest")) == 4
    model = training.train(config, toys.build)
    assert int(model.optimizer.iterations.numpy()) == 12


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


@pytest.mark.parametrize("index", [None, b"", b"torn"])
def test_the_latest_is_used_if_the_first_best_is_incomplete(saved, index):
    folder, model = saved
    Checkpoints(folder, model).save_best(1, {})
    best = folder / "best"
    (best / "checkpoint").unlink()
    assert find(folder) == best / "step-1"
    (best / "step-1.index").unlink()
    if index is not None:
        (best / "step-1.index").write_bytes(index)
    assert find(folder) == folder / "latest" / "step-3"


@pytest.fixture
def chosen(saved):
    """Return the same folder with a best checkpoint of step 4 and a kept one of 5."""
    folder, model = saved
    store = Checkpoints(folder, model, keep=3)
    for step, save in ((4, store.save_best), (5, store.save_kept)):
        model.network.set_weights([np.array([[float(step)]])])
        save(step, {})
    (folder / "config.json").write_text("{}")
    return folder, model.network


@pytest.mark.parametrize(
    ("choice", "step"),
    [
        (None, 4),
        ("best", 4),
        ("latest", 3),
        ("step-2", 2),
        ("step-4", 4),
        ("step-5", 5),
    ],
)
def test_any_checkpoint_of_a_run_can_be_chosen(chosen, choice, step):
    folder, network = chosen
    restore_network(folder, network, choice)
    assert float(network.kernel[0, 0]) == step


def test_a_prefix_of_a_checkpoint_belongs_to_its_run(chosen):
    folder, network = chosen
    restore_network(folder / "kept" / "step-5", network)
    assert float(network.kernel[0, 0]) == 5
    assert run_of(folder / "kept" / "step-5") == run_of(folder) == folder
    assert run_of(folder / "latest") is None
    with pytest.raises(CheckpointError, match="is one checkpoint, so latest cannot"):
        find(folder / "kept" / "step-5", "latest")


@pytest.mark.parametrize("choice", ["step-7", "kept", "newest"])
def test_a_missing_choice_raises_with_the_existing_ones(chosen, choice):
    folder, _ = chosen
    with pytest.raises(CheckpointError) as error:
        find(folder, choice)
    if choice == "step-7":
        for words in ("latest (step-1, step-2, step-3)", "best (step-4)", "step-5"):
            assert words in str(error.value)
    else:
        assert "expected latest, best or step-N" in str(error.value)


def test_every_choice_has_its_own_folder_of_scores(chosen):
    folder, _ = chosen
    names = [scores_folder(folder, each) for each in (None, "latest", "step-2")]
    names.append(scores_folder(folder / "best" / "step-4", None, "evaluation-train"))
    assert names == [
        "evaluation",
        "evaluation-latest",
        "evaluation-step-2",
        "evaluation-train-step-4",
    ]


@pytest.mark.one_lane
def test_weights_that_cannot_be_written_are_one_sentence_with_the_reason(toys):
    (toys.folder / "file").touch()
    network = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    with pytest.raises(OSError, match=r"cannot be written \(.*(?i:not) a directory\)"):
        save_network(toys.folder / "file" / "run", network)
