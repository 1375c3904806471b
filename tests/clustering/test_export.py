"""Exported networks against ours."""

import dataclasses

import numpy as np
import pytest

import clustering
from clustering import light, separate
from clustering.export import export, export_network, graph
from clustering.models.network import network
from clustering.presets import PRESETS
from common.training.checkpoint import CheckpointError
from common.weights.export_command import sound, write

TINY, CONV = PRESETS["tiny"], PRESETS["tiny_conv_tasnet"]


def spectral(features=(), recurrent=(), kind="mask_inference", **heads):
    shape = dataclasses.replace(
        TINY.spectral,
        features=dataclasses.replace(TINY.spectral.features, **dict(features)),
        recurrent=dataclasses.replace(TINY.spectral.recurrent, **dict(recurrent)),
        **heads,
    )
    return dataclasses.replace(TINY, kind=kind, spectral=shape)


def conv_tasnet(**shape):
    shape = dataclasses.replace(CONV.conv_tasnet, blocks=2, repeats=1, **shape)
    return dataclasses.replace(CONV, conv_tasnet=shape)


CONFIGS = {
    "dpcl": spectral({"level": "librosa", "norm": "batch"}, kind="dpcl"),
    "masks": spectral({"level": "log", "norm": "none"}, {"bidirectional": False}),
    "gated": spectral(mask_activation=("gated_tanh", "sigmoid", "l1_norm")),
    "softmax": spectral(mask_activation=("softmax",)),
    "tasnet": PRESETS["tiny_tasnet"],
    "gLN": conv_tasnet(norm="gLN", mask_activation="softmax", skip=0),
    "cLN": conv_tasnet(norm="cLN", causal=True, encoder_relu=True),
    "cgLN": conv_tasnet(norm="cgLN", mask_activation="none"),
    "fgLN": conv_tasnet(norm="fgLN", mask_activation="sigmoid"),
    "padded": conv_tasnet(padding=CONV.conv_tasnet.filterbank.size // 2),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_graph_equals_the_network(run_onnx, name):
    config, random = CONFIGS[name], np.random.default_rng(0)
    net = network(config)
    for weight in net.trainable_variables:
        weight.assign(weight + random.normal(0.0, 0.05, weight.shape))
    waves = "asnet" in config.kind
    bank = config.tasnet if config.kind == "tasnet" else config.conv_tasnet
    size, stride = bank.filterbank.size, bank.filterbank.stride
    shape = [2, size + 30 * stride] if waves else [2, 11, config.stft.bins]
    inputs = random.gamma(0.5, size=shape).astype(np.float32)
    expected = net(inputs).numpy()
    actual = run_onnx(graph(net), inputs)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * abs(expected).max())


def test_a_chimera_without_trained_masks_is_exported_with_its_embedding(run_onnx):
    loss = dataclasses.replace(TINY.loss, inference=0.0)
    config = dataclasses.replace(TINY, kind="chimera", loss=loss)
    net = network(config)
    inputs = np.random.default_rng(0).gamma(0.5, size=[2, 5, config.stft.bins])
    inputs = inputs.astype(np.float32)
    actual = run_onnx(graph(net, config.clusters), inputs)
    np.testing.assert_allclose(actual, net(inputs).embedding, atol=1e-5)
    assert export_network(net, config).settings["cluster"]["sources"] == 2


def test_magnitudes_of_asteroid_are_exported(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    config = spectral({"level": "log", "norm": "none"})
    config = dataclasses.replace(config, frontend="asteroid")
    net, mixture = network(config), sound(1, 8000, 0.5)
    mixture[:, 1000:] *= 1e-6
    assert write(export_network(net, config), "onnx", tmp_path / "x") <= 1e-5
    expected = separate.separator(net, config)(mixture)
    for name, estimate in light.load(tmp_path / "x")(mixture).items():
        np.testing.assert_allclose(estimate, expected[name], atol=1e-5)


@pytest.mark.parametrize("consistent", [False, True])
def test_bundled_model_separates_without_tensorflow(tmp_path, consistent):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "out"
    assert write(export("mini"), "onnx", folder) <= 1e-5
    mixture = sound(2, 16000, 4.0)
    options = {"segment_seconds": 2.0, "consistent": consistent}
    expected = clustering.load("mini", **options)(mixture)
    actual = light.load(folder, **options)(mixture)
    peak = max(abs(each).max() for each in expected.values())
    for name, estimate in expected.items():
        np.testing.assert_allclose(actual[name], estimate, atol=1e-5 * peak)


def test_networks_on_waveforms_separate_without_tensorflow(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    config = conv_tasnet()
    assert (
        write(export_network(network(config), config), "onnx", tmp_path / "x") <= 1e-5
    )
    short = np.ones([1, 3], np.float32)
    assert light.load(tmp_path / "x")(short)["source0"].shape == (1, 3)


def test_networks_without_an_exported_program_are_refused_by_name(tmp_path):
    cluster = dataclasses.replace(TINY.cluster, method="gmm")
    config = dataclasses.replace(TINY, kind="dpcl", cluster=cluster)
    made = export_network(network(config), config)
    with pytest.raises(CheckpointError, match=r"onnx cannot hold .*method=gmm needs"):
        write(made, "onnx", tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"tflite cannot hold .* recurrent"):
        write(made, "tflite", tmp_path / "out")
