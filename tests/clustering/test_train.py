"""Every kind of network trains, separates and is scored by the same commands."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering import data, evaluate, separate, weights
from clustering.losses import objective
from clustering.models.network import network
from clustering.presets import PRESETS
from clustering.train import build, main
from common import training
from common.config import ConfigError
from common.corpora.track import CorpusError
from common.signal.stft import stft

CLIPPING = ({}, {"clip_norm": 1e-3}, {"clip_percentile": 10.0})
KINDS = ("dpcl", "mask_inference", "chimera", "tasnet", "conv_tasnet")


# Presets train those that are slow, and the battery separates with them.
SLOW = ("mask_inference", "tasnet")
MARKS = {"chimera": ()} | dict.fromkeys(SLOW, pytest.mark.slow)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=MARKS.get(k, pytest.mark.one_lane)) for k in KINDS],
)
def test_every_kind_trains_separates_and_is_scored(config, kind, capsys):
    config = replace(config, kind=kind)
    training.train(config, build)
    assert evaluate.main([config.output]) == 0
    summary = json.loads((Path(config.output) / "evaluation/summary.json").read_text())
    assert summary["all"]["count"] == 4
    assert all(np.isfinite(list(summary["all"].values())))
    assert "| s1 |" in capsys.readouterr().out
    separator = separate.load(config.output)
    for samples in (1, 63, 1234):
        sound = np.random.default_rng(0).standard_normal([2, samples])
        for estimate in separator(0.1 * sound.astype(np.float32)).values():
            assert estimate.shape == (2, samples)
            assert np.isfinite(estimate).all()


def test_the_terms_of_a_chimera_add_up(config):
    config = replace(config, kind="chimera", loss=replace(config.loss, inference=3.0))
    split = data.load(config).train
    example = data.training_example(config, split)(tf.constant(0, tf.int64))
    prepared = objective.prepare(config, {k: v[tf.newaxis] for k, v in example.items()})
    actual = objective.losses(config, prepared, network(config)(prepared.input))
    expected = actual["clustering"] + 3.0 * actual["inference"]
    np.testing.assert_allclose(actual["loss"], expected, rtol=1e-6)
    assert objective.terms(config) == ("clustering", "inference")


@pytest.mark.parametrize("clipping", CLIPPING)
@pytest.mark.one_lane
def test_every_clipping_takes_steps_without_a_term_of_weight_zero(
    config, clipping, monkeypatch
):
    loss = replace(config.loss, inference=0.0)
    config = replace(config, kind="chimera", loss=loss, **clipping)
    monkeypatch.setattr(objective, "_inference", lambda *_: 1 / 0)
    model = training.train(config, build)
    lines = (Path(config.output) / "scalars.jsonl").read_text("utf-8").splitlines()
    last = json.loads(lines[-1])
    assert np.isfinite(last["loss"])
    assert "inference" not in last
    assert model.optimizer.iterations.numpy() == 4


@pytest.mark.parametrize(
    ("kind", "weights", "sentence"),
    [
        (
            "chimera",
            (0.0, 0.0),
            "loss.inference=0: expected no weight below 0, and one",
        ),
        ("chimera", (1.0, -1.0), "loss.clustering=1, loss.inference=-1: expected"),
        ("dpcl", (0.0, 1.0), "loss.clustering=0: expected .* above for dpcl"),
        ("tasnet", (1.0, 0.0), "loss.inference=0: expected .* above for tasnet"),
    ],
)
def test_weights_of_which_none_counts_are_reported_in_one_sentence(
    config, kind, weights, sentence
):
    loss = replace(config.loss, clustering=weights[0], inference=weights[1])
    with pytest.raises(ConfigError, match=sentence):
        training.train(replace(config, kind=kind, loss=loss), build)


def test_estimates_that_are_the_targets_cost_nothing(config):
    config = replace(config, kind="mask_inference")
    split = data.load(config).train
    example = data.training_example(config, split)(tf.constant(0, tf.int64))
    prepared = objective.prepare(config, {k: v[tf.newaxis] for k, v in example.items()})
    masks = tf.math.divide_no_nan(prepared.targets, prepared.input[:, tf.newaxis])
    assert float(objective.losses(config, prepared, masks[:, ::-1])["loss"][0]) < 1e-6


def noisy(count=3):
    """Sources and noise as a batch, and the spectra of the sources and the mixture."""
    waves = np.random.default_rng(0).standard_normal([1, count + 1, 800])
    waves = waves.astype(np.float32)
    batch = {"mixture": tf.constant(waves.sum(1)), "sources": waves[:, :count]}
    return {name: tf.constant(wave) for name, wave in batch.items()}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("msa", lambda s, x: np.abs(s)),
        ("irm", lambda s, x: np.abs(x) * np.abs(s) / np.abs(s).sum(1, keepdims=True)),
        ("psa", lambda s, x: (s * x.conj() / np.abs(x)).real.clip(0, np.abs(x))),
        ("psa_untruncated", lambda s, x: (s * x.conj() / np.abs(x)).real),
    ],
)
def test_masks_learn_the_configured_target(config, target, expected):
    config = replace(config, loss=replace(config.loss, target=target))
    batch = noisy()
    sources, mixture = (
        stft(batch[k], config.stft).numpy() for k in ("sources", "mixture")
    )
    actual = objective.prepare(config, batch).targets
    goal = expected(sources, mixture[:, np.newaxis])
    np.testing.assert_allclose(actual, goal, atol=2e-4 * np.abs(goal).max())


def test_a_ratio_compares_the_waveforms_of_masked_mixtures(config):
    loss = replace(config.loss, inference_kind="snr")
    config = replace(config, kind="mask_inference", loss=loss)
    batch = {k: v - tf.reduce_mean(v, -1, keepdims=True) for k, v in noisy(2).items()}
    prepared = objective.prepare(config, batch)
    masks = tf.stack(
        [0.7 * tf.ones_like(prepared.input), 0.2 * tf.ones_like(prepared.input)], 1
    )
    actual = objective.losses(config, prepared, masks)["loss"]
    mixture, sources = (batch[name].numpy() for name in ("mixture", "sources"))
    error = [
        10 * np.log10(np.square(s).sum() / np.square(s - g * mixture[0]).sum())
        for order in ((0.7, 0.2), (0.2, 0.7))
        for s, g in zip(sources[0], order, strict=True)
    ]
    best = max(np.mean(error[:2]), np.mean(error[2:]))
    np.testing.assert_allclose(actual, [-best], rtol=1e-4)


def test_points_below_the_configured_level_have_no_weight(config):
    batch = noisy(2)

    def change(threshold):
        loss = replace(config.loss, weights=("threshold",), threshold_db=threshold)
        chosen = replace(config, kind="dpcl", loss=loss)
        prepared = objective.prepare(chosen, batch)
        level = 20 * np.log10(prepared.input / tf.reduce_max(prepared.input))
        size = [np.prod(level.shape), 4]
        one = np.random.default_rng(1).standard_normal([1, *size]).astype(np.float32)
        other = np.where(level.reshape(1, -1, 1) < -10, -one, one)
        values = [
            objective.losses(chosen, prepared, tf.math.l2_normalize(each, -1))
            for each in (one, other)
        ]
        return abs(float(values[0]["loss"][0] - values[1]["loss"][0]))

    assert change(-10.0) == 0.0
    assert change(-20.0) > 1e-3


def test_the_plateau_and_the_stop_follow_the_configuration(config):
    config = replace(config, lr_decay_patience=7, lr_decay_gamma=0.4, patience=9)
    actual = build(config, tf.distribute.get_strategy()).callbacks(0)
    plateau = actual["plateau"]
    assert (plateau._patience, plateau._factor, plateau._cooldown) == (7, 0.4, 0)
    assert actual["early_stopping"]._patience == 9
    cosine = replace(config, train=replace(config.train, lr_schedule="cosine"))
    job = build(cosine, tf.distribute.get_strategy())
    assert set(job.callbacks(0)) == {"early_stopping"}


@pytest.mark.parametrize("target", ["psa", "psa_untruncated", "msa", "irm"])
def test_embeddings_learn_the_loudest_source_whatever_the_mask_learns(config, target):
    """Three sources and noise, of which truncated targets are equal in many bins."""
    config = replace(config, kind="dpcl", loss=replace(config.loss, target=target))
    batch = noisy()
    prepared = objective.prepare(config, batch)
    magnitudes = np.abs(stft(batch["sources"], config.stft))
    loudest = np.eye(3)[magnitudes.argmax(1).reshape(1, -1)]
    ideal = tf.constant(loudest, tf.float32)
    assert float(objective.losses(config, prepared, ideal)["clustering"][0]) < 1e-6


def test_a_gradient_is_limited_by_percentile_and_by_norm(config):
    config = replace(config, clip_percentile=100.0, clip_norm=0.5)
    model = build(config, tf.distribute.get_strategy()).model
    clipped, norm = model._clipped([tf.constant([3.0, 4.0])])
    np.testing.assert_allclose(clipped[0], [0.3, 0.4], rtol=1e-6)
    assert float(norm) == 5.0


def test_bins_that_are_not_those_of_the_window_are_refused(config):
    wide = replace(config, window_samples=128)
    with pytest.raises(ConfigError, match=r"spectral\.features\.bins=33; expected 65"):
        network(wide, 2)
    waves = replace(wide, kind="tasnet", tasnet=PRESETS["tasnet"].tasnet)
    assert network(waves, 2).count_params()


def test_more_sources_than_masks_is_reported_in_one_sentence(config):
    with pytest.raises(ConfigError, match=r"spectral\.sources=2; expected 3"):
        network(replace(config, kind="chimera"), 3)


def test_a_run_starts_from_the_weights_of_another_model(config):
    theirs = weights.restore("speech2")
    config = replace(config, kind="conv_tasnet", initial="speech2")
    like = replace(config, conv_tasnet=theirs.config.conv_tasnet)
    net = network(like)
    weights.start_from(net, like)
    for own, other in zip(net.variables, theirs.net.variables, strict=True):
        np.testing.assert_array_equal(own, other)
    with pytest.raises(
        ConfigError,
        match=r"conv_tasnet.bottleneck=96, .* expected .* 8, .*; set the same",
    ):
        weights.start_from(network(config), config)
    sentence = "initial=speech2 has kind=conv_tasnet, expected dpcl; set the same"
    with pytest.raises(ConfigError, match=sentence):
        weights.start_from(
            network(replace(config, kind="dpcl")), replace(config, kind="dpcl")
        )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"segment_seconds": 0.0}, "0.0 s at sample_rate=8000 is too short"),
        ({"segment_seconds": -1.0}, "an excerpt of -1.0 s"),
        ({"segment_seconds": float("inf")}, "an excerpt of inf s; expected a finite"),
        ({"clip_norm": float("inf")}, "clip_norm=inf: expected 0 for no limit"),
        ({"curriculum": ((0, 1e-5), (1, 0.1))}, "an excerpt of 1e-05 s"),
        ({"frontend": "asteroid", "segment_seconds": 0.005}, "at least 64 samples"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0: expected 0 for no limit"),
        ({"clip_percentile": 101.0}, "clip_percentile=101.0: expected none or 0 to"),
    ],
)
def test_values_that_no_training_can_use_are_refused(config, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        replace(config, **change)


def test_a_missing_root_is_reported_in_one_sentence(config):
    with pytest.raises(CorpusError, match="wsj0_2mix: the root /nowhere does not"):
        data.load(replace(config, data_root="/nowhere"))
    with pytest.raises(CorpusError, match=r"test_train.py is a file, not a folder"):
        data.load(replace(config, data_root=__file__))


def test_excerpts_are_functions_of_their_position(config):
    split = data.load(config).train
    make = data.training_example(config, split)
    first, again, other = (make(tf.constant(p, tf.int64)) for p in (5, 5, 6))
    np.testing.assert_array_equal(first["sources"], again["sources"])
    assert np.abs(first["mixture"] - other["mixture"]).max() > 0
    np.testing.assert_allclose(
        first["mixture"], tf.reduce_sum(first["sources"], 0), atol=1e-7
    )


def test_random_mixtures_have_the_levels_asked_for(config):
    config = replace(config, mixing="random", snr_db=(-6.0, -6.0))
    make = data.training_example(config, data.load(config).train)
    sources = [make(tf.constant(p, tf.int64))["sources"].numpy() for p in range(5)]
    power = np.square(sources).mean(axis=2)
    assert power.max(axis=1).min() > 0
    both = power[power.min(axis=1) > 0.01 * power.max(axis=1)]
    assert len(both) >= 3
    np.testing.assert_allclose(10 * np.log10(both[:, 1] / both[:, 0]), -6.0, atol=1e-3)


@pytest.mark.parametrize("mixing", ["tracks", "random"])
def test_only_sources_of_different_tracks_begin_at_different_times(
    config, mixing, monkeypatch
):
    config = replace(config, mixing=mixing)
    monkeypatch.setattr(data, "_mix", lambda _, rows, starts, *__: {"starts": starts})
    make = data.training_example(config, data.load(config).train)
    starts = np.stack([make(tf.constant(p, tf.int64))["starts"] for p in range(9)])
    assert len(np.unique(starts)) == (18 if mixing == "random" else 9)


def test_an_empty_batch_and_a_negative_rate_are_refused(config):
    with pytest.raises(ConfigError, match=r"^batch_size=0: expected at least 1$"):
        build(replace(config, batch_size=0), tf.distribute.get_strategy())
    with pytest.raises(ConfigError, match=r"^lr=-1: expected at least 0$"):
        build(replace(config, lr=-1.0), tf.distribute.get_strategy())


def test_the_validation_takes_the_middle_of_every_track(config):
    split = data.load(config).valid
    whole = replace(config, segment_seconds=float(split.lengths.max()) / 8000)
    for position, length in enumerate(split.lengths):
        at = tf.constant(position, tf.int64)
        track, middle = (
            data.validation_example(each, split)(at)["mixture"]
            for each in (whole, config)
        )
        start = (length - config.segment_samples + 1) // 2
        np.testing.assert_array_equal(middle, track[start : start + len(middle)])


def test_tracks_shorter_than_an_excerpt_end_with_silence(config):
    config = replace(config, segment_seconds=30.0)
    split = data.load(config).train
    example = data.training_example(config, split)(tf.constant(0, tf.int64))
    assert example["mixture"].shape == (240_000,)
    assert not example["mixture"][-1000:].numpy().any()
    assert example["mixture"][:1000].numpy().any()


@pytest.mark.parametrize("preset", [each for each in PRESETS if each[:4] != "tiny"])
def test_a_published_preset_without_a_root_is_refused(preset, tmp_path, capsys):
    assert main(["with", preset, f"output={tmp_path / 'run'}"]) == 1
    printed = capsys.readouterr().err
    assert "data_root is not set" in printed
    assert "WSJ0_2MIX_ROOT_DIR" in printed
    assert re.search("'with (tiny[a-z_]*)'", printed)[1] in PRESETS
    assert not (tmp_path / "run").exists()
