"""TasNet, Conv-TasNet and their layers against asteroid and plain formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.models import shapes
from clustering.models.layers import Depthwise, Normalisation
from clustering.models.shapes import Filterbank
from clustering.models.time_domain import ConvTasnet, Tasnet, masks
from common.config import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"
SMALL = shapes.ConvTasnet(Filterbank(16, 16, 8), 8, 12, 8, blocks=3, repeats=2)
PLAIN = replace(
    SMALL, skip=0, blocks=2, norm="cLN", mask_activation="sigmoid", encoder_relu=True
)


def noise(*shape, seed=0):
    draw = np.random.default_rng(seed).standard_normal(shape)
    return tf.constant(draw, tf.float32)


def si_sdr(estimate, source):
    """In dB, of [batch, sources, samples]."""
    estimate, source = (s - tf.reduce_mean(s, -1, True) for s in (estimate, source))
    scale = tf.reduce_sum(estimate * source, -1, True) + 1e-8
    target = source * scale / (tf.reduce_sum(source**2, -1, True) + 1e-8)
    ratio = tf.reduce_sum(target**2, -1) / tf.reduce_sum((estimate - target) ** 2, -1)
    return 10.0 * tf.math.log(ratio + 1e-8) / np.log(10.0)


def loss_of(estimates, sources):
    orders = [
        tf.reduce_mean(-si_sdr(estimates, tf.gather(sources, order, axis=1)), -1)
        for order in ([0, 1], [1, 0])
    ]
    return tf.reduce_mean(tf.reduce_min(orders, axis=0))


def linear(prefix, layer):
    return {f"{prefix}.weight": layer.kernel, f"{prefix}.bias": layer.bias}


def normalisation(prefix, layer):
    return {f"{prefix}.gamma": layer.gamma, f"{prefix}.beta": layer.beta}


def names_of_conv_tasnet(model):
    """Variables by the names of asteroid."""
    table = {
        "encoder.filterbank._filters": model.analysis.filters,
        **normalisation("masker.bottleneck.0", model.input_norm),
        **linear("masker.bottleneck.1", model.bottleneck),
        "masker.mask_net.0.weight": model.activation.slope,
        **linear("masker.mask_net.1", model.mask),
        "decoder.filterbank._filters": model.synthesis.filters,
    }
    for number, block in enumerate(model.blocks):
        prefix = f"masker.TCN.{number}"
        table |= {
            **linear(f"{prefix}.shared_block.0", block.widen),
            f"{prefix}.shared_block.1.weight": block.activation1.slope,
            **normalisation(f"{prefix}.shared_block.2", block.norm1),
            **linear(f"{prefix}.shared_block.3", block.depthwise),
            f"{prefix}.shared_block.4.weight": block.activation2.slope,
            **normalisation(f"{prefix}.shared_block.5", block.norm2),
            **linear(f"{prefix}.res_conv", block.residual),
        }
        if block.skip is not None:
            table |= linear(f"{prefix}.skip_conv", block.skip)
    return table


def names_of_tasnet(model, recipe):
    """Variables by the names of asteroid's library, or of its recipe for WHAMR!."""
    inner, relu, gate = "masker.", "encoder", "encoder.encoder_sig"
    if recipe:
        inner, relu, gate = "", "encoder_relu", "encoder_sig"
    recurrent = {
        f"{inner}masker.0.rnn.{theirs}_l{number}{suffix}": getattr(cell, ours)
        for number, cells in enumerate(model.recurrent.cells)
        for suffix, cell in zip(("", "_reverse"), cells, strict=True)
        for theirs, ours in {
            "weight_ih": "kernel",
            "weight_hh": "recurrent_kernel",
            "bias_ih": "bias",
            "bias_hh": "recurrent_bias",
        }.items()
    }
    return {
        f"{relu}.filterbank._filters": model.analysis.filters,
        f"{gate}.filterbank._filters": model.gate.filters,
        "decoder.filterbank._filters": model.synthesis.filters,
        **recurrent,
        **linear(f"{inner}masker.1", model.mask),
        **normalisation(f"{inner}bn_layer", model.norm),
    }


def assign(table, file):
    """Assign all tensors of a file, and return them by their names."""
    tensors = {key[2:]: file[key] for key in file.files if key.startswith("w/")}
    # asteroid lists the filters of its encoder twice, and windows beside weights.
    extra = set(tensors) - set(table)
    assert all("window" in name or "encoder.encoder_relu." in name for name in extra)
    for name, variable in table.items():
        variable.assign(tensors[name].T.reshape(variable.shape))
    return tensors


def of_asteroid(name, config):
    file, model = np.load(GOLDEN / f"{name}.npz"), ConvTasnet(config)
    return file, model, assign(names_of_conv_tasnet(model), file)


@pytest.mark.parametrize(
    ("name", "bank", "recipe"),
    [
        ("asteroid_tasnet_recipe", shapes.Filterbank(16, 40, 20), True),
        ("asteroid_lstmtasnet", shapes.Filterbank(16, 16, 8), False),
    ],
)
def test_tasnet_of_asteroid(name, bank, recipe):
    file = np.load(GOLDEN / f"{name}.npz")
    stack = shapes.Recurrent(10, 2, dropout=0.0, initial="uniform", forget_bias=None)
    model = Tasnet(shapes.Tasnet(bank, stack))
    assign(names_of_tasnet(model, recipe), file)
    expected = file["eval/out"]
    estimates = model(tf.constant(file["in/mix"]))[..., ::5]
    atol = 2e-6 * np.abs(expected).max()
    np.testing.assert_allclose(estimates, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("name", "config"),
    [("asteroid_convtasnet", SMALL), ("asteroid_convtasnet_noskip_cln", PLAIN)],
)
def test_estimates_of_asteroid(name, config):
    file, model, _ = of_asteroid(name, config)
    expected = file["eval/out"]
    np.testing.assert_allclose(
        model(file["in/mix"])[..., ::5],
        expected,
        rtol=0,
        atol=2e-6 * np.abs(expected).max(),
    )


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_of_asteroid(fused):
    file, model, actual = of_asteroid("asteroid_convtasnet", SMALL)
    table = names_of_conv_tasnet(model)
    assert len(model.trainable_variables) == len(table)

    @tf.function(autograph=False)
    def step(mixture, sources):
        with tf.GradientTape() as tape:
            loss = loss_of(model(mixture, training=fused), sources)
        return loss, tape.gradient(loss, table)

    loss, gradients = step(file["in/mix"], file["in/target"])
    assert float(loss) == pytest.approx(float(file["loss"]), rel=2e-6)
    ends = np.cumsum([tensor.size for tensor in actual.values()])[:-1]
    parts = np.split(file["gradients"], ends)
    for (key, tensor), part in zip(actual.items(), parts, strict=True):
        # The last block's way on leads nowhere where there is a skip path.
        ours = tf.zeros_like(table[key]) if gradients[key] is None else gradients[key]
        theirs = part.reshape(tensor.shape).T.reshape(ours.shape)
        # Each is a sum of thousands of terms that nearly cancel.
        atol = 5e-5 * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=key)


def test_number_of_weights_of_the_original():
    model = ConvTasnet(shapes.ConvTasnet())
    sizes = [variable.shape.num_elements() for variable in model.trainable_variables]
    assert sum(sizes) == 5_050_545
    names = [variable.name for variable in model.weights]
    assert len(set(names)) == len(names)
    assert "repeat2/block7/depthwise/kernel:0" in names


@pytest.mark.parametrize("norm", ["gLN", "cLN", "cgLN", "fgLN"])
def test_normalisations(norm):
    layer, signal = Normalisation(norm, 5, "norm"), 2.0 + noise(3, 7, 5)
    layer.gamma.assign(noise(5, seed=1))
    layer.beta.assign(noise(5, seed=2))
    values = signal.numpy().astype(float)
    axes = {"gLN": (1, 2), "cLN": (2,), "fgLN": (1,)}
    if norm == "cgLN":
        seen = [values[:, : t + 1] for t in range(7)]
        mean = np.stack([part.mean((1, 2)) for part in seen], 1)[..., None]
        variance = np.stack([part.var((1, 2)) for part in seen], 1)[..., None]
    else:
        mean, variance = (
            f(values, axes[norm], keepdims=True) for f in (np.mean, np.var)
        )
    expected = (values - mean) / np.sqrt(variance + 1e-8) * layer.gamma + layer.beta
    np.testing.assert_allclose(layer(signal), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dilation", [1, 4, 16])
def test_depthwise_convolution_and_its_gradient(causal, dilation):
    layer = Depthwise(5, 3, dilation, causal, "depthwise")
    signal, upstream = noise(2, 21, 5), noise(2, 21, 5, seed=1)

    def dense(signal, kernel):
        front = 2 * dilation if causal else dilation
        padded = tf.pad(signal, [[0, 0], [front, 2 * dilation - front], [0, 0]])
        taps = kernel[:, tf.newaxis, :, tf.newaxis]
        wide = padded[:, :, tf.newaxis]
        wide = tf.nn.depthwise_conv2d(
            wide, taps, [1] * 4, "VALID", dilations=[dilation, 1]
        )
        return wide[:, :, 0] + layer.bias

    actual, expected = [], []
    for run, results in (
        (layer, actual),
        (lambda s: dense(s, tf.convert_to_tensor(layer.kernel)), expected),
    ):
        with tf.GradientTape() as tape:
            tape.watch(signal)
            outputs = run(signal)
            loss = tf.reduce_sum(outputs * upstream)
        gradients = tape.gradient(loss, [signal, layer.kernel, layer.bias])
        results += [outputs, *gradients]
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("norm", ["cLN", "cgLN"])
def test_causal_network_does_not_see_the_future(norm):
    model = ConvTasnet(replace(SMALL, norm=norm, causal=True))
    mixture = noise(1, 400).numpy()
    before = model(tf.constant(mixture)).numpy()
    mixture[:, 200:] += 1.0
    after = model(tf.constant(mixture)).numpy()
    # Frames that lie across sample 200 begin at 185 or later.
    np.testing.assert_allclose(after[..., :184], before[..., :184], atol=1e-6)
    assert np.abs(after - before)[..., 208:].max() > 1e-3


def test_any_length():
    model = ConvTasnet(SMALL)
    graph = tf.function(
        model, input_signature=[tf.TensorSpec([None, None])], autograph=False
    )
    for samples in (1, 17, 403):
        mixture = noise(2, samples)
        estimates = graph(mixture)
        assert estimates.shape == [2, 2, samples]
        np.testing.assert_allclose(estimates, model(mixture), atol=1e-5)


def test_masks_of_softmax_sum_to_one():
    mask = masks(noise(2, 7, 12), 3, "softmax")
    np.testing.assert_allclose(tf.reduce_sum(mask, 1), np.ones([2, 7, 4]), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kernel": 4}, "conv_tasnet.kernel=4: expected an odd number"),
        ({"causal": True}, "conv_tasnet.norm=gLN of a causal network"),
        ({"padding": 9}, "conv_tasnet.padding=9: expected at least 0 and at most half"),
        ({"bottleneck": 0}, "conv_tasnet.bottleneck=0: expected at least 1"),
        ({"skip": -1}, "conv_tasnet.skip=-1: expected 0 or more"),
    ],
)
def test_shapes_of_no_network(change, problem):
    with pytest.raises(ConfigError, match=problem):
        replace(SMALL, **change)


def test_filters_without_a_stride_are_refused():
    with pytest.raises(ConfigError, match=r"filterbank\.stride=0: expected at least"):
        replace(SMALL, filterbank=Filterbank(16, 16, 0))
