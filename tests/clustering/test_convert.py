"""Models of nussl become run folders, and whatever else is in a file is refused."""

import functools
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering import convert, separate, weights
from clustering.config import ClusteringConfig
from clustering.export import export_network
from clustering.foreign import nussl_file
from clustering.models import shapes
from clustering.models.network import HEADS, network
from clustering.models.spectral import SpectralNetwork
from common import config as configuration
from common.config import ConfigError
from common.training.checkpoint import CheckpointError, restore_network
from common.weights import torch_file
from common.weights.torch_file import TorchFileError

GOLDEN = Path(__file__).parents[1] / "golden" / "clustering"
STACK = shapes.Recurrent(6, 2, dropout=0.3)
FEATURES = shapes.Features(9, norm="batch")
GATED = ("gated_tanh", "sigmoid", "unit_norm")
SHAPES = {
    "dpcl": shapes.Spectral(shapes.Features(9), STACK, 5, ("tanh",)),
    "mask_inference": shapes.Spectral(
        FEATURES, STACK, sources=3, mask_activation=("softmax",)
    ),
    "chimera": shapes.Spectral(FEATURES, STACK, 4, GATED, 2, ("relu", "l1_norm")),
}
KINDS = pytest.mark.parametrize("kind", SHAPES)


def module(kind, **args):
    return {"class": kind, "args": args, "module_snapshot": "source of the class"}


def stack(inputs, hidden, layers, dropout, **more):
    sizes = {"num_features": inputs, "hidden_size": hidden, "num_layers": layers}
    more = {"bidirectional": True, "dropout": dropout, "rnn_type": "lstm", **more}
    return module("RecurrentStack", **sizes, **more)


def head(bins, inputs, size, activation, **more):
    sizes = {"num_features": bins, "hidden_size": inputs, "embedding_size": size}
    more = {"activation": list(activation), "num_audio_channels": 1, **more}
    return module("Embedding", **sizes, **more)


def graph(kind):
    """Describe a network of :data:`SHAPES` as nussl's builder does."""
    network, mixture, output = SHAPES[kind], "mix_magnitude", []
    batch = network.features.norm == "batch"
    modules = {
        mixture: {},
        "log_spectrogram": {"class": "AmplitudeToDB"},
        "normalization": module("BatchNorm" if batch else "InstanceNorm"),
        "recurrent_stack": stack(9, 6, 2, 0.3),
    }
    connections = [["log_spectrogram", [mixture]]]
    connections += [["normalization", ["log_spectrogram"]]]
    connections += [["recurrent_stack", ["normalization"]]]
    if kind in ("dpcl", "chimera"):
        activation = network.embedding_activation
        modules["embedding"] = head(9, 12, network.embedding, activation)
        connections += [["embedding", ["recurrent_stack"]]]
        output += ["embedding"]
    if kind != "dpcl":
        modules["mask"] = head(9, 12, network.sources, network.mask_activation)
        modules["estimates"] = {"class": "Mask"}
        connections += [["mask", ["recurrent_stack"]], ["estimates", ["mask", mixture]]]
        output += ["estimates", "mask"]
    return {
        "name": "N",
        "modules": modules,
        "connections": connections,
        "output": output,
    }


@functools.cache
def state(kind):
    """Draw tensors by nussl's names, each of which is listed twice there."""
    model, draw = SpectralNetwork(SHAPES[kind], HEADS[kind]), np.random.default_rng(5)
    tensors = {}
    for name, variable in nussl_file.table(model).items():
        value = 0.4 * draw.standard_normal(variable.shape)
        # A decibel's mean and variance, and gains that are not near 0.
        value = np.abs(value) + 0.5 if name.endswith("_var") else value
        tensors[name] = np.atleast_1d(value.T).astype(np.float32)
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            tensors[counter] = np.array(7, np.int64)
    return {**tensors, **{k.removeprefix("layers."): v for k, v in tensors.items()}}


def save(path, kind, config=None, tensors=None, **metadata):
    config = config or graph(kind)
    content = {
        "state_dict": state(kind) if tensors is None else tensors,
        "config": json.dumps(config),
        "metadata": {"config": config, "nussl_version": "1.1.9", **metadata},
    }
    torch_file.write(path, content)
    return path


def refused(path, match):
    with pytest.raises(ValueError, match=match) as error:
        nussl_file.load(path)
    sentence = str(error.value)
    assert str(path) in sentence
    assert "\n" not in sentence


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


@KINDS
def test_every_kind_is_restored(path, kind):
    restored = nussl_file.load(save(path, kind))
    assert restored.network.config == SHAPES[kind]
    assert (restored.kind, restored.heads) == (kind, HEADS[kind])
    assert convert.check(restored) < 1e-5


def test_check(path, capsys):
    assert convert.main([str(save(path, "chimera")), "--check"]) == 0
    output = capsys.readouterr().out
    assert "chimera, 2" in output
    assert "largest difference" in output


def test_what_nussl_computed(path):
    file = np.load(GOLDEN / "nussl_chimera.npz")
    config = graph("chimera")
    config["modules"]["recurrent_stack"] = stack(33, 12, 2, 0.0)
    config["modules"]["embedding"] = head(33, 24, 5, ["sigmoid", "unit_norm"])
    config["modules"]["mask"] = head(33, 24, 2, ["sigmoid"])
    tensors = {name[2:]: file[name] for name in file.files if name.startswith("w/")}
    restored = nussl_file.load(save(path, "chimera", config, tensors))
    heads = restored.network(tf.constant(file["in/mix_magnitude"][..., 0]))
    expected = file["eval/mask"][..., 0, :].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(heads.mask[:, :, ::10], expected, atol=2e-6)


def test_two_channels_and_gated_units_are_those_of_nussl():
    restored = nussl_file.load(GOLDEN / "nussl_stereo_gru.pth")
    shape = restored.network.config
    assert (shape.features.bins, shape.features.channels) == (18, 2)
    assert shape.recurrent.kind == "gru"
    with np.load(GOLDEN / "nussl_stereo_gru.npz") as file:
        magnitude = file["magnitude"].reshape(1, 24, 18)
        embedding, mask = file["embedding"].reshape(1, -1, 4), file["mask"]
    for run in (restored.network, restored.network.infer):
        heads = run(tf.constant(magnitude))
        np.testing.assert_allclose(heads.embedding, embedding, atol=1e-5)
        ours = tf.reshape(heads.mask, [1, 2, 24, 9, 2])
        np.testing.assert_allclose(ours, mask.transpose(0, 4, 1, 2, 3), atol=1e-5)
    assert convert.check(restored) < 1e-5


def test_two_channels_are_separated_at_once(tmp_path):
    run = tmp_path / "run"
    assert convert.main([str(GOLDEN / "nussl_stereo_gru.pth"), str(run)]) == 0
    separator, draw = separate.load(run, consistent=True), np.random.default_rng(0)
    assert (separator.channels, separator.sample_rate) == (2, 8000)
    mixture = draw.standard_normal([2, 100]).astype(np.float32) / 8
    estimates = np.stack([*separator(mixture).values()])
    np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-6)
    # The network sees both channels: another second one changes the first.
    other = np.stack([mixture[0], mixture[1, ::-1]])
    changed = np.stack([*separator(other).values()])
    assert np.abs(changed[:, 0] - estimates[:, 0]).max() > 1e-4
    trained = weights.restore(run)
    with pytest.raises(ConfigError, match="channels=2: such a network separates only"):
        network(trained.config, 2)
    with pytest.raises(ConfigError, match="expected one of a single channel"):
        export_network(*trained)


@KINDS
def test_run_folder(path, tmp_path, kind):
    run = tmp_path / "runs" / "converted"
    params = {"hop_length": 8, "window_type": "sqrt_hann"}
    save(path, kind, sample_rate=8000, stft_params=params)
    convert.export(nussl_file.load(path), run)
    config = configuration.load(ClusteringConfig, run / "config.json")
    assert (config.kind, config.cluster.percentile) == (kind, 90.0)
    assert (config.sample_rate, config.hop_samples) == (8000, 8)
    net = network(config)
    restore_network(run, net)
    magnitude = tf.abs(tf.random.stateless_normal([2, 11, 9], [1, 2]))
    theirs = nussl_file.load(path).network(magnitude)
    tf.nest.map_structure(np.testing.assert_array_equal, net(magnitude), theirs)
    separator = separate.load(run)
    count = 3 if kind == "mask_inference" else 2
    assert len(separator.sources) == count
    assert sorted(each.name for each in run.parent.iterdir()) == ["converted"]


@pytest.mark.parametrize("option", [[], ["--output"]])
def test_a_run_folder_is_written(path, tmp_path, capsys, option):
    run = tmp_path / "run"
    command = [str(save(path, "dpcl")), *option, str(run), "--sample-rate", "8000"]
    assert convert.main(command) == 0
    assert "dpcl, 8000 Hz, frames of 16 every 4" in capsys.readouterr().out
    assert (run / "config.json").exists()


def test_sample_rate(path, tmp_path):
    restored, run = nussl_file.load(save(path, "dpcl")), tmp_path / "run"
    with pytest.raises(CheckpointError, match="give that of the training with --sam"):
        convert.export(restored, run)
    assert not run.exists()
    config = convert.export(restored, run, 16000)
    assert (config.sample_rate, config.hop_samples) == (16000, 4)
    with pytest.raises(CheckpointError, match="exists; name a folder that does not"):
        convert.export(restored, run, 16000)


@pytest.mark.parametrize(
    ("metadata", "rate", "match"),
    [
        ({"sample_rate": 8000}, 16000, "--sample-rate 16000: expected 8000"),
        ({"sample_rate": "8k"}, None, "sample rate 8k: expected a whole number"),
        (
            {"stft_params": (32, 8, "sqrt_hann")},
            8000,
            "window_length is 32; expected 16",
        ),
        ({"stft_params": [16, 4, "hann"]}, 8000, "window_type is hann; expected sqrt"),
        ({"stft_params": {"hop_length": 99}}, 8000, "hop_length is 99; expected a"),
    ],
)
def test_transforms_that_a_run_folder_cannot_hold(path, metadata, rate, match):
    restored = nussl_file.load(save(path, "dpcl", **metadata))
    with pytest.raises(CheckpointError, match=match):
        restored.config(rate)


@pytest.mark.parametrize(
    ("name", "kind"), [("audio", "STFT"), ("dual_path", "DualPath")]
)
def test_networks_on_waveforms_are_refused_in_one_sentence(path, capsys, name, kind):
    """nussl's end-to-end mask inference, and its dual-path network."""
    config = graph("mask_inference")
    config["modules"] = {name: module(kind), **config["modules"]}
    save(path, "mask_inference", config, sample_rate=8000)
    assert convert.main([str(path), "--check"]) == 1
    error = capsys.readouterr().err
    assert f"it has module {name} of the class {kind}, for which there is no" in error
    assert "its end-to-end and dual-path networks are not among them" in error
    assert error.count("\n") == 1
    with pytest.raises(CheckpointError, match="cannot be converted"):
        separate.load(path)


def test_a_network_of_other_weights_is_noticed(path):
    restored = nussl_file.load(save(path, "chimera"))
    restored.network.mask.linear.bias.assign_add(tf.ones([18]))
    with pytest.raises(CheckpointError, match=r"in float64, by .* was not restored"):
        convert.check(restored)


def test_no_file(tmp_path, capsys):
    refused(tmp_path / "none.pth", r"none\.pth is no file; expected one as")
    refused(tmp_path, "is no file; expected one as")
    assert convert.main([str(tmp_path / "none.pth"), "--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_damaged_file(path, kept):
    content = save(path, "dpcl").read_bytes()
    path.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    refused(path, "is damaged or not a weight file of PyTorch")


class Writes:
    """Object whose pickle writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_what_a_trainer_of_nussl_keeps_beside_weights_is_read(path):
    save(path, "dpcl", sample_rate=8000, stft_params="here")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in entries if name.endswith("data.pkl"))
    text = b"X" + len("here").to_bytes(4, "little") + b"here"
    assert entries[name].count(text) == 1
    for window, problem in ((b"sqrt_hann", None), (b"hann", "window_type is hann")):
        # A named tuple, as a pickle has it.
        of = pickle.dumps((16, 8, window.decode()), 2)[2:-1]
        params = b"cnussl.core.audio_signal\nSTFTParams\n" + of + b"\x81"
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in entries.items():
                archive.writestr(each, content.replace(text, params))
        restored = nussl_file.load(path)
        if problem is None:
            config = restored.config()
            assert (config.sample_rate, config.hop_samples) == (8000, 8)
            continue
        with pytest.raises(CheckpointError, match=problem):
            restored.config()


def test_foreign_class_is_refused_and_not_run(path, tmp_path):
    written = tmp_path / "written"
    content = pickle.dumps({"metadata": {"stft_params": Writes(written)}}, 2)
    pickle.loads(content)
    assert written.exists()
    written.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content)
    with pytest.raises(TorchFileError, match=r"names .*exec, .* it was not run"):
        nussl_file.load(path)
    refused(path, r"without these: model, metadata = .*load\(.*'sample_rate'")
    assert not written.exists()


@KINDS
def test_missing_tensor(path, kind):
    tensors = dict(state(kind))
    gone = [name for name in tensors if name.endswith("mask.linear.bias")]
    gone = gone or ["layers.embedding.linear.bias", "embedding.linear.bias"]
    for name in gone:
        del tensors[name]
    refused(
        save(path, kind, tensors=tensors), r"missing layers\.(mask|embedding)\.linear"
    )


def test_tensors_that_are_one_in_nussl_but_differ(path):
    tensors = dict(state("dpcl"))
    tensors["embedding.linear.bias"] = tensors["embedding.linear.bias"] + 1
    refused(save(path, "dpcl", tensors=tensors), r"extra embedding\.linear\.bias")


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("mel", module("MelProjection"), "module mel of the class MelProjection"),
        ("normalization", module("LayerNorm"), "normalization of the class LayerNorm"),
        ("mask", module("Linear"), "module mask of the class Linear"),
        ("more", module("Mask"), "module more of the class Mask"),
        ("second", {}, r"2 inputs \(mix_magnitude, second\)"),
    ],
)
def test_unknown_module(path, name, values, match):
    config = graph("chimera")
    config["modules"][name] = values
    refused(save(path, "chimera", config), f"{match}, for which there is no network")


def test_modules_that_are_fed_otherwise(path):
    config = graph("chimera")
    config["connections"][3] = ["embedding", ["normalization"]]
    refused(save(path, "chimera", config), r"module embedding fed with \['normaliz")
    config["connections"] += [["normalization", ["embedding"]]]
    refused(save(path, "chimera", config), "it has module embedding fed with")
    config = graph("mask_inference")
    config["output"] = ["mask"]
    refused(save(path, "mask_inference", config), "it has no output estimates")
    del config["connections"][-1]
    refused(save(path, "mask_inference", config), "nothing that feeds module estimates")
    del config["modules"]["estimates"]
    refused(save(path, "mask_inference", config), "it has no module estimates")


@pytest.mark.parametrize(
    ("kind", "name", "values", "match"),
    [
        ("dpcl", "recurrent_stack", {"rnn_type": "rnn"}, "rnn_type=rnn; expected 'l"),
        ("dpcl", "recurrent_stack", {"dropout": 1.5}, "dropout=1.5; expected a number"),
        ("dpcl", "recurrent_stack", {"hidden_size": 0}, "hidden_size=0; expected a wh"),
        ("dpcl", "recurrent_stack", {"depth": 3}, "has the unknown argument depth"),
        ("dpcl", "normalization", {"eps": 1e-3}, r"eps=0.001; expected 1e-05"),
        ("dpcl", "embedding", {"num_audio_channels": 2}, "num_audio_channels=2; exp"),
        ("dpcl", "embedding", {"num_features": 8}, "num_features=8; expected 9"),
        ("dpcl", "embedding", {"bias": False}, "bias=False; expected True"),
        (
            "dpcl",
            "embedding",
            {"activation": ["softplus"]},
            r"\['softplus'\]; expected",
        ),
    ],
)
def test_arguments_that_no_network_has(path, kind, name, values, match):
    config = graph(kind)
    config["modules"][name].setdefault("args", {}).update(values)
    refused(save(path, kind, config), f"cannot be converted: module {name} .*{match}")


def test_arguments_that_are_missing(path):
    config = graph("dpcl")
    del config["modules"]["embedding"]["args"]["activation"]
    refused(
        save(path, "dpcl", config), "module embedding lacks the argument activation"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sigmoid", ("sigmoid",)),
        ("none", ()),
        ("gated_tanh", ("gated_tanh", "tanh")),
        (["gated_tanh"], ("gated_tanh",)),
        (["unit_norm", "tanh"], ("tanh", "unit_norm")),
        (["tanh", "sigmoid", "l1_norm", "unit_norm"], ("sigmoid", "unit_norm")),
    ],
)
def test_activations_in_the_order_of_nussl(given, expected):
    config = graph("dpcl")
    config["modules"]["embedding"]["args"]["activation"] = given
    assert nussl_file.translate(config)[0].embedding_activation == expected


def test_start_of_a_stack():
    config = graph("dpcl")
    config["modules"]["recurrent_stack"]["args"]["init_forget"] = False
    tensors = nussl_file.translate(config)[0].recurrent
    assert (tensors.initial, tensors.forget_bias) == ("uniform", None)


@pytest.mark.parametrize(
    "content",
    [
        {"fc1.weight": np.ones(3, np.float32)},
        {"state_dict": {}, "config": "{}"},
        {"state_dict": {"layers.x": "text"}, "config": "{}"},
        {"state_dict": {"x": np.ones(3)}, "metadata": 3},
    ],
)
def test_files_of_other_programs(path, content):
    torch_file.write(path, content)
    refused(path, "is no model of nussl 1.x; expected a dictionary with state_dict")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ("{", "its config is no JSON"),
        (None, "its configuration is not that of a model of nussl"),
        ("{}", "its configuration is not that of a model of nussl"),
        ('{"modules": [], "connections": [], "output": []}', "is not that of a model"),
        ('{"modules": {}, "connections": [3], "output": []}', "is not that of a model"),
        ('{"modules": {}, "connections": [], "output": [[]]}', "is not that of a mod"),
        ('{"modules": {}, "connections": [], "output": []}', "it has 0 inputs"),
    ],
)
def test_configurations_of_nothing(path, config, match):
    torch_file.write(path, {"state_dict": {"x": np.ones(3)}, "config": config})
    refused(path, match)
