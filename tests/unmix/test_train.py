"""Runs take the original's steps, and end when they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import unmix
from common import audio, training
from common.config import ConfigError, load, save
from common.training.checkpoint import save_network
from common.training.logs import read_scalars
from common.training.optimizer import optimizer
from common.training.run_folder import RunFolderError
from unmix import data, statistics, weights
from unmix import train as unmix_train
from unmix.config import UMX, Network, UnmixConfig
from unmix.model import OpenUnmix
from unmix.openunmix import original_folder
from unmix.openunmix.original_flags import translate_flags
from unmix.train import UnmixTraining, build, main

GOLDEN = Path(__file__).parents[1] / "golden" / "unmix" / "five_steps.npz"


def test_five_steps_of_the_original_through_the_training_itself():
    golden = np.load(GOLDEN)
    model = Network(8000, 128, 32, 2, 16, 3, True, 3200.0, 0.0)
    network = OpenUnmix(model)
    start = {
        name.removeprefix("bi/init/"): golden[name]
        for name in golden.files
        if name.startswith("bi/init/")
    }
    original_folder.assign(network, start, "golden")
    trainer = UnmixTraining(network, replace(UMX, model=model), 1)
    trainer.compile(optimizer("adam", 1e-3, 1e-5))
    mixture, target = map(tf.constant, (golden["x"], golden["y"]))
    batch = {"mixture": mixture, "sources": target[:, tf.newaxis]}
    data = tf.data.Dataset.from_tensors(batch).repeat()
    losses = []
    remember = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append(logs["loss"])
    )
    trainer.fit(data, epochs=5, steps_per_epoch=1, verbose=0, callbacks=[remember])
    np.testing.assert_allclose(losses, golden["bi/losses"], atol=1e-6)


def test_mono_is_the_mean_of_the_magnitudes_of_the_channels():
    mono, stereo = (
        UnmixTraining(None, replace(UMX, model=replace(UMX.model, channels=count)), 1)
        for count in (1, 2)
    )
    wave = tf.random.stateless_normal([1, 2, 9000], [1, 2])
    expected = tf.reduce_mean(stereo.magnitude(wave), axis=1, keepdims=True)
    np.testing.assert_array_equal(mono.magnitude(wave), expected)


def test_the_plateau_and_the_stop_follow_the_configuration(config):
    config = replace(config, lr_decay_patience=7, lr_decay_gamma=0.4, patience=9)
    job = build(config, tf.distribute.get_strategy())
    actual = job.callbacks(0)
    assert (actual["plateau"]._patience, actual["plateau"]._factor) == (7, 0.4)
    assert actual["early_stopping"]._patience == 9
    cosine = replace(config, train=replace(config.train, lr_schedule="cosine"))
    job = build(cosine, tf.distribute.get_strategy())
    assert set(job.callbacks(0)) == {"early_stopping"}


def test_networks_begin_with_statistics_or_with_the_weights_of_a_run(config, tmp_path):
    strategy = tf.distribute.get_strategy()
    job = build(config, strategy)
    job.start()
    mean, deviation = statistics.statistics(config, data.load(config).train)
    network = job.model.network
    bins = network.input_bins
    np.testing.assert_allclose(network.input_mean, -mean[:bins], rtol=1e-5)
    np.testing.assert_allclose(network.input_scale, 1 / deviation[:bins], rtol=1e-5)
    job = build(replace(config, initial=str(tmp_path)), strategy)
    other = OpenUnmix(config.model)
    save_network(tmp_path, other)
    save(config, tmp_path / "config.json")
    job.start()
    ours, theirs = map(original_folder.variables, (job.model.network, other))
    for name, variable in ours.items():
        np.testing.assert_array_equal(variable, theirs[name], err_msg=name)


@pytest.mark.one_lane
def test_an_early_stop_is_final(config, capsys):
    schedule = replace(config.train, epochs=9)
    model = replace(config.model, layers=1, dropout=0.0)
    config = replace(config, model=model)
    short = replace(config, train=schedule, lr=0.0, weight_decay=0.0, patience=1)
    assert int(training.train(short, build).optimizer.iterations.numpy()) == 6
    capsys.readouterr()
    before = read_scalars(short.output)
    again = training.train(short, build)
    assert int(again.optimizer.iterations.numpy()) == 6
    assert read_scalars(short.output) == before
    assert "stopped early" in capsys.readouterr().out
    longer = replace(short, train=replace(schedule, epochs=20))
    assert int(training.train(longer, build).optimizer.iterations.numpy()) == 6
    with pytest.raises(RunFolderError, match="patience=1, now patience=3"):
        training.train(replace(short, patience=3), build)


@pytest.mark.slow
def test_two_targets_in_one_command_have_a_folder_each(config, tmp_path):
    shape = [f"model.{key}={value}" for key, value in vars(config.model).items()]
    schedule = ["epochs=1", "steps_per_epoch=2", "segment_seconds=0.5", "batch_size=2"]
    rest = ["--targets", "drums", "vocals", "--root", config.data_root]
    output = tmp_path / "both"
    assert main(["with", "tiny", *shape, *schedule, *rest, f"output={output}"]) == 0
    assert {path.parent.name for path in output.glob("*/config.json")} >= {
        "drums",
        "vocals",
    }
    separator = unmix.load(output)
    assert separator.sources == ("vocals", "drums")
    estimates = separator(np.ones([2, 1000], np.float32))
    assert estimates["drums"].shape == (2, 1000)


@pytest.mark.one_lane
def test_umxse_starts_from_speech_and_noise(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        for source in ("speech", "noise"):
            wave = 0.1 * rng.standard_normal([1, 16000]).astype(np.float32)
            path = tmp_path / "data" / split / source / "1.wav"
            path.parent.mkdir(parents=True)
            audio.write(path, wave, 16000)
    output = tmp_path / "run"
    words = ["with", "umxse", f"root={tmp_path / 'data'}", f"output={output}"]
    few = ["train.epochs=1", "nb_train_samples=1", "nb_valid_samples=1", "batch_size=1"]
    assert main([*words, *few, "segment_seconds=0.5", "model.hidden_size=8"]) == 0
    assert "trained 1 steps for speech" in capsys.readouterr().out
    assert unmix.load(output).sources[0] == "speech"
    assert main([*words[:3], "target=speech,noise"]) == 1
    assert (
        "target=speech,noise names 2 targets, but dataset=sourcefolder has one, which "
        "target_dir names; set target= to one name, such as target=speech"
    ) in capsys.readouterr().err
    assert main(["with", "tiny", "dataset=trackfolder_fix", "target_file="]) == 1
    assert "target_file names; set target= to one name" in capsys.readouterr().err
    assert main(words[:2]) == 1
    assert (
        "data_root is not set; dataset=sourcefolder needs it" in capsys.readouterr().err
    )


FOLDER_FLAGS = {
    "aligned": ["--input-file", "noisy.wav", "--output-file", "speech.wav"],
    "sourcefolder": ["--target-dir", "near/speech", "--interferer-dirs", "noise"],
    "trackfolder_fix": ["--target-file", "speech.wav", "--interferer-files", "n.wav"],
}


@pytest.mark.parametrize("dataset", FOLDER_FLAGS)
def test_the_target_of_a_folder_layout_names_its_network(
    tmp_path, monkeypatch, dataset
):
    trained = []

    def train(config, build):
        trained.append(config.target)
        save_network(Path(config.output), OpenUnmix(config.model))
        save(config, Path(config.output) / "config.json")
        return SimpleNamespace(optimizer=SimpleNamespace(iterations=tf.constant(1)))

    monkeypatch.setattr(training, "train", train)
    output = tmp_path / "run"
    small = ["model.hidden_size=2", "model.layers=1", "model.window_samples=64"]
    words = [*FOLDER_FLAGS[dataset], f"dataset={dataset}", f"output={output}"]
    words = ["with", "umx", *small, f"root={tmp_path}", *words]
    assert main(words) == main(words) == 0
    assert list(weights.load(output)) == ["speech"]
    # A run of an earlier release resumes under the name that it has.
    saved = load(UnmixConfig, output / "config.json")
    save(replace(saved, target=("vocals",)), output / "config.json")
    assert main(words) == 0
    assert list(weights.load(output)) == ["vocals"]
    assert trained == [("speech",), ("speech",), ("vocals",)]


@pytest.mark.parametrize("flag", [["--nb-workers", "4"], ["--nb_workers=4"]])
def test_a_flag_without_effect_takes_its_value_along_and_no_more(flag, capsys):
    assert translate_flags([*flag, "--epochs", "3"]) == ["--epochs", "3"]
    assert f"{flag[0].split('=')[0]} has no effect" in capsys.readouterr().out


def test_a_quiet_run_prints_nothing(capsys, monkeypatch):
    hidden = []
    monkeypatch.setattr(unmix_train, "hide_gpus", lambda: hidden.append(True))
    assert main(["--help"]) == 0
    assert "usage" in capsys.readouterr().out.lower()
    assert not hidden
    assert main(["--help", "--quiet", "--no-cuda"]) == 0
    assert not capsys.readouterr().out
    assert hidden == [True]


def test_a_flag_that_means_something_else_is_refused():
    with pytest.raises(ConfigError, match=r"^--debug is refused: .* use --check"):
        translate_flags(["--epochs", "3", "--debug"])


@pytest.mark.parametrize("key", ["batch_size", "samples_per_track", "nb_valid_samples"])
def test_numbers_of_excerpts_below_one_are_refused(config, key):
    with pytest.raises(ConfigError, match=rf"^{key}=0: expected at least 1$"):
        build(replace(config, **{key: 0}), tf.distribute.get_strategy())
