"""Learning rates and early stops equal those of the original over many epochs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.training.optimizer import learning_rate, optimizer
from common.training.plateau import EarlyStopping, Plateau
from common.training.resume import Saver
from common.training.schedule import Schedule

GOLDEN = Path(__file__).parents[2] / "golden" / "unmix" / "schedules.json"
SCHEDULES = json.loads(GOLDEN.read_text(encoding="utf-8"))
LOSSES = SCHEDULES["losses"]


def model():
    """A minimal model with an optimizer."""
    network = keras.Sequential([keras.layers.Dense(1)])
    network.build([None, 1])
    network.compile(optimizer("adam", 1e-3, 0.0), loss="mse", run_eagerly=True)
    return network


@pytest.mark.parametrize("setting", [(0.3, 80, 10), (0.3, 5, 2), (0.5, 3, 0)])
def test_learning_rates_equal_the_original(setting):
    factor, patience, cooldown = setting
    plateau = Plateau(patience, factor, cooldown)
    plateau.set_model(model())
    rates = []
    for epoch, loss in enumerate(LOSSES):
        plateau.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(plateau.model.optimizer.learning_rate))
    expected = SCHEDULES[f"plateau_f{factor}_p{patience}_c{cooldown}"]
    np.testing.assert_allclose(rates, expected, rtol=2e-6)


@pytest.mark.parametrize("patience", [140, 5, 0])
def test_early_stops_equal_the_original(patience):
    expected = SCHEDULES[f"early_p{patience}"]
    stopping = EarlyStopping(patience)
    assert [stopping.step(loss) for loss in LOSSES] == expected["stop"]
    assert stopping.best == expected["best"]
    assert stopping.bad_epochs == expected["bad"]


def test_only_an_improvement_beyond_the_threshold_counts():
    plateau = Plateau(patience=0, cooldown=0)
    losses = (1.0, 0.9998, 0.99975)
    assert [plateau.step(loss) for loss in losses] == [False, False, True]
    assert plateau.best == 0.9998
    assert plateau.step(math.nan)
    stopping = EarlyStopping(patience=3)
    assert not stopping.step(1.0)
    assert stopping.step(math.nan)
    assert EarlyStopping().step(math.nan)


def losses_of_fit(network, losses, callbacks):
    """Run fit with the validation losses of the argument."""

    class Losses(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = losses[epoch]

    data = tf.data.Dataset.from_tensors((tf.zeros([1, 1]), tf.zeros([1, 1]))).repeat()
    return network.fit(
        data,
        steps_per_epoch=1,
        epochs=len(losses),
        callbacks=[Losses(), *callbacks],
        verbose=0,
    )


def test_callbacks_change_the_learning_rate_and_stop_fit():
    plateau, stopping = Plateau(2, 0.1, 1), EarlyStopping(4)
    network = model()
    history = losses_of_fit(
        network, [1.0, 0.9, *[0.95] * 10], [plateau, stopping]
    ).history
    assert len(history["loss"]) == 6
    assert stopping.stopped
    assert float(network.optimizer.learning_rate) == pytest.approx(1e-4)


def test_the_plateau_lowers_a_rate_that_has_a_warm_up():
    network = model()
    rate = learning_rate(Schedule(warmup_steps=4), 1e-3)
    network.compile(optimizer("adam", rate, 0.0), loss="mse", run_eagerly=True)
    plateau, rates = Plateau(1, 0.1, 0), []
    read = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: rates.append(float(network.optimizer.learning_rate))
    )
    losses_of_fit(network, [1.0] * 6, [read, plateau])
    expected = [2.5e-4, 5e-4, 7.5e-4, 1e-4, 1e-4, 1e-5]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


class Store:
    """Keeps the saved state in memory."""

    def save(self, step, state):
        self.state = json.loads(json.dumps(state))

    save_best = save_kept = save


def test_a_resumed_run_keeps_its_counts():
    schedule = Schedule(epochs=9, steps_per_epoch=1, checkpoint_steps=1)
    losses = [1.0, *[1.1] * 8]

    def made(state):
        callbacks = {"plateau": Plateau(3, 0.1, 1), "stopping": EarlyStopping(8)}
        store = Store()
        return callbacks, store, Saver(store, schedule, callbacks, 0, state)

    expected, _, saver = made({})
    undisturbed = model()
    losses_of_fit(undisturbed, losses, saver.all)
    network = model()
    _, store, saver = made({})
    losses_of_fit(network, losses[:4], saver.all)
    rest, _, saver = made(store.state)
    losses_of_fit(network, losses[4:], saver.all)
    for name, before in expected.items():
        after = rest[name]
        states = [
            {k: v for k, v in vars(each).items() if type(v) in (bool, int, float)}
            for each in (before, after)
        ]
        assert states[0] == states[1]
    assert rest["stopping"].stopped
    for each in (undisturbed, network):
        assert float(each.optimizer.learning_rate) == pytest.approx(1e-4)


@pytest.mark.parametrize("callback", [Plateau(), EarlyStopping()])
def test_a_missing_validation_loss_raises(callback):
    with pytest.raises(ValueError, match=r"val_loss is not among .*\(loss\)"):
        callback.on_epoch_end(0, {"loss": 1.0})
