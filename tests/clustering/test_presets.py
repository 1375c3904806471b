"""Every preset learns, and says what its paper states."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from clustering.config import ClusteringConfig
from clustering.losses import objective
from clustering.models.network import network
from clustering.models.shapes import Recurrent
from clustering.presets import PRESETS
from clustering.train import ClusteringTraining
from common.signal.stft import stft
from common.training.optimizer import optimizer

STEPS = 20
FALL, FALL_DB = 0.05, 2.0
"""How much of its first value a loss loses in these steps, and how many dB."""
SLOWER = {"mask_inference": 0.02, "chimera_music": 0.004}
"""Those whose steps of 2e-4 take longer: masks at full level, and 513 bins by mel."""
SLOW = {
    *("conv_tasnet", "asteroid_wham_convtasnet", "chimera_music", "chimera_paper"),
    *("nussl_wham_mi", "nussl_wham_chimera", "autoclip_dc", "autoclip_mi"),
    *("autoclip_mi_wkm", "tiny_mask_inference", "tiny_chimera", "tiny_tasnet"),
    *("dpcl", "nussl_wham_dpcl", "cookiecutter_wham_dpcl", "cookiecutter_wham_mi"),
    *("cookiecutter_speech_commands",),
}
"""Those that take longest, or repeat a loss at another rate."""
UNUSED = ("train", "cluster", "dataset", "sources", "mixing", "resample")
"""Keys that a step on a batch does not depend on."""

# Deep clustering 1508.04306 (dpcl_paper), ICASSP 2018 (chimera_paper), ICASSP 2017
# (chimera_music), AutoClip 2007.14469, Conv-TasNet 1809.07454.
PAPERS = {
    "dpcl_paper": {
        "spectral.recurrent.hidden": 600,
        "spectral.recurrent.layers": 2,
        "spectral.embedding": 40,
        "segment_samples": 100 * 64,
        "optimizer": "sgd",
        "lr": 1e-5,
        "cluster.within_db": 40.0,
    },
    "chimera_paper": {
        "spectral.recurrent.hidden": 600,
        "spectral.recurrent.layers": 4,
        "spectral.embedding": 20,
        "segment_samples": 400 * 64,
        "loss.clustering": 0.975,
    },
    "chimera_music": {
        "spectral.recurrent.hidden": 500,
        "spectral.recurrent.layers": 4,
        "spectral.embedding": 20,
    },
    "autoclip_dc": {
        "clip_percentile": 10.0,
        "lr": 1e-3,
        "batch_size": 25,
        "train.epochs": 100,
    },
    "autoclip_mi_wkm": {"loss.clustering_kind": "whitened", "loss.inference": 0.75},
    "autoclip_snr": {"segment_samples": 25536, "loss.inference_kind": "snr"},
    "conv_tasnet": {
        "conv_tasnet.filterbank.filters": 512,
        "conv_tasnet.filterbank.size": 16,
        "conv_tasnet.bottleneck": 128,
        "conv_tasnet.hidden": 512,
        "conv_tasnet.blocks": 8,
        "conv_tasnet.repeats": 3,
    },
}


def small(config):
    """The same loss, optimizer, rate and clipping on a network of few units."""
    stack = {"hidden": 16, "layers": 1, "dropout": 0.0}
    spectral, conv = config.spectral, config.conv_tasnet
    usual = ClusteringConfig()
    return replace(
        config,
        spectral=replace(spectral, recurrent=replace(spectral.recurrent, **stack)),
        tasnet=replace(
            config.tasnet,
            filterbank=replace(config.tasnet.filterbank, filters=32),
            recurrent=Recurrent(16, 1, dropout=0.0, forget_bias=None),
        ),
        conv_tasnet=replace(
            conv,
            filterbank=replace(conv.filterbank, filters=32),
            **dict.fromkeys(("bottleneck", "hidden", "skip"), 16),
            blocks=2,
            repeats=1,
        ),
        **{name: getattr(usual, name) for name in UNUSED},
    )


def tones(config):
    """Two examples of two sources in bands of their own, 24 frames long."""
    time = np.arange(24 * config.hop_samples) / config.sample_rate
    draw = np.random.default_rng(0)
    bands = [draw.uniform(low, high, [2, 4, 1]) for low, high in LIMITS]
    waves = [np.sin(2 * np.pi * band * time).sum(1) for band in bands]
    noise = 1e-4 * draw.standard_normal([2, 2, len(time)])
    sources = tf.constant(0.05 * np.stack(waves, 1) + noise, tf.float32)
    return {"mixture": tf.reduce_sum(sources, 1), "sources": sources}


LIMITS = (300, 900), (1500, 3000)


def test_spectra_of_nussl_before_1_0():
    config = replace(PRESETS["seed001"], window_samples=32, hop_samples=8)
    chirp = np.sin(np.arange(100) ** 2 / 90.0).astype(np.float32)
    # By e_stft of that release, without its first frame.
    expected = [
        [2.486585, 0.514727, 0.005959],
        [0.126499, 2.449124, 0.069803],
        [0.458639, 0.490606, 1.540492],
    ]
    magnitude = np.abs(stft(chirp, config.stft))[[0, 5, 13]]
    np.testing.assert_allclose(magnitude[:, [0, 3, 9]], expected, atol=2e-6)


@functools.cache  # Some presets differ in their corpora alone.
def losses_of(config):
    """Loss of one batch, before each of some steps on it."""
    keras.utils.set_random_seed(0)
    model = ClusteringTraining(network(config, 2), config, 1)
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(model.network.trainable_variables)
    step = tf.function(model.train_step, autograph=False)
    batch, actual = tones(config), []
    for _ in range(STEPS):
        model.means["loss"].reset_state()
        actual.append(float(step(batch)["loss"]))
    return actual


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in PRESETS
    ],
)
def test_some_steps_lower_the_loss(name):
    first, *_, last = losses_of(small(PRESETS[name]))
    if PRESETS[name].loss.inference_kind in objective.RATIOS:
        assert last < first - FALL_DB
    else:
        assert last < (1 - SLOWER.get(name, FALL)) * first


@pytest.mark.parametrize("name", PAPERS)
def test_numbers_are_those_of_the_paper(name):
    for key, expected in PAPERS[name].items():
        value = functools.reduce(getattr, key.split("."), PRESETS[name])
        assert value == expected, key
