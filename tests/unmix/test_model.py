"""The network is the original's: outputs, losses, steps, statistics, names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.signal.stft import Stft, stft
from common.training.optimizer import optimizer
from unmix import convert, weights
from unmix.config import PRESETS, UMX, Network
from unmix.loss import spectrogram_loss
from unmix.model import OpenUnmix, folded, num_bins, num_input_bins
from unmix.openunmix import original_folder

GOLDEN = Path(__file__).parents[1] / "golden" / "unmix"
SMALL = Network(8000, 128, 32, 2, 16, 2, True, 3200.0, 0.0)
FOLDERS = pytest.mark.parametrize("folder", ["original_micro", "original_micro_mono"])


def magnitudes(waveform, padding="none"):
    return tf.abs(stft(waveform, Stft(128, 32, padding=padding)))


def part(golden, name):
    length = len(name) + 1
    return {k[length:]: golden[k] for k in golden.files if k.startswith(f"{name}/")}


def noise(*shape, seed=0):
    draw = np.random.default_rng(seed).standard_normal(shape)
    return tf.constant(np.abs(draw), tf.float32)


def trained(config=SMALL, seed=3):
    """A network whose every variable is far from where it starts."""
    model, random = OpenUnmix(config), np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype == tf.float32:
            draw = 0.3 * random.standard_normal(variable.shape)
            grows = "variance" in variable.name or "scale" in variable.name
            variable.assign(np.exp(draw) if grows else variable + draw)
    return model


@FOLDERS
def test_estimates_of_the_original(folder):
    golden = np.load(GOLDEN / folder / "reference.npz")
    model = weights.load(GOLDEN / folder)["vocals"]
    estimate = model(magnitudes(golden["audio"], "reflect"))
    shown = estimate.numpy().transpose(0, 1, 3, 2)[..., ::4]
    np.testing.assert_allclose(shown, golden["vocals"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "recurrence", ["bi", pytest.param("uni", marks=pytest.mark.slow)]
)
@pytest.mark.one_lane
def test_five_steps_of_the_original(recurrence):
    golden = np.load(GOLDEN / "five_steps.npz")
    config = replace(SMALL, layers=3, bidirectional=recurrence == "bi")
    model = OpenUnmix(config)
    original_folder.assign(model, part(golden, f"{recurrence}/init"), "golden")
    mixture, target = (magnitudes(golden[name]) for name in "xy")
    adam = optimizer("adam", 1e-3, 1e-5)
    adam.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            estimate = model(mixture, training=True)
            loss = tf.reduce_mean(spectrogram_loss(estimate, target))
        gradients = tape.gradient(loss, model.trainable_variables)
        adam.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = [float(step()) for _ in range(5)]
    np.testing.assert_allclose(losses, golden[f"{recurrence}/losses"], atol=1e-6)
    held_out = tf.reduce_mean(spectrogram_loss(model(mixture), target))
    assert float(held_out) == pytest.approx(
        float(golden[f"{recurrence}/eval_loss"]), abs=1e-6
    )
    ours = original_folder.collect(model)
    for name, value in part(golden, f"{recurrence}/step5").items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-5, err_msg=name)


def test_statistics_of_the_original():
    golden = np.load(GOLDEN / "scaler.npz")
    model = OpenUnmix(SMALL)
    model.set_statistics(golden["mean"], golden["scale"])
    assert model.input_bins == 52
    np.testing.assert_allclose(model.input_mean, -golden["mean"][:52], rtol=1e-6)
    np.testing.assert_allclose(model.input_scale, 1 / golden["scale"][:52], rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        (np.zeros(64), np.ones(64)),
        (np.full(65, np.nan), np.ones(65)),
        (np.zeros(65), np.zeros(65)),
    ],
)
def test_statistics_that_do_not_fit(mean, deviation):
    with pytest.raises(ValueError, match="do not fit a network of 65 bins"):
        OpenUnmix(SMALL).set_statistics(mean, deviation)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (PRESETS["umxhq"].model, 8_893_348),
        (PRESETS["umxl"].model, 28_257_188),
        (PRESETS["umxse"].model, 1_583_622),
        (replace(UMX.model, bidirectional=False), 10_466_212),
        (replace(UMX.model, channels=1), 7_078_818),
    ],
)
def test_number_of_weights_of_the_original(config, count):
    model = OpenUnmix(config)
    sizes = [variable.shape.num_elements() for variable in model.trainable_variables]
    assert sum(sizes) == count


def test_bins():
    assert num_bins(UMX.model) == 2049
    assert num_input_bins(UMX.model) == 1487
    assert num_input_bins(replace(UMX.model, bandwidth=15000.0)) == 1394
    assert num_input_bins(PRESETS["umxse"].model) == 513


def test_untrained_network_passes_the_mixture_on():
    mixture = noise(1, 2, 7, 65)
    model = OpenUnmix(SMALL)
    model.fc3.kernel.assign(tf.zeros_like(model.fc3.kernel))
    np.testing.assert_allclose(model(mixture), mixture, rtol=1e-6)


def test_what_lies_above_the_bandwidth_is_not_seen_but_masked():
    mixture = noise(1, 2, 9, 65).numpy()
    model = trained()
    before = model(mixture).numpy()
    mixture[..., 52:] *= 2.0
    after = model(mixture).numpy()
    np.testing.assert_array_equal(after[..., :52], before[..., :52])
    np.testing.assert_allclose(after[..., 52:], 2.0 * before[..., 52:], rtol=1e-6)
    assert before[..., 52:].max() > 0.1


def test_normalisation_remembers_the_unbiased_variance():
    layer, rows = OpenUnmix(SMALL).bn1, noise(5, 16)
    normal = layer(rows, training=True).numpy()
    expected = (rows - np.mean(rows, 0)) / np.sqrt(np.var(rows, 0) + 1e-5)
    np.testing.assert_allclose(normal, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        layer.moving_variance, 0.9 + 0.1 * np.var(rows, 0, ddof=1), rtol=1e-6
    )
    np.testing.assert_allclose(layer.moving_mean, 0.1 * np.mean(rows, 0), rtol=1e-5)


def test_dropout_in_training_only():
    model, mixture = OpenUnmix(replace(SMALL, dropout=0.4)), noise(2, 2, 9, 65)
    np.testing.assert_array_equal(model(mixture), model(mixture))
    first, second = (model(mixture, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.one_lane
def test_replicas_equal_one():
    mixture, config = noise(4, 2, 9, 65), replace(SMALL, layers=1)

    def gradients(model, batch, replicas):
        with tf.GradientTape() as tape:
            losses = spectrogram_loss(model(batch, training=True), 0.5 * batch)
            loss = tf.reduce_mean(losses) / replicas
        return tape.gradient(loss, model.trainable_variables)

    one = trained(config)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        two = OpenUnmix(config)
    original_folder.assign(two, original_folder.collect(one), "one")
    parts = iter(tf.split(mixture, 2))
    batches = strategy.experimental_distribute_values_from_function(
        lambda _: next(parts)
    )

    @tf.function(autograph=False)
    def both():
        actual = strategy.run(gradients, (two, batches, 2))
        return [strategy.reduce("sum", each, axis=None) for each in actual]

    expected = gradients(one, mixture, 1)
    for variable, ours, theirs in zip(
        one.trainable_variables, both(), expected, strict=True
    ):
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-4, atol=1e-6, err_msg=variable.name
        )
    for name, value in original_folder.collect(one).items():
        np.testing.assert_allclose(
            original_folder.collect(two)[name],
            value,
            rtol=1e-5,
            atol=1e-6,
            err_msg=name,
        )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_folded_products_are_the_network(channels, bidirectional):
    config = replace(SMALL, channels=channels, bidirectional=bidirectional)
    model, mixture = trained(config), noise(channels, 11, 65)
    products = folded(model)
    assert products.encode.kernel.shape == (channels * 52, 16)
    assert all(array.dtype == np.float32 for pair in products for array in pair)
    estimate = convert.folded_estimate(model, mixture.numpy())
    expected = model(mixture[tf.newaxis])[0]
    np.testing.assert_allclose(estimate, expected, rtol=1e-4, atol=1e-5)


def test_one_function_for_every_length():
    model, traces = trained(), []

    @tf.function(input_signature=[tf.TensorSpec([None, 2, None, 65])], autograph=False)
    def estimate(mixture):
        traces.append(mixture)
        return model(mixture)

    for shape in ((1, 2, 1, 65), (3, 2, 20, 65)):
        mixture = noise(*shape)
        np.testing.assert_allclose(
            estimate(mixture), model(mixture), rtol=1e-5, atol=1e-6
        )
    assert len(traces) == 1


def test_names_of_variables():
    names = [variable.name for variable in OpenUnmix(SMALL).weights]
    assert len(set(names)) == len(names)
    assert {"input_mean:0", "fc1/kernel:0", "bn3/moving_variance:0"} < set(names)
    assert "lstm/layer1/backward/recurrent_kernel:0" in names


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"channels": 3}, "model.channels=3: expected 1 or 2"),
        ({"hidden_size": 15}, "model.hidden_size=15: expected an even number"),
        ({"window_samples": 127}, "model.window_samples=127: expected an even number"),
        ({"bandwidth": -1.0}, "model.bandwidth=-1.0: expected a frequency in Hz"),
    ],
)
def test_shapes_of_no_network(change, problem):
    with pytest.raises(ValueError, match=problem):
        OpenUnmix(replace(SMALL, **change))
