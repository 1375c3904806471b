"""What is saved when, and the state of callbacks is restored by name."""

import math
from types import SimpleNamespace

import pytest
import tensorflow as tf

from common import training
from common.training.logs import read_scalars
from common.training.plateau import EarlyStopping, Plateau
from common.training.resume import RequireFinite, Saver, TrainingError
from common.training.schedule import Schedule


def saver(state, **others):
    return Saver(None, Schedule(steps_per_epoch=4), others, 4, state)


STATE = {"best": 0.5, "bad_epochs": 3, "stopped": False}


@pytest.mark.parametrize("name", ["early_stopping", "7_EarlyStopping"])
def test_state_is_restored_to_the_callback_of_its_name(name):
    empty = {"0_Sounds": {"validation_data": None}}
    stopping = EarlyStopping(10)
    saver(
        {"callbacks": {**empty, name: STATE}}, early_stopping=stopping
    ).on_train_begin()
    assert (stopping.best, stopping.bad_epochs) == (0.5, 3)


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ({}, "lacks early_stopping.bad_epochs"),
        ({"early_stopping": {**STATE, "age": 1}}, "has early_stopping.age"),
        ({"early_stopping": STATE, "clip": {"a": 1}}, "has clip.a"),
        ({"early_stopping": {"best": 0.5, "stopped": False}}, "lacks early_stopping"),
    ],
)
def test_unknown_and_missing_state_raises(states, sentence):
    with pytest.raises(TrainingError, match=sentence):
        saver({"callbacks": states}, early_stopping=EarlyStopping(10)).on_train_begin()


def test_a_callback_may_be_added_before_others():
    stopping, plateau = EarlyStopping(10), Plateau()
    first = {"plateau": vars(Plateau()), "early_stopping": STATE}
    first["plateau"] = {k: first["plateau"][k] for k in ("best", "bad_epochs")}
    first["plateau"]["cooldown_left"] = 2
    saver(
        {"callbacks": first}, early_stopping=stopping, plateau=plateau
    ).on_train_begin()
    assert (stopping.bad_epochs, plateau.cooldown_left) == (3, 2)


def test_metrics_of_an_unfinished_epoch_are_restored(toys):
    config = toys.config()
    toys.kill(config, 6)
    training.train(config, toys.build)
    ends = [x for x in read_scalars(config.output) if "epoch" in x]
    train = [x["position"] for x in ends if x["split"] == "train"]
    assert train == pytest.approx([7.5, 23.5, 39.5])


def test_checkpoints_are_saved_within_and_after_an_epoch():
    saved = []
    store = SimpleNamespace(
        save=lambda step, state: saved.append(("latest", step, state["best"])),
        save_best=lambda step, state: saved.append(("best", step, state["best"])),
        save_kept=lambda step, state: saved.append(("kept", step, state["best"])),
    )
    schedule = Schedule(steps_per_epoch=4, checkpoint_steps=3, keep_every_epochs=2)
    callback = Saver(store, schedule, {}, 0, {"global_batch": 8})
    train(callback, [0.5, 0.7, 0.5])
    assert saved == [
        ("latest", 3, math.inf),
        ("best", 4, 0.5),
        ("latest", 4, 0.5),
        ("latest", 6, 0.5),
        ("kept", 8, 0.5),
        ("latest", 8, 0.5),
        ("latest", 9, 0.5),
        ("latest", 12, 0.5),
    ]
    saved.clear()
    resumed = Saver(store, schedule, {}, 12, {"best": 0.5, "callbacks": {}})
    train(resumed, [0.6])
    assert saved == [("latest", 15, 0.5), ("latest", 16, 0.5)]


def train(callback, losses):
    """Let a callback see epochs of four steps with these validation losses."""
    for epoch, loss in enumerate(losses):
        for batch in range(4):
            callback.on_train_batch_end(batch)
        callback.on_epoch_end(epoch, {"val_loss": loss})


def test_the_loss_is_reported_before_other_values_that_are_not_finite(tmp_path):
    callback = RequireFinite(tmp_path)
    callback.set_model(
        SimpleNamespace(optimizer=SimpleNamespace(iterations=tf.constant(7)))
    )
    callback.on_train_batch_end(0, None)
    callback.on_train_batch_end(0, {"critic": 1.0, "loss": 2.0})
    with pytest.raises(TrainingError, match=r"^loss is nan at step 7; "):
        callback.on_train_batch_end(0, {"critic": math.inf, "loss": math.nan})
    with pytest.raises(TrainingError, match=r"^critic is inf at step 7; "):
        callback.on_train_batch_end(0, {"critic": math.inf, "loss": 1.0})
