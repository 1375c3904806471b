"""The separator against the original's numbers; its heads and lengths."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from adversarial import convert
from adversarial.config import ModelConfig
from adversarial.images import crop
from adversarial.model import UNet, covering, crop_margins, solve, solve_axis
from common.config import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden" / "adversarial"
SMALL = ModelConfig(
    num_layers=2, num_frames=16, num_fft=64, initial_filters=4, disc_filters=3
)


# Rows of the input, then input and output frames of at least 16, 32, 64 and 128,
# as the original computes them.
TABLE = {
    1: (266, (26, 18), (42, 34), (74, 66), (138, 130)),
    2: (278, (38, 18), (54, 34), (86, 66), (150, 130)),
    3: (302, (62, 18), (78, 34), (110, 66), (174, 130)),
    4: (350, (126, 34), (126, 34), (158, 66), (222, 130)),
    5: (446, (254, 66), (254, 66), (254, 66), (318, 130)),
}
CASES = [
    (layers, frames, rows[0], *sizes)
    for layers, rows in TABLE.items()
    for frames, sizes in zip((16, 32, 64, 128), rows[1:], strict=True)
]


@pytest.fixture(autouse=True)
def same_weights():
    keras.utils.set_random_seed(1)


def images(config, periods=0, seed=0):
    geometry = solve(config)
    frames = geometry.input_frames + periods * geometry.period
    shape = [2, geometry.input_bins, frames, 1]
    draw = np.random.default_rng(seed).standard_normal(shape)
    return tf.constant(np.log1p(3 * np.abs(draw)), tf.float32)


def test_estimates_are_those_of_the_original():
    golden = np.load(GOLDEN / "original.npz")
    network = convert.load(GOLDEN / "original", SMALL).separator
    for mixture, names in (
        ("mixture", ("acc", "voice")),
        ("unpaired", ("acc_u", "voice_u")),
    ):
        estimates = network(tf.math.log1p(golden[mixture]))
        for number, name in enumerate(names):
            np.testing.assert_allclose(estimates[:, number], golden[name], atol=1e-6)


def test_variables_of_the_default_are_those_of_the_original():
    network = UNet(ModelConfig())
    assert len(network.trainable_variables) == 30
    assert network.count_params() == 958_596
    assert network.variables[0].name == "encoder_0/kernel:0"
    assert network.variables[-1].name == "vocals/bias:0"
    shapes = {v.name: tuple(v.shape) for v in network.variables}
    assert shapes["upsampling_0/kernel:0"] == (2, 2, 128, 256)
    assert shapes["decoder_3/kernel:0"] == (3, 3, 32, 16)
    assert shapes["accompaniment/kernel:0"] == (1, 1, 17, 1)
    assert not any(v.numpy().any() for v in network.variables if "bias" in v.name)
    kernel = network.variables[2].numpy()
    limit = (6 / (9 * 16 + 9 * 32)) ** 0.5
    assert limit * 0.99 < np.abs(kernel).max() <= limit


@pytest.mark.parametrize("layers", range(1, 6))
@pytest.mark.parametrize("frames", [16, 64])
def test_every_number_of_layers_runs(layers, frames):
    config = ModelConfig(
        num_layers=layers, num_frames=frames, num_fft=64, initial_filters=2
    )
    geometry, network = solve(config), UNet(config)
    assert len(network.variables) == 2 * (3 * layers + 3)
    expected = 2, 2, geometry.output_bins, geometry.output_frames, 1
    assert network(images(config)).shape == expected


@pytest.mark.parametrize("head", ["relu", "softplus", "mask"])
def test_tiles_at_a_hop_of_whole_periods_equal_one_pass(head):
    config = ModelConfig(num_frames=64, num_fft=64, initial_filters=4, head=head)
    geometry, network = solve(config), UNet(config)
    song = images(config, periods=12)
    whole = network(song)
    assert whole.shape[3] == geometry.output_frames + 12 * 16
    assert float(tf.math.reduce_std(whole)) > 1e-2
    for first in range(0, 12 * 16 + 1, 64):
        tile = network(song[:, :, first : first + geometry.input_frames])
        part = whole[:, :, :, first : first + geometry.output_frames]
        np.testing.assert_allclose(tile, part, atol=1e-6)


def test_shifts_by_less_than_a_period_change_the_estimates():
    config = ModelConfig(num_frames=64, num_fft=64, initial_filters=4)
    network, geometry = UNet(config), solve(config)
    song = images(config, periods=1)
    tile = network(song[:, :, 2 : 2 + geometry.input_frames])
    whole = network(song)[:, :, :, 2 : 2 + geometry.output_frames]
    assert np.abs(tile - whole).max() > 1e-3


def test_a_graph_takes_every_length():
    network = UNet(SMALL)
    spec = tf.TensorSpec([None, solve(SMALL).input_bins, None, 1])
    graph = tf.function(network, input_signature=[spec], autograph=False)
    for periods in (-2, 0, 3):
        song = images(SMALL, periods)
        np.testing.assert_allclose(graph(song), network(song), atol=1e-6)
    assert graph.experimental_get_tracing_count() == 1


def test_masks_share_the_mixture():
    config = ModelConfig(
        num_layers=2, num_frames=16, num_fft=64, initial_filters=4, head="mask"
    )
    geometry, song = solve(config), images(config)
    song = song * tf.cast(tf.range(song.shape[2]) % 5 > 0, tf.float32)[:, tf.newaxis]
    estimates = tf.math.expm1(UNet(config)(song))
    centre = crop(song, geometry.output_bins, geometry.output_frames)
    mixture = tf.math.expm1(centre)
    np.testing.assert_allclose(tf.reduce_sum(estimates, 1), mixture, atol=1e-5)
    assert float(tf.reduce_min(estimates)) >= 0
    assert np.abs(estimates[:, 0] - estimates[:, 1]).max() > 0.1


def test_softplus_leaves_no_unit_dead():
    estimates = {}
    for head in ("relu", "softplus"):
        config = ModelConfig(
            num_layers=2, num_frames=16, num_fft=64, initial_filters=4, head=head
        )
        network = UNet(config)
        for each in network.heads:
            each.bias.assign([-50.0])
        with tf.GradientTape() as tape:
            estimates[head] = network(images(config))
        gradient = tape.gradient(estimates[head], network.heads[0].bias)
        assert bool(gradient[0] != 0) is (head == "softplus")
    assert not estimates["relu"].numpy().any()
    assert (estimates["softplus"].numpy() > 0).all()


def test_bfloat16_is_near_and_ends_in_float32():
    network, small = UNet(SMALL), UNet(SMALL, "bfloat16")
    small.set_weights(network.get_weights())
    song = images(SMALL)
    exact, near = network(song), small(song)
    assert near.dtype == tf.float32
    assert all(v.dtype == tf.float32 for v in small.variables)
    difference = np.abs(exact - near).max()
    assert 1e-6 < difference < 0.05 * float(tf.reduce_max(exact))


def test_every_weight_has_a_gradient():
    network = UNet(ModelConfig(num_fft=64, initial_filters=4, head="softplus"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(images(network.config))[:, 0] ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    silent = [
        v.name
        for g, v in zip(gradients, network.trainable_variables, strict=True)
        if g is None or not g.numpy().any()
    ]
    assert silent == ["vocals/kernel:0", "vocals/bias:0"]


def test_each_bias_gradient_reads_an_operation_of_one_output():
    """TensorFlow fuses it with a kernel gradient of that operation, of any output."""
    network = UNet(SMALL)

    @tf.function(autograph=False)
    def gradients(mixture):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(network(mixture, training=True) ** 2)
        return tape.gradient(total, network.trainable_variables)

    size = network.geometry.input_bins, network.geometry.input_frames
    graph = gradients.get_concrete_function(tf.TensorSpec([2, *size, 1])).graph
    biases = [op for op in graph.get_operations() if op.type == "BiasAddGrad"]
    assert len(biases) == sum("bias" in weight.name for weight in network.weights)
    for operation in biases:
        assert len(operation.inputs[0].op.outputs) == 1, operation.name


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([1, 53, 38, 1], "53 rows; expected 54"),
        ([1, 54, 39, 1], "39 frames; expected 38"),
    ],
)
def test_images_of_another_size_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        UNet(SMALL)(tf.ones(shape))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("head", "tanh", "head=tanh; expected one of relu, softplus, mask"),
        ("initial_filters", 0, "initial_filters=0; expected at least 1"),
        ("num_layers", 0, "num_layers=0; expected at least 1"),
    ],
)
def test_invalid_heads_and_filters_are_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        UNet(ModelConfig(**{key: value}))


@pytest.mark.parametrize(("layers", "frames", "bins", "entering", "leaving"), CASES)
def test_sizes_are_those_of_the_original(layers, frames, bins, entering, leaving):
    actual = solve(ModelConfig(num_layers=layers, num_frames=frames))
    assert (actual.input_bins, actual.input_frames) == (bins, entering)
    assert (actual.output_bins, actual.output_frames) == (258, leaving)
    assert (actual.critic_bins, actual.critic_frames) == (256, frames)
    assert actual.period == 2**layers
    assert actual.context_frames == (entering - leaving) // 2


def test_context_of_the_default():
    actual = solve(ModelConfig())
    assert actual.context_frames * 256 / 8192 == 1.4375


@pytest.mark.parametrize("layers", range(1, 6))
def test_margins_follow_a_length_through_the_network(layers):
    length, seen = solve_axis(64, layers)[0], []
    entered = length
    for level in range(layers + 1):
        length = (length // 2 if level else length) - 2
        seen.append(length)
    expected = []
    for skip in seen[-2::-1]:
        expected.append((skip - 2 * length) // 2)
        length = 2 * length - 2
    assert crop_margins(layers) == [*expected, (entered - length) // 2]


@pytest.mark.parametrize("layers", range(1, 6))
def test_a_song_is_covered_by_the_next_length_that_fits(layers):
    geometry = solve(ModelConfig(num_layers=layers))
    possible = range(geometry.output_frames % geometry.period, 400, geometry.period)
    for frames in range(1, 200):
        expected = min(each for each in possible if each >= max(frames, 2))
        assert covering(frames, geometry) == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("num_layers", 0, "at least 1"),
        ("num_frames", 0, "an even number from 2 on"),
        ("num_frames", 63, "an even number from 2 on"),
        ("num_fft", 510, "a multiple of 4"),
        ("num_fft", 8, "a multiple of 4"),
    ],
)
def test_invalid_sizes_are_refused(key, value, expected):
    with pytest.raises(ConfigError, match=f"{key}={value}; expected {expected}"):
        solve(ModelConfig(**{key: value}))


@pytest.mark.parametrize(("layers", "size"), [(2, 500), (4, 580), (4, 900), (4, 512)])
def test_the_output_has_a_row_for_each_bin(layers, size):
    geometry = solve(ModelConfig(num_layers=layers, num_fft=size))
    assert geometry.output_bins >= size // 2 + 1
    assert size != 512 or (geometry.input_bins, geometry.output_bins) == (350, 258)
