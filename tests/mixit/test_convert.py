"""Restoring TF1 checkpoints: every tensor is assigned, or an error names it."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mixit
from common.training.checkpoint import CheckpointError
from common.weights import tf1
from common.weights.tf1 import locate
from mixit import convert, evaluate
from mixit.config import FUSS, Network
from mixit.google import names, restore
from mixit.google.architecture import Options, derive
from mixit.google.graph import Facts
from mixit.google.names import ordered
from mixit.model import Tdcn
from mixit.train import compiled

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"
SMALL = GOLDEN / "small"
THREE = Options(num_dilations=3)


@pytest.fixture(scope="module")
def tensors():
    return tf1.read(SMALL, names.SLOTS)


@pytest.fixture
def copy(tmp_path):
    """A copy of the small checkpoint without the file that names it."""
    for file in SMALL.glob("model.ckpt*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def shapes_of(network):
    return {key: tuple(v.shape) for key, v in restore.names(network).items()}


TINY = Network(
    num_sources=3,
    num_coeffs=12,
    bottleneck=6,
    conv_channels=8,
    num_dilations=2,
    num_repeats=2,
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_mics": 3},
        {"num_mics": 2, "mixture_consistency": "none"},
        {"norm": "global_layer_norm", "block_scale": "none", "kernel_size": 5},
        {"skip_connections": True, "num_repeats": 3, "window_samples": 23},
        {"basis": "stft", "window_samples": 64, "num_mics": 2},
        {"basis": "stft", "window_samples": 512},
    ],
    ids=["plain", "mics", "unweighted", "norm", "skips", "stft_mics", "stft"],
)
def test_architecture_from_shapes(options):
    config = replace(TINY, **options)
    size = config.window_samples
    expected = replace(config, hop_samples=size // (4 if config.basis == "stft" else 2))
    shapes = shapes_of(Tdcn(config))
    # Convolutions and norms have more axes of one element in a TF1 checkpoint.
    for name in shapes:
        if name.endswith("depthwise_kernel"):
            size, channels = shapes[name]
            shapes[name] = (size, 1, channels, 1)
    derived = derive(shapes, Options(num_dilations=2, norm=config.norm))
    assert replace(derived, num_coeffs=12) == expected
    assert derived.num_coeffs == (12 if config.basis == "learned" else size_of(config))


def size_of(config):
    return config.window_samples // 2 + 1


@pytest.mark.parametrize("variant", ["none", "noscale", "ln", "stft"])
def test_variants(unpack, variant):
    folder, pairs = unpack(f"variant_{variant}")
    network = restore.restore(folder, num_dilations=3)[0]
    for mixture, expected in pairs:
        np.testing.assert_allclose(network(mixture), expected, atol=1e-5)


def test_order_of_the_sources_is_that_of_the_outputs(unpack):
    folder, ((mixture, expected), *_) = unpack("variant_none")
    separator = mixit.load(folder, num_dilations=3)
    estimates = separator(mixture[0])
    for index, name in enumerate(separator.sources):
        np.testing.assert_allclose(estimates[name], expected[:, index], atol=1e-5)


def test_names_without_numbers_scopes_and_double_slashes():
    variants = {
        "dense_4/kernel": "dense/kernel",
        "conv_tasnet/dense/kernel": "dense/kernel",
        "model_iter_0//mix_weights/dense_3/kernel": "mix_weights/dense/kernel",
        "a/b/conv_block_7/tasnet_block/dense1/dense_12/kernel": (
            "improved_tdcn/conv_block_7/tdcn_block/dense1/dense/kernel"
        ),
        "x/res_dense_0_to_8/dense_scale/scale_layer": (
            "improved_tdcn/res_dense_0_to_8/dense_scale/scale_layer"
        ),
        "stranger": "stranger",
    }
    for name, expected in variants.items():
        assert names.canonical(name) == expected


def test_every_wrong_tensor_is_named(tensors):
    network = Tdcn(restore.architecture(tensors, THREE))
    wrong = dict(tensors)
    wrong["stranger"] = np.zeros(3)
    del wrong["initial_dense/dense/bias"]
    wrong["dense/kernel"] = np.zeros((32, 7))
    wrong["conv_encoder/dense/kernel"] = tensors["conv_encoder/dense/kernel"].T
    before = [v.numpy() for v in network.variables]
    with pytest.raises(CheckpointError, match="4 tensors do not fit") as caught:
        restore.assign(network, wrong)
    text = str(caught.value)
    assert "missing initial_dense/dense/bias" in text
    assert "extra stranger" in text
    assert "misshapen dense/kernel: (32, 7), expected (32, 128)" in text
    assert "misshapen conv_encoder/dense/kernel: (32, 40), expected (40, 32)" in text
    for old, variable in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["dense/kernel", "other/dense/kernel"], "dense/kernel and other/dense/kernel"),
        (["dense/kernel", "model_iter_0/dense/kernel"], "holds 2 networks .*metagraph"),
    ],
)
def test_two_tensors_for_one_variable(names, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        ordered(names)


def changed(shapes, **changes):
    """Shapes with some replaced, or dropped where the new one is None."""
    table = {**shapes, **{k.replace("__", "/"): v for k, v in changes.items()}}
    return {name: shape for name, shape in table.items() if shape is not None}


NORM = "improved_tdcn/conv_block_0/tdcn_block/normact1/instance_norm/gamma"
KERNEL = (
    "improved_tdcn/conv_block_0/tdcn_block/timeconv/separable_conv/depthwise_kernel"
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"conv_encoder/dense/kernel": None}, "lacks conv_encoder.*or layer_norm_on"),
        (
            {"dense/kernel": None, KERNEL: None},
            "lacks dense/kernel, improved_tdcn/conv",
        ),
        ({"initial_dense/dense/kernel": (33, 32)}, "33 rows and dense/kernel 128 col"),
        ({"dense/kernel": (32, 130)}, "32 rows and dense/kernel 130 columns"),
        ({KERNEL: (4, 1, 64, 1)}, "4 frames, an even number"),
        ({NORM: None}, "has the norms none; expected one of instance_norm"),
        ({NORM: None, NORM.replace("instance", "odd"): (1,)}, "has the norms odd_norm"),
        (
            {"improved_tdcn/res_dense_0_to_3/dense/kernel": (32, 32)}
            | {"improved_tdcn/res_dense_1_to_4/dense/kernel": (32, 32)},
            "every later one: 1_to_4 are missing or extra",
        ),
        (
            {"improved_tdcn/conv_block_9/tdcn_block/dense1/dense/kernel": (32, 64)},
            "lacks conv_block_6, conv_block_7, conv_block_8",
        ),
    ],
)
def test_tensors_of_another_architecture(tensors, changes, sentence):
    shapes = {key: tensors[name].shape for key, name in ordered(tensors).items()}
    with pytest.raises(CheckpointError, match=sentence):
        derive(changed(shapes, **changes), THREE)


def test_ambiguous_norms_are_never_guessed():
    config = replace(TINY, norm="global_layer_norm")
    shapes = shapes_of(Tdcn(config))
    with pytest.raises(
        CheckpointError, match=r"dcase2020.*; copy inference.meta besid"
    ):
        derive(shapes, Options(num_dilations=2))
    for norm in ("instance_norm", "global_layer_norm"):
        given = Options(num_dilations=2, norm=norm)
        assert derive(shapes, given).norm == norm
        assert derive(shapes, Options(num_dilations=2), Facts(norm=norm)).norm == norm


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_dilations": 8}, "6 blocks make no whole repeats of 8 dilations; give"),
        ({"num_dilations": 4}, "6 blocks make no whole repeats of 4"),
        ({"num_dilations": 0}, "no whole repeats of 0"),
        ({"window_samples": 64}, "window_samples is 64, but the basis has 40"),
        ({"hop_samples": 41}, "hop_samples is 41, but a window has 40"),
        ({"hop_samples": -1}, "hop_samples is -1"),
        ({"mixture_consistency": "magsq"}, "is magsq, but the checkpoint has mix_w"),
        ({"mixture_consistency": "other"}, "'other'; expected one of pred_source"),
        ({"window_samples": 0}, "window_samples is 0, but the basis has 40"),
        ({"hop_samples": 0}, "hop_samples is 0, but a window has 40"),
        ({"norm": "other"}, "'other'; expected one of instance_norm"),
        ({"norm": "layer_norm"}, "is layer_norm, but .* instance_norm; leave it out"),
    ],
)
def test_options_that_do_not_fit(tensors, options, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        restore.architecture(tensors, Options(**{"num_dilations": 3} | options))


def test_options_go_their_way(unpack, tensors):
    shape = restore.architecture(tensors, replace(THREE, hop_samples=10))
    assert (shape.hop_samples, shape.num_dilations) == (10, 3)
    folder, _ = unpack("variant_stft")
    settings = {"num_dilations": 3, "window_samples": 400, "front_padding": True}
    shape = restore.restore(folder, sample_rate=8000, **settings)[0].config
    assert (shape.window_samples, shape.hop_samples) == (400, 100)
    assert (shape.front_padding, shape.sample_rate) == (True, 8000)
    with pytest.raises(CheckpointError, match="is 256, but the transform has 512"):
        restore.restore(folder, num_dilations=3, window_samples=256)[0]


def test_skip_connections_settle_the_dilations(unpack):
    folder, pairs = unpack("skips_magsq", "inference.meta")
    network = restore.restore(folder, mixture_consistency="magsq", hop_samples=16)[0]
    assert (network.config.num_dilations, network.config.num_repeats) == (2, 2)
    for mixture, expected in pairs:
        np.testing.assert_allclose(network(mixture), expected, atol=1e-5)
    with pytest.raises(CheckpointError, match="repeats of 2 blocks; leave it out"):
        restore.restore(folder, num_dilations=4)[0]


def test_missing_weights_for_the_consistency_are_reported_once(unpack, caplog):
    folder, _ = unpack("variant_none")
    with caplog.at_level(logging.WARNING):
        network = restore.restore(folder, num_dilations=3)[0]
    assert network.config.mixture_consistency == "none"
    assert [r.message.split(",")[0] for r in caplog.records] == [
        "mixture consistency: none"
    ]
    caplog.clear()
    for kind in ("magsq", "uniform", "none"):
        network = restore.restore(folder, num_dilations=3, mixture_consistency=kind)[0]
        assert network.config.mixture_consistency == kind
    assert not caplog.records
    with pytest.raises(CheckpointError, match="pred_source, but the checkpoint lacks"):
        restore.restore(folder, num_dilations=3, mixture_consistency="pred_source")[0]


def test_folder_without_checkpoint_file_takes_the_latest_step(copy, tensors):
    assert tf1.read(copy, names.SLOTS).keys() == tensors.keys()
    for step in (9, 10):
        for file in SMALL.glob("model.ckpt*"):
            shutil.copy(file, copy / file.name.replace("ckpt", f"ckpt-{step}"))
    assert locate(copy).name == "model.ckpt-10"
    (copy / "checkpoint").write_text('model_checkpoint_path: "/gone/model.ckpt-9"\n')
    assert locate(copy).name == "model.ckpt-9"
    (copy / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-8"\n')
    assert locate(copy).name == "model.ckpt-10"
    assert locate(copy / "model.ckpt.index") == copy / "model.ckpt"


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("left", [0, 100, 0.5, -1])
def test_truncated_checkpoint(copy, part, left):
    broken = copy / f"model.ckpt.{part}"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: int(left * len(whole)) if left == 0.5 else left])
    with pytest.raises(CheckpointError, match="is damaged or incomplete") as caught:
        restore.restore(copy / "model.ckpt", num_dilations=3)[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_missing_file(copy, part):
    (copy / f"model.ckpt.{part}").unlink()
    with pytest.raises(CheckpointError, match=rf"lacks its file model.ckpt.{part}"):
        tf1.read(copy / "model.ckpt", names.SLOTS)


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        tf1.read(tmp_path, names.SLOTS)


def test_weights_of_something_else(tmp_path):
    import tensorflow as tf

    tf.train.Checkpoint(v=tf.Variable([1.0, 2.0])).save(str(tmp_path / "model.ckpt"))
    with pytest.raises(CheckpointError, match=r"no TDCN\+\+ with a learned"):
        restore.restore(tmp_path)[0]


def test_optimizer_is_left_out_or_taken():
    prefix = GOLDEN / "train_small" / "model.ckpt-6"
    assert not [n for n in tf1.read(prefix, names.SLOTS) if "Adam" in n or "step" in n]
    config = restore.restore(prefix, num_dilations=3)[0].config
    model = compiled(replace(FUSS, model=config), replicas=1)
    assert restore.start_from(model, prefix) == 6
    tensors = tf1.read(prefix, names.SLOTS)
    tables = restore.names(model.network), ordered(tensors)
    for key, variable in tables[0].items():
        np.testing.assert_array_equal(
            variable.numpy().ravel(), tensors[tables[1][key]].ravel()
        )
    assert int(model.optimizer.iterations.numpy()) == 6
    moments = [m.numpy() for m in model.optimizer._momentums]
    assert all(np.any(moment) for moment in moments)


def test_weights_alone_begin_a_training_at_step_0(copy, tmp_path):
    network = restore.restore(copy, num_dilations=3)[0]
    run = tmp_path / "run"
    assert convert.main([str(copy), str(run), "--num-dilations", "3"]) == 0
    for output in (copy, run):
        model = compiled(replace(FUSS, model=network.config), replicas=1)
        assert restore.start_from(model, output) == 0
        for one, other in zip(network.variables, model.network.variables, strict=True):
            np.testing.assert_array_equal(one, other)
    other = compiled(replace(FUSS, model=TINY), replicas=1)
    with pytest.raises(CheckpointError, match="do not fit"):
        restore.start_from(other, copy)


def test_a_tilde_is_the_home_folder_in_every_command(
    copy, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["--num-dilations", "3"]
    assert convert.main(["~/model.ckpt", "~/run", *words]) == 0
    assert (tmp_path / "run" / "config.json").exists()
    assert restore.restore("~/model.ckpt", num_dilations=3)[0].config.num_sources == 4
    for model, options in (("~/run", {}), ("~/model.ckpt", {"num_dilations": 3})):
        assert len(mixit.load(model, **options).sources) == 4
    # The model is found; only its evaluation data is missing.
    for model, more in (("~/run", []), ("~/model.ckpt", words)):
        words = ["--model", model, "--data", str(tmp_path / "none"), *more]
        assert evaluate.main(words) == 1
        assert "none" in capsys.readouterr().err
    assert evaluate._scores_path(
        evaluate._parser().parse_args(["--model", "~/run"]), "eval"
    ) == (tmp_path / "run" / "evaluation" / "scores.csv")


def test_command_writes_a_run_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    assert convert.main([str(SMALL), str(folder), "--num-dilations", "3"]) == 0
    assert "4 sources" in capsys.readouterr().out
    config = json.loads((folder / "config.json").read_text())
    assert config["model"]["num_dilations"] == 3
    assert convert.main([str(SMALL), str(folder)]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert convert.main([str(SMALL)]) == 1
    assert "name a DEST, or give --check" in capsys.readouterr().err
