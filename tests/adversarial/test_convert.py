"""Checkpoints of the original become run folders; whatever does not fit is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import adversarial
from adversarial import convert, phases
from adversarial.config import ModelConfig
from adversarial.critic import Critic
from adversarial.model import UNet
from common.config import load as load_config
from common.training.checkpoint import CheckpointError

GOLDEN = Path(__file__).parents[1] / "golden" / "adversarial"
ORIGINAL = GOLDEN / "original"
WORDS = "--num-frames", "16", "--num-fft", "64"
SMALL = ModelConfig(num_frames=16, num_fft=64)


def save(prefix, values):
    """Write a checkpoint as the Saver of TensorFlow 1 does."""
    names = sorted(values)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[values[name] for name in names],
    )
    return prefix


def original():
    return convert.tf1.read(ORIGINAL)


def drawn(config, critics=()):
    """Tensors of networks by the original's names, biases too."""
    table = convert.separator_variables(UNet(config))
    for scope in critics:
        table |= convert.critic_variables(Critic(config, scope), scope)
    draw = np.random.default_rng(2)
    return {
        name: (v + 0.1 * draw.standard_normal(v.shape)).numpy()
        for name, v in table.items()
    }


def test_shapes_are_derived():
    restored = convert.load(ORIGINAL, SMALL)
    config = restored.separator.config
    assert (config.num_layers, config.initial_filters) == (2, 4)
    assert (config.disc_filters, config.head) == (3, "relu")
    assert list(restored.critics) == ["acc_disc", "voice_disc"]
    assert not [n for n in restored.tensors if "solver" in n or "/" not in n]


@pytest.mark.parametrize("layers", range(1, 6))
def test_every_number_of_layers(layers, tmp_path):
    config = ModelConfig(num_layers=layers, num_frames=16, num_fft=64)
    small = ModelConfig(
        num_layers=layers, num_frames=16, num_fft=64, initial_filters=3, disc_filters=2
    )
    save(tmp_path / "run-1001", drawn(small, convert.CRITICS))
    restored = convert.load(tmp_path, SMALL)
    assert restored.separator.config.num_layers == config.num_layers
    assert 0 < convert.check(restored) < 1e-5


def test_names_of_the_default_are_those_of_the_original():
    config = ModelConfig()
    table = convert.separator_variables(UNet(config))
    critic = convert.critic_variables(Critic(config), "voice_disc")
    shapes = {name: tuple(v.shape) for name, v in {**table, **critic}.items()}
    assert len(table) == 30
    assert len(critic) == 15
    assert shapes["separator/conv2d/kernel"] == (3, 3, 1, 16)
    assert shapes["separator/conv2d_4/bias"] == (256,)
    assert shapes["separator/conv2d_5/kernel"] == (3, 3, 256, 128)
    assert shapes["separator/conv2d_transpose_3/kernel"] == (2, 2, 16, 32)
    assert shapes["separator/conv2d_10/kernel"] == (1, 1, 17, 1)
    assert shapes["voice_disc/conv2d_5/kernel"] == (4, 2, 256, 256)
    assert shapes["voice_disc/dense/kernel"] == (4096, 32)
    assert shapes["voice_disc/dense_1/kernel"] == (32, 1)


def test_a_run_folder_gives_the_estimates_of_the_original(tmp_path, capsys):
    run = tmp_path / "run"
    words = [str(ORIGINAL / "run-2"), "--output", str(run), *WORDS]
    assert convert.main(words) == 0
    output = capsys.readouterr().out
    assert "2 layers, 4 filters, 2 critics" in output
    assert "run folder of the phase semisup" in output
    golden, network = np.load(GOLDEN / "original.npz"), phases.restore(run)
    estimates = network(tf.math.log1p(golden["mixture"]))
    np.testing.assert_allclose(estimates[:, 1], golden["voice"], atol=1e-6)
    assert load_config(convert.AdversarialConfig, run / "config.json").phases == (
        "semisup"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_separator_of_the_original(caplog):
    options = {"num_frames": 16, "num_fft": 64, "num_hop": 32, "expected_sr": 8000}
    draw = np.random.default_rng(3)
    mixture = (0.1 * draw.standard_normal((1, 3000))).astype(np.float32)
    estimates = {}
    for pad in ("constant", "reflect"):
        for path in (ORIGINAL, ORIGINAL / "run-2"):
            separator = adversarial.load(path, center_pad=pad, **options)
            assert separator.sample_rate == 8000
            estimates[pad] = separator(mixture)["vocals"]
    assert not caplog.records
    assert not np.allclose(estimates["constant"], estimates["reflect"])
    with pytest.raises(CheckpointError, match="whose configuration holds all settings"):
        adversarial.load("mini", num_fft=512)
    with pytest.raises(TypeError, match="unexpected keyword argument 'frames'"):
        adversarial.load(ORIGINAL, frames=16)


def test_a_run_folder_keeps_the_padding(tmp_path):
    run = tmp_path / "run"
    words = [str(ORIGINAL), "--output", str(run), *WORDS, "--center-pad", "reflect"]
    assert convert.main(words) == 0
    assert phases.restore(run).config.center_pad == "reflect"


def test_assumed_settings_are_logged(tmp_path, caplog):
    values = {k: v for k, v in original().items() if k.startswith("separator/")}
    save(tmp_path / "run-1001", values)
    assert convert.main([str(tmp_path), "--check", "--num-hop", "256"]) == 0
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "num_frames=64, num_fft=512, expected_sr=8192, center_pad=constant: the orig"
    )
    caplog.clear()
    adversarial.load(tmp_path, num_frames=16)
    (record,) = caplog.records
    assert record.getMessage().startswith("num_fft=512, num_hop=256, expected_sr=8192")


def test_check_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert convert.main([str(ORIGINAL), "--check", *WORDS]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert 0 < float(last.removeprefix("largest difference ")) < 1e-5
    assert not list(tmp_path.iterdir())


def test_a_supervised_checkpoint_needs_no_number_of_frames(tmp_path):
    values = {k: v for k, v in original().items() if k.startswith("separator/")}
    values["separator_solver/separator/conv2d/bias/Adam"] = np.zeros(4, np.float32)
    values["global_step"] = np.array(1001, np.int64)
    save(tmp_path / "run-1001", values)
    restored = convert.load(tmp_path / "run-1001")
    assert not restored.critics
    assert restored.separator.geometry.input_bins == 278
    assert convert.export(restored, tmp_path / "run").phases == "sup"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("separator/conv2d_3/kernel", None, "missing separator/conv2d_3/kernel"),
        ("voice_disc/dense_1/kernel", None, "missing voice_disc/dense_1/kernel"),
        ("acc_disc/conv2d/kernel", None, "missing acc_disc/conv2d/kernel"),
        ("separator/conv2d_9/bias", np.zeros(1), "extra separator/conv2d_9/bias"),
        ("generator/bias", np.zeros(1), "extra generator/bias"),
        (
            "separator/conv2d_4/bias",
            np.zeros(5),
            r"misshapen separator/conv2d_4/bias: \(5,\), expected \(4,\)",
        ),
        ("separator/conv2d/bias", np.full(4, np.nan), "not finite: separator/conv2d/b"),
    ],
)
def test_tensors_that_do_not_fit_are_named(name, change, message, tmp_path):
    values = original()
    values.pop(name, None)
    if change is not None:
        values[name] = change.astype(np.float32)
    save(tmp_path / "run-2", values)
    with pytest.raises(CheckpointError, match=message):
        convert.load(tmp_path, SMALL)


def test_critics_of_another_size_are_refused_with_the_option():
    message = "dense/kernel has .* expected .*num_frames=64.*--num-frames"
    with pytest.raises(CheckpointError, match=message):
        convert.load(ORIGINAL, ModelConfig(num_fft=64))


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    save(tmp_path / "model", {"dense/kernel": np.ones([2, 3], np.float32)})
    with pytest.raises(CheckpointError, match="no separator of the original; expected"):
        convert.load(tmp_path)


def test_a_difference_is_an_error():
    restored = convert.load(ORIGINAL, SMALL)
    restored.separator.heads[1].bias.assign_add([0.1])
    with pytest.raises(CheckpointError, match="differ from their reference"):
        convert.check(restored)
    restored = convert.load(ORIGINAL, SMALL)
    hidden = restored.critics["acc_disc"].hidden
    hidden.kernel.assign(1.01 * hidden.kernel)
    with pytest.raises(CheckpointError, match="differ from their reference"):
        convert.check(restored)


def test_bad_input_is_reported_in_one_sentence(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert convert.main([str(tmp_path / "none"), "--output", run]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "none is no checkpoint" in line
    (tmp_path / "run").mkdir()
    assert convert.main([str(ORIGINAL), "--output", run, *WORDS]) == 1
    assert "run exists; name a folder that does not" in capsys.readouterr().err
    assert not list((tmp_path / "run").iterdir())


def test_a_damaged_checkpoint_is_refused(tmp_path):
    for file in ORIGINAL.iterdir():
        shutil.copy(file, tmp_path)
    data = tmp_path / "run-2.data-00000-of-00001"
    data.chmod(0o644)
    data.write_bytes(data.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        convert.load(tmp_path, SMALL)
