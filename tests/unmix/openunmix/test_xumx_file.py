"""Files of X-UMX as our bridged networks, which give the estimates of the original."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import unmix
from common.separation.separator import SeparationError
from common.training.checkpoint import CheckpointError
from common.weights import registry, torch_file
from unmix import convert, export, published, weights
from unmix.config import PRESETS, Network
from unmix.end_to_end import EndToEnd
from unmix.model import estimates
from unmix.openunmix import xumx_file
from unmix.train import build

FOLDER = Path(__file__).parents[2] / "golden" / "unmix" / "xumx"
FILE = FOLDER / "xumx.pth"
NETWORK = Network(44100, 32, 8, 2, 8, 2, True, 11 * 44100 / 32, bridged=True)


@pytest.fixture
def golden():
    with np.load(FOLDER / "reference.npz") as file:
        yield file


@pytest.fixture
def in_cache(tmp_path, monkeypatch):
    """The file in the cache, under the name of a publication of its targets."""
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    small = replace(
        published.MODELS["xumx"],
        files=dict.fromkeys(["vocals", "drums"], "pretrained_xumx.pth"),
    )
    monkeypatch.setattr(published, "MODELS", {**published.MODELS, "xumx": small})
    folder = published.folder("xumx")
    folder.mkdir(parents=True)
    (folder / "pretrained_xumx.pth").write_bytes(FILE.read_bytes())


def content():
    return torch_file.read(FILE) | {"infos": {}}


def refused(tmp_path, values, match):
    path = tmp_path / "xumx.pth"
    torch_file.write(path, values)
    with pytest.raises(CheckpointError, match=match) as error:
        weights.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_magnitudes_are_those_of_the_original(golden):
    networks = weights.load(FILE)
    assert [*networks] == ["vocals", "drums"]
    assert networks["drums"].config == NETWORK
    # The file lists drums first.
    order = [networks["drums"], networks["vocals"]]
    ours = tf.stack(estimates(order, tf.constant(golden["mixture"][np.newaxis])))
    expected = golden["magnitudes"]
    np.testing.assert_allclose(ours[:, 0], expected, atol=1e-5 * expected.max())
    tensors = xumx_file.tensors(FILE)
    double = convert.reference_estimates(
        [*tensors.values()], golden["mixture"], bridged=True
    )
    np.testing.assert_allclose(double, expected, atol=1e-5 * expected.max())


def test_sound_is_that_of_the_original(in_cache, golden):
    separator = unmix.load("xumx", niter=0)
    assert (separator.sample_rate, separator.sources) == (44100, ("vocals", "drums"))
    stems = separator(golden["sound"][0])
    ours = np.stack([stems["drums"], stems["vocals"]])
    expected = golden["estimates"]
    # The original leaves out the end that no whole hop reaches.
    ours = ours[..., : expected.shape[-1]]
    inside = slice(16, -16)
    np.testing.assert_allclose(
        ours[..., inside], expected[..., inside], atol=1e-5 * abs(expected).max()
    )


@pytest.mark.one_lane
def test_bridged_networks_train_together(golden):
    networks = weights.load(FILE)
    config = replace(PRESETS["tiny"], model=NETWORK, niter=0)
    model = EndToEnd(networks, config, 1)
    with tf.GradientTape() as tape:
        sound = model.separate(tf.constant(golden["sound"]))
        loss = tf.reduce_mean(sound**2)
    expected, inside = golden["estimates"][::-1], slice(16, 280)
    np.testing.assert_allclose(
        sound[0, ..., inside], expected[..., inside], atol=1e-5 * abs(expected).max()
    )
    gradients = tape.gradient(loss, model.trainable_variables)
    assert not [each for each in gradients if each is None]


@pytest.mark.one_lane
def test_check_and_forms_that_do_not_exist(tmp_path, capsys):
    assert convert.main([str(FILE), "--check"]) == 0
    assert "vocals, drums, bridged: largest difference" in capsys.readouterr().out
    assert convert.main([str(FILE), str(tmp_path / "umx")]) == 1
    assert "bridged (X-UMX), which Open-Unmix has no" in capsys.readouterr().err
    with pytest.raises(SeparationError, match="expected drums as well, so write fewer"):
        unmix.load(FILE, ["vocals"])


@pytest.mark.one_lane
def test_a_network_of_other_weights_is_noticed():
    networks, tensors = weights.load(FILE), xumx_file.tensors(FILE)
    networks["drums"].output_mean.assign_add(tf.ones([17]))
    with pytest.raises(CheckpointError, match="was not restored"):
        convert.check(networks, tensors)


def test_the_exported_graphs_are_bridged(tmp_path, golden):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    networks = weights.load(FILE)
    mixture = golden["mixture"]
    rows = mixture[..., :12].transpose(1, 0, 2).reshape(mixture.shape[1], -1)
    values = rows
    for graph, name in (
        (export.encoding(networks), "magnitude"),
        (export.decoding(networks), "hidden"),
    ):
        graph.save(tmp_path / "graph.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
        (values,) = session.run(None, {name: values})
    expected = golden["magnitudes"][::-1]
    np.testing.assert_allclose(values * mixture, expected, atol=1e-5 * expected.max())


def test_the_registry_counts_one_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    actual = {each.name: each for each in registry.entries() if each.pillar == "unmix"}
    assert [file.size for file in actual["xumx"].files] == [16 * 8_893_348]
    assert [file.size for file in actual["xumxl"].files] == [None]
    assert (
        actual["xumxhq"]
        .files[0]
        .address.endswith("/4740378/files/pretrained_xumx_musdb18HQ.pth")
    )
    assert actual["xumx"].licence.startswith("not verified")


def test_a_bridged_network_is_not_trained_alone():
    tiny = PRESETS["tiny"]
    config = replace(tiny, model=replace(tiny.model, bridged=True), target=("vocals",))
    with pytest.raises(ValueError, match="expected end_to_end=True and all targets"):
        build(config, tf.distribute.get_strategy())


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ({"depth": 1}, "has the unknown argument depth"),
        ({"n_hop": 0}, "n_hop=0; expected a whole number above 0"),
        ({"max_bin": 18}, "max_bin=18; expected 1 to 17"),
        ({"max_bin": 11}, "misshapen fc1.weight"),
        ({"spec_power": 2}, "spec_power=2; expected 1"),
        ({"window_length": 16}, "window_length=16; expected 32"),
        ({"sources": ["vocals"]}, "tensors are of none of the targets vocals"),
        ({"sources": ["vocals", "drums", "bass"]}, "bass: .* missing input_mean"),
        ({"sources": ["drums", "drums"]}, "expected different names"),
        ({"sources": 3}, "sources=3; expected names"),
        ({"hidden_size": 7}, "hidden_size=7"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, args, match):
    values = content()
    refused(tmp_path, values | {"model_args": values["model_args"] | args}, match)


def test_other_files(tmp_path):
    values = content()
    refused(tmp_path, {"model_name": "ConvTasNet"}, "model_name is ConvTasNet")
    args = {n: v for n, v in values["model_args"].items() if n != "n_hop"}
    refused(tmp_path, values | {"model_args": args}, "lacks the argument n_hop")
    state = values["state_dict"]
    window = {**state, "encoder.0.window": np.ones(32, np.float32)}
    refused(tmp_path, values | {"state_dict": window}, "is no window of Hann's")
    name = "mean_scale.input_mean_drums"
    infinite = {**state, name: np.full_like(state[name], np.nan)}
    refused(tmp_path, values | {"state_dict": infinite}, "drums: .*not finite: input")
    with pytest.raises(CheckpointError, match="has no target bass"):
        weights.load(FILE, ["bass"])
