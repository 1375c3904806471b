"""Networks trained together: every one of them, to better sound, for every loader."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import unmix
from common import training
from common.config import ConfigError
from common.training.logs import read_scalars
from unmix import convert, end_to_end, weights
from unmix.end_to_end import EndToEnd
from unmix.loss import waveform_loss
from unmix.model import OpenUnmix
from unmix.train import build

TARGETS = ("vocals", "drums")


@pytest.fixture
def joint(config):
    return replace(config, target=TARGETS, end_to_end=True)


def noise(*shape, seed=0):
    draw = np.random.default_rng(seed).standard_normal(shape)
    return tf.constant(0.1 * draw, tf.float32)


@pytest.mark.parametrize("niter", [0, 1])
def test_gradients_reach_every_network(joint, niter):
    networks = {target: OpenUnmix(joint.model) for target in TARGETS}
    model = EndToEnd(networks, replace(joint, niter=niter), 1)
    sources = noise(2, 2, 2, 1500)
    with tf.GradientTape() as tape:
        estimates = model.separate(tf.reduce_sum(sources, axis=1), training=True)
        loss = tf.reduce_sum(waveform_loss(estimates, sources))
    assert estimates.shape == sources.shape
    weights = model.trainable_variables
    assert len(weights) == sum(len(n.trainable_variables) for n in networks.values())
    for variable, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        # The normalisation of the batch takes every constant away again.
        if not variable.name.startswith("input_mean"):
            assert np.abs(gradient).max() > 0, variable.name


@pytest.mark.parametrize("targets", [TARGETS, TARGETS[:1]])
@pytest.mark.one_lane
def test_estimates_are_those_of_the_separator(joint, tmp_path, targets):
    keras.utils.set_random_seed(1)
    networks = {target: OpenUnmix(joint.model) for target in targets}
    convert.export(networks, tmp_path / "weights")
    # The last frame covers the end, which the separator would make steady.
    mixture = noise(2, 47 * joint.model.hop_samples)
    estimates = EndToEnd(networks, replace(joint, niter=1), 1).separate(
        mixture[tf.newaxis]
    )[0]
    expected = unmix.load(tmp_path / "weights")(mixture.numpy())
    for target, estimate in zip(targets, estimates, strict=True):
        np.testing.assert_allclose(estimate, expected[target], atol=1e-6)
        assert np.abs(estimate - mixture).max() > 1e-3


@pytest.mark.one_lane
def test_validation_separates_every_sample_in_chunks(joint, monkeypatch):
    keras.utils.set_random_seed(1)
    networks = {target: OpenUnmix(joint.model) for target in TARGETS}
    model = EndToEnd(networks, joint, 1)
    chunk = 12 * joint.model.hop_samples
    monkeypatch.setattr(end_to_end, "CHUNK_FRAMES", 12)
    mixture = noise(1, 2, 3 * chunk + chunk // 2)
    parts = [slice(0, chunk), slice(chunk, 2 * chunk), slice(2 * chunk, None)]
    expected = [model.separate(mixture[..., part]) for part in parts]
    estimates = tf.function(model.separate_in_chunks, autograph=False)(mixture)
    np.testing.assert_allclose(estimates, tf.concat(expected, -1), atol=1e-6)
    short = mixture[..., : chunk // 2]
    np.testing.assert_allclose(
        model.separate_in_chunks(short), model.separate(short), atol=1e-6
    )


@pytest.mark.slow
def test_a_run_lowers_its_loss_and_can_be_loaded(joint):
    schedule = replace(joint.train, steps_per_epoch=10, checkpoint_steps=10)
    model = training.train(replace(joint, train=schedule), build)
    lines = read_scalars(joint.output)
    valid = [line["loss"] for line in lines if line["split"] == "validation"]
    assert valid[1] < valid[0] - 0.3
    separator = unmix.load(joint.output)
    assert separator.sources == TARGETS
    networks = weights.load(joint.output)
    for target in TARGETS:
        for a, b in zip(
            networks[target].variables, model.network[target].variables, strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert np.abs(networks["vocals"].fc3.kernel - networks["drums"].fc3.kernel).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"target": ("vocals", "vocals")},
        {
            "dataset": "aligned",
            "input_file": "mixture.wav",
            "output_file": "bass.wav",
        },
    ],
)
def test_each_target_needs_a_source(joint, music, tmp_path, changes):
    if "dataset" in changes:
        (tmp_path / "train").symlink_to(music / "train")
        (tmp_path / "valid").symlink_to(music / "test")
        changes = {**changes, "data_root": str(tmp_path)}
    with pytest.raises(ConfigError, match="expected as many different names as"):
        build(replace(joint, **changes), tf.distribute.get_strategy())
