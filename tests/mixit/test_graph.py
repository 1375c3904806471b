"""Meta graphs of Google's program are read, run as they are, and compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

import mixit
from common import audio
from common.training.checkpoint import CheckpointError
from common.weights.tf1 import MetaGraphError, Session, locate, read
from mixit import convert, separate
from mixit.config import FUSS
from mixit.google import graph as metagraph
from mixit.google.graph import MetaGraph, largest_difference
from mixit.google.restore import architecture, restore, start_from
from mixit.train import compiled

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"
NATIVE = {
    "skips_magsq": (40, 16, "magsq", 0, 1, "instance_norm"),
    "mics_none_global": (40, 20, "none", 0, 2, "global_layer_norm"),
    "layer_unscaled_kernel5": (40, 20, "pred_source", 0, 1, "layer_norm"),
    "scopes": (32, 16, "pred_source", 0, 1, "instance_norm"),
    "stft_window": (40, 16, "pred_source", 0, 2, "instance_norm"),
    "fuss": (64, 16, "pred_source", 48, 1, "instance_norm"),
    "dcase2020": (64, 16, "pred_source", 0, 1, "instance_norm"),
}

BOTH_LANES = ("skips_magsq", "fuss", "dcase2020")


def edited(path: Path, *changes):
    """Change every node of a meta graph by functions."""
    meta = meta_graph_pb2.MetaGraphDef()
    meta.ParseFromString(path.read_bytes())
    for node in meta.graph_def.node:
        for change in changes:
            change(node)
    path.write_bytes(meta.SerializeToString())


def valued(leaf, value, kind=np.int32):
    """Give constants with a name another value."""

    def change(node):
        if node.op == "Const" and node.name.endswith(leaf):
            tensor = tf.make_tensor_proto(np.array(value, kind))
            node.attr["value"].tensor.CopyFrom(tensor)

    return change


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in BOTH_LANES else [pytest.mark.one_lane])
        for name in NATIVE
    ],
)
def test_facts_and_outputs(unpack, name):
    folder, pairs = unpack(name)
    facts = metagraph.read(folder / "inference.meta")
    window, hop, consistency, front, mics, norm = NATIVE[name]
    assert facts == metagraph.Facts(
        window, hop, (1, 2, 1, 2), consistency, "sigmoid", front, mics, norm
    )
    network, difference = restore(folder)
    assert difference < 1e-5
    meta_graph = MetaGraph(folder)
    for mixture, expected in pairs:
        np.testing.assert_allclose(network(mixture), expected, atol=1e-5)
        np.testing.assert_allclose(meta_graph(mixture), expected, atol=1e-6)
    assert largest_difference(network, meta_graph) < 1e-5


def test_networks_one_after_another_run_as_they_are(unpack):
    folder, ((mixture, expected), *_) = unpack("twice")
    with pytest.raises(
        CheckpointError, match=r"holds 2 networks .*model_iter_0.*--meta"
    ):
        restore(folder)[0]
    separator = mixit.load(folder, metagraph=True, sample_rate=8000)
    assert (separator.sample_rate, separator.sources) == (8000, ("source0", "source1"))
    estimates = separator(mixture[0])
    np.testing.assert_allclose(estimates["source1"], expected[:, 1], atol=1e-6)
    stereo = separator(np.concatenate([mixture[0], -mixture[0]]))
    assert stereo["source0"].shape == (2, mixture.shape[-1])


def test_the_named_graph_is_run_wherever_it_is(unpack, tmp_path):
    folder, ((mixture, expected), *_) = unpack("scopes")
    graph = tmp_path / "graph.meta"
    (folder / "inference.meta").rename(graph)
    for path in (graph, str(graph)):
        estimates = mixit.load(folder, metagraph=path)(mixture[0])
        np.testing.assert_allclose(estimates["source0"], expected[:, 0], atol=1e-6)
        (folder / "inference.meta").touch()  # another one, which is not opened


@pytest.mark.one_lane
def test_sounds_shorter_than_a_frame(unpack):
    folder, ((mixture, _), *_) = unpack("skips_magsq")
    native, graph = mixit.load(folder), mixit.load(folder, metagraph=True)
    for samples in (1, 24, 25):
        sound = mixture[0, :, :samples]
        estimates, others = graph(sound), native(sound)
        assert {each.shape for each in estimates.values()} == {(1, samples)}
        assert {each.shape for each in others.values()} == {(1, samples)}
    # Google's program fails below 25 samples, for want of a frame.
    for name, estimate in estimates.items():
        np.testing.assert_allclose(estimate, others[name], atol=1e-5)


def test_graph_of_several_microphones_is_no_separator(unpack):
    folder, _ = unpack("mics_none_global")
    assert mixit.load(folder).channels == 2
    with pytest.raises(
        MetaGraphError, match=r"takes 2 microphones.*google\.graph\.Meta"
    ):
        mixit.load(folder, metagraph=True)
    tensors = read(locate(folder))
    for number, cure in ((1, "--metagraph"), (3, "call mixit.google.graph.MetaGraph")):
        facts = metagraph.Facts(num_mics=number)
        with pytest.raises(CheckpointError, match=f"is fed {number} mic.*{cure}"):
            architecture(tensors, facts=facts)


def dilate(node):
    if node.op == "DepthwiseConv2dNative":
        node.attr["dilations"].list.i[:] = [1, 3, 1, 1]


def unmask(node):
    if node.op == "Sigmoid":
        node.op = "Tanh"


def test_the_hop_is_read_from_the_graph(unpack):
    folder, _ = unpack("fuss")
    edited(folder / "inference.meta", valued("/frame_step", 8))
    assert metagraph.read(folder / "inference.meta").hop_samples == 8


def without_floor(node):
    """Take the power itself as the weights of the mixture consistency."""
    if node.name in ("truediv", "Sum_1") and node.input[0] == "add":
        node.input[0] = "Mean"


def test_weights_by_power_without_a_floor(unpack):
    """The baseline of DCASE 2020 does not add 1e-8 to the power."""
    folder, ((mixture, estimates), *_) = unpack("skips_magsq")
    edited(folder / "inference.meta", without_floor)
    network, _ = restore(folder)
    assert network.config.mixture_consistency == "magsq"
    np.testing.assert_allclose(network(mixture), estimates, atol=1e-5)


def reduce_over(*axes):
    """Let the norms of the second block take their moments over other axes."""

    def change(node):
        if "conv_block_1" in node.name:
            valued("reduction_indices", axes)(node)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dilate, "has dilations 3, 6, 3, 6, and the native"),
        (unmask, "activates its masks by tanh"),
        (valued("batchnorm/add/y", 1e-5, np.float32), "adds 1e-05 to the variance in"),
        (valued("Pad/paddings", [[0, 0], [0, 0], [7, 0]]), "puts 7 zeros in front"),
        (reduce_over(2), "takes .*conv_block_1.* over the axes 2; run the graph"),
        (reduce_over(1, 3), "blocks with global_layer_norm and instance_norm"),
        (valued("reduction_indices", [3]), "is layer_norm, but .* of another model"),
    ],
)
def test_graphs_that_the_native_network_is_not(unpack, change, sentence):
    folder, _ = unpack("fuss")
    edited(folder / "inference.meta", change)
    with pytest.raises(ValueError, match=sentence) as caught:
        restore(folder)[0]
    assert ("--metagraph" in str(caught.value)) == ("another model" not in sentence)


@pytest.mark.parametrize(
    ("name", "options", "actual"),
    [
        ("scopes", {"hop_samples": 8}, "16"),
        ("scopes", {"num_dilations": 4}, "2"),
        ("scopes", {"num_dilations": 8}, "2"),
        ("skips_magsq", {"mixture_consistency": "none"}, "magsq"),
        ("fuss", {"front_padding": False}, "True"),
        ("dcase2020", {"front_padding": True}, "False"),
        ("dcase2020", {"norm": "global_layer_norm"}, "instance_norm"),
    ],
)
def test_options_that_contradict_the_graph(
    unpack, tmp_path, capsys, name, options, actual
):
    folder, _ = unpack(name)
    ((key, value),) = options.items()
    sentence = (
        f"{key} is {value}, but the meta graph beside the checkpoint has {actual}"
    )
    for load in (restore, mixit.load):
        with pytest.raises(CheckpointError, match=sentence):
            load(folder, **options)
    run = tmp_path / "run"
    word = f"--{key.replace('_', '-')}"
    words = {True: [word], False: [word.replace("--", "--no-")]}
    words = words.get(value, [word, str(value)])
    assert convert.main([str(folder), str(run), *words]) == 1
    assert sentence in capsys.readouterr().err
    assert not run.exists()


@pytest.mark.one_lane
def test_options_that_agree_with_the_graph(unpack):
    folder, _ = unpack("fuss")
    settings = {"hop_samples": 16, "num_dilations": 2, "front_padding": True}
    shape = restore(folder, norm="instance_norm", **settings)[0].config
    assert {name: getattr(shape, name) for name in settings} == settings


@pytest.mark.parametrize("front", [None, "padded"])
def test_norms_of_the_dcase_baseline_without_a_graph(unpack, caplog, front):
    name = "fuss" if front else "dcase2020"
    folder, pairs = unpack(name, "inference.meta")
    if front is None:
        sentence = "names its norms global_layer_norm, .*dcase2020.* over the frames"
        for load in (restore, mixit.load):
            with pytest.raises(CheckpointError, match=sentence):
                load(folder)
        settings = {"norm": "instance_norm", "front_padding": False}
    else:
        settings = {"front_padding": True, "num_dilations": 2}
    network = restore(folder, **settings)[0]
    assert not caplog.records
    for mixture, expected in pairs:
        np.testing.assert_allclose(network(mixture), expected, atol=1e-5)
    settings.pop("front_padding")
    assert not restore(folder, **settings)[0].config.front_padding
    (record,) = caplog.records
    assert "front padding: none, because there is no meta graph" in record.message


@pytest.mark.one_lane
def test_graphs_of_equal_facts_are_compared_by_their_outputs(unpack, tmp_path, capsys):
    folder, _ = unpack("dcase2020")

    def square(node):  # a window of another shape
        if node.op == "Sqrt":
            node.op = "Identity"

    edited(folder / "inference.meta", square)
    for load in (restore, mixit.load):
        with pytest.raises(CheckpointError, match="differs from the meta graph by"):
            load(folder)
    run = tmp_path / "run"
    for words in ([], ["--check"]):
        assert convert.main([str(folder), str(run), *words]) == 1
        assert "differs from the meta graph by" in capsys.readouterr().err
    assert not run.exists()


def test_graph_of_a_training_is_read_and_not_run(unpack, capsys):
    folder, ((mixture, expected), *_) = unpack("dcase2020")

    def rename(node):
        node.name = node.name.replace("input_audio/receiver_audio", "IteratorGetNext")
        node.input[:] = [
            source.replace("input_audio/receiver_audio", "IteratorGetNext")
            for source in node.input
        ]

    edited(folder / "inference.meta", rename)
    (folder / "inference.meta").replace(folder / "model.ckpt-7.meta")
    network, difference = restore(folder)
    assert difference is None
    np.testing.assert_allclose(network(mixture), expected, atol=1e-5)
    assert convert.main([str(folder), "--check"]) == 1
    assert "has no tensor input_audio/receiver_audio" in capsys.readouterr().err


@pytest.mark.one_lane
def test_training_continues_with_the_network_of_the_graph(unpack):
    folder, _ = unpack("dcase2020")
    config = restore(folder)[0].config
    model = compiled(replace(FUSS, model=config), replicas=1)
    assert start_from(model, folder) == 0
    for change in ({"norm": "global_layer_norm"}, {"hop_samples": 32}):
        other = compiled(replace(FUSS, model=replace(config, **change)), replicas=1)
        with pytest.raises(CheckpointError, match="but the meta graph beside the ch"):
            start_from(other, folder)


def test_a_graph_that_is_run_as_it_is_takes_no_options_of_the_network(unpack):
    folder, _ = unpack("dcase2020")
    with pytest.raises(MetaGraphError, match="whatever hop_samples and norm; leave"):
        mixit.load(folder, metagraph=True, hop_samples=16, norm="instance_norm")


def test_graph_of_another_checkpoint(unpack):
    folder, _ = unpack("scopes")
    edited(folder / "inference.meta", valued("/frame_length", 64))
    with pytest.raises(CheckpointError, match="is 64, but the basis has 32 samples"):
        restore(folder)[0]


@pytest.mark.one_lane
def test_graph_without_the_expected_tensors(unpack, capsys):
    folder, _ = unpack("scopes")

    def renamed(name):
        name = name.replace("input_audio/receiver_audio", "sound")
        return name.replace("denoised_waveforms", "estimates")

    def rename(node):
        node.name = renamed(node.name)
        node.input[:] = [renamed(source) for source in node.input]

    edited(folder / "inference.meta", rename)
    for load in (restore, MetaGraph):
        with pytest.raises(
            MetaGraphError, match=r"has no tensor .*denoised_wav"
        ) as error:
            load(folder)
        assert "placeholders are sound:0, and it computes " in str(error.value)
        assert "estimates:0" in str(error.value)
    words = ["--check", "--input-tensor", "sound:0", "--output-tensor", "estimates:0"]
    assert convert.main([str(folder), *words]) == 0
    assert "largest difference" in capsys.readouterr().out
    tensors = {"input_tensor": "sound:0", "output_tensor": "estimates:0"}
    assert mixit.load(folder, metagraph=True, **tensors).channels == 1


@pytest.mark.parametrize("left", [0, 1000, -1000])
def test_damaged_graph(unpack, left):
    folder, _ = unpack("scopes")
    path = folder / "inference.meta"
    path.write_bytes(path.read_bytes()[:left])
    for load in (restore, MetaGraph):
        with pytest.raises(MetaGraphError, match=r"inference\.meta") as error:
            load(folder)
        assert "copy it again" in str(error.value)


def test_graph_and_weights_of_two_models(unpack):
    (one, _), (other, _) = unpack("scopes"), unpack("fuss")
    names = metagraph.INPUT, metagraph.OUTPUT
    with pytest.raises(MetaGraphError, match="does not fit the graph") as error:
        Session(one / "inference.meta", other / "model.ckpt-7", *names)
    assert "\n" not in str(error.value)


def test_which_graph_belongs_to_a_checkpoint(tmp_path):
    prefix = tmp_path / "baseline_dry_model"
    assert metagraph.find(prefix) is None
    for name in (
        "baseline_dry_model.meta",
        "baseline_inference.meta",
        "baseline_dry_inference.meta",
        "inference.meta",
    ):
        (tmp_path / name).touch()
        assert metagraph.find(prefix) == tmp_path / name


def test_command_separates_by_the_graph(unpack, tmp_path, capsys):
    folder, ((mixture, expected), *_) = unpack("twice")
    audio.write(tmp_path / "mix.wav", mixture[0], 16000)
    words = [str(tmp_path / "mix.wav"), "--model", str(folder)]
    words += ["--output", str(tmp_path / "out")]
    assert separate.main(words) == 1
    assert "--metagraph" in capsys.readouterr().err
    assert separate.main([*words, "--metagraph"]) == 0
    for index in range(2):
        stem, rate = audio.read(tmp_path / "out" / "mix" / f"source{index}.wav")
        assert rate == 16000
        np.testing.assert_allclose(stem, expected[:, index], atol=1e-5)


@pytest.mark.one_lane
def test_options_of_a_checkpoint_for_a_run_folder(unpack, tmp_path):
    folder, _ = unpack("scopes")
    run = tmp_path / "run"
    assert convert.main([str(folder), str(run)]) == 0
    assert mixit.load(run).sample_rate == 16000
    for options in (
        {"metagraph": True},
        {"sample_rate": 8000},
        {"sample_rate": 16000},
        {"num_dilations": 8},
        {"front_padding": False},
        {"output_tensor": metagraph.OUTPUT},
    ):
        with pytest.raises(CheckpointError, match="is a run folder, which states"):
            mixit.load(run, **options)


@pytest.mark.one_lane
def test_check_refuses_what_differs(unpack, tmp_path, capsys):
    folder, _ = unpack("scopes")
    run = tmp_path / "run"
    assert convert.main([str(folder), str(run), "--check"]) == 0
    assert "largest difference from the meta graph: " in capsys.readouterr().out
    assert (run / "config.json").exists()
    other = tmp_path / "other"
    assert convert.main([str(folder), str(other), "--check", "--hop-samples", "8"]) == 1
    text = capsys.readouterr().err
    assert "hop_samples is 8, but the meta graph beside the checkpoint has 16" in text
    assert not other.exists()
    (folder / "inference.meta").unlink()
    words = [str(folder), "--check", "--num-dilations", "2"]
    assert convert.main(words) == 1
    assert "holds no meta graph" in capsys.readouterr().err
