"""Presets are the published rows, and each makes a network that has a loss."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from clustering import objective
from clustering.network import network
from clustering.presets import PRESETS
from clustering.shapes import Recurrent, Tasnet

WHAM = {"dataset": "wham", "sample_rate": 8000}
STACK = {"hidden": 300, "layers": 4, "bidirectional": True, "dropout": 0.3}
LARGE = {**STACK, "hidden": 600}
OLD = {
    **STACK,
    "level": "librosa",
    "norm": "instance",
    "embedding": 20,
    "embedding_activation": ("tanh",),
    "clustering_kind": "batch",
    "weights": ("magnitude",),
    "target": "psa",
    "optimizer": "adam",
    "clip_kind": "none",
    "lr_decay_gamma": 0.5,
    "lr_decay_patience": 5,
}
COOKIE = {
    **OLD,
    "sample_rate": 16000,
    "frame": (512, 128, 257),
    "lr": 2e-4,
    "batch_size": 40,
    "epochs": 100,
    "frames": 400,
    "sources": ("vocals", "drums+bass+other"),
    "percentile": 95.0,
}
COOKIE_WHAM = {
    **OLD,
    **WHAM,
    "frame": (512, 128, 257),
    "lr": 1e-3,
    "batch_size": 20,
    "epochs": 80,
    "frames": 400,
    "percentile": 90.0,
}
NUSSL = {
    **LARGE,
    "sample_rate": 8000,
    "frame": (256, 64, 129),
    "level": "decibels",
    "norm": "batch",
    "embedding": 20,
    "embedding_activation": ("sigmoid", "unit_norm"),
    "mask_activation": ("sigmoid",),
    "target": "msa",
    "weights": ("magnitude",),
    "frames": 400,
    "batch_size": 25,
    "epochs": 100,
    "optimizer": "adam",
    "lr": 1e-3,
    "lr_decay_gamma": 0.5,
    "lr_decay_patience": 5,
}
NUSSL_WHAM = {**NUSSL, **WHAM, "clip_kind": "norm"}
AUTOCLIP = {**NUSSL, "dataset": "wsj0_2mix", "clip_kind": "auto", "clip": 10.0}
ASTEROID = {
    "sample_rate": 8000,
    "seconds": 4.0,
    "lr_decay_gamma": 0.5,
    "lr_decay_patience": 5,
    "patience": 30,
    "clip_kind": "norm",
}

TABLE = {
    "dpcl": {**STACK, "kind": "dpcl", "embedding": 20},
    "mask_inference": {"kind": "mask_inference", "inference": 100.0},
    "chimera": {"kind": "chimera", "inference": 100.0},
    "tasnet": {"kind": "tasnet", "inference_kind": "si_sdr"},
    "conv_tasnet": {"kind": "conv_tasnet", "inference_kind": "si_sdr"},
    "dpcl_paper": {
        "kind": "dpcl",
        "hidden": 600,
        "layers": 2,
        "embedding": 40,
        "frames": 100,
        "sample_rate": 8000,
        "frame": (256, 64, 129),
        "optimizer": "sgd",
        "lr": 1e-5,
        "percentile": 0.0,
        "within_db": 40.0,
        "mask": "binary",
        "embedding_activation": ("tanh", "unit_norm"),
        "weights": ("vad",),
        "target": "psa",
    },
    "chimera_paper": {
        **LARGE,
        "kind": "chimera",
        "frames": 400,
        "embedding": 20,
        "weights": ("magnitude",),
        "target": "psa",
        "inference_kind": "l1",
        "clustering": 0.975,
    },
    "chimera_music": {
        "kind": "chimera",
        "hidden": 500,
        "layers": 4,
        "embedding": 20,
        "mels": 150,
        "dataset": "musdb",
    },
    "seed001": {**COOKIE, "kind": "dpcl", "mixing": "random"},
    "cookiecutter_musdb": {**COOKIE, "kind": "dpcl", "mixing": "tracks"},
    "cookiecutter_wham_dpcl": {**COOKIE_WHAM, "kind": "dpcl"},
    "cookiecutter_wham_mi": {
        **COOKIE_WHAM,
        "kind": "mask_inference",
        "inference_kind": "mse",
        "mask_activation": ("softmax",),
    },
    "cookiecutter_speech_commands": {
        **COOKIE,
        "kind": "dpcl",
        "bidirectional": False,
        "frames": 100,
        "frame": (128, 64, 65),
        "percentile": 90.0,
        "sources": (),
        "dataset": "scaper",
        "lr": 1e-3,
    },
    "nussl_wham_dpcl": {
        **NUSSL_WHAM,
        "kind": "dpcl",
        "clustering_kind": "classic",
        "clip": 1e-2,
    },
    "nussl_wham_mi": {**NUSSL_WHAM, "kind": "mask_inference", "clip": 2e-5},
    "nussl_wham_chimera": {
        **NUSSL_WHAM,
        "kind": "chimera",
        "clustering": 1.0,
        "inference": 1000.0,
        "inference_kind": "l1",
        "clip": 1e-2,
    },
    "autoclip_dc": {**AUTOCLIP, "kind": "dpcl", "clustering_kind": "classic"},
    "autoclip_wkm": {**AUTOCLIP, "kind": "dpcl", "clustering_kind": "whitened"},
    "autoclip_mi": {**AUTOCLIP, "kind": "mask_inference", "inference_kind": "l1"},
    "autoclip_mi_wkm": {
        **AUTOCLIP,
        "kind": "chimera",
        "clustering_kind": "whitened",
        "clustering": 0.125,
        "inference": 0.75,
    },
    "autoclip_snr": {
        **{k: v for k, v in AUTOCLIP.items() if k not in ("target", "frames")},
        "kind": "mask_inference",
        "inference_kind": "snr",
        "samples": 25536,
    },
    "asteroid_wsj0_chimera": {
        **ASTEROID,
        **LARGE,
        "kind": "chimera",
        "frame": (256, 64, 129),
        "frontend": "asteroid",
        "level": "log",
        "norm": "none",
        "dropout_last": True,
        "embedding": 40,
        "optimizer": "rmsprop",
        "lr": 1e-4,
        "embedding_activation": ("tanh", "unit_norm"),
        "weights": ("vad",),
        "mask_activation": ("sigmoid",),
        "clustering_kind": "active",
        "clustering": 1.0,
        "inference": 0.0,
        "inference_kind": "mse",
        "target": "irm",
        "clip": 200.0,
        "percentile": 0.0,
        "within_db": 40.0,
        "mask": "binary",
        "batch_size": 32,
        "epochs": 200,
        "dataset": "wsj0_2mix",
    },
    "asteroid_whamr_tasnet": {
        **ASTEROID,
        **WHAM,
        "kind": "tasnet",
        "inference_kind": "si_sdr",
        "bank": (512, 40, 20),
        "tasnet_stack": (600, 4, 0.3),
        "optimizer": "adam",
        "lr": 1e-3,
        "weight_decay": 1e-5,
        "batch_size": 32,
    },
    "asteroid_wham_convtasnet": {
        **ASTEROID,
        **WHAM,
        "kind": "conv_tasnet",
        "inference_kind": "si_sdr",
        "conv": (512, 16, 8, 128, 512, 128, 3, 8, 3, "relu"),
        "lr": 1e-3,
        "optimizer": "adam",
        "batch_size": 8,
        "clip": 5.0,
    },
    "tiny": {"kind": "dpcl"},
    "tiny_mask_inference": {"kind": "mask_inference", "inference": 100.0},
    "tiny_chimera": {"kind": "chimera"},
    "tiny_tasnet": {"kind": "tasnet", "inference_kind": "si_sdr"},
    "tiny_conv_tasnet": {"kind": "conv_tasnet", "inference_kind": "si_sdr"},
}


def values(config):
    """Fields by the words of the table."""
    bank, conv = config.tasnet.filterbank, config.conv_tasnet
    own, stack = conv.filterbank, config.tasnet.recurrent
    parts = (config.train, config.spectral, config.spectral.recurrent, config.loss)
    parts += (config.spectral.features, config.cluster, config)
    found = {}
    for part in parts:
        found |= vars(part)
    return found | {
        "frame": (config.window_samples, config.hop_samples, config.stft.bins),
        "frames": config.segment_samples / config.hop_samples,
        "samples": config.segment_samples,
        "seconds": config.segment_seconds,
        "bank": (bank.filters, bank.size, bank.stride),
        "tasnet_stack": (stack.hidden, stack.layers, stack.dropout),
        "conv": (
            *(own.filters, own.size, own.stride, conv.bottleneck, conv.hidden),
            *(conv.skip, conv.kernel, conv.blocks, conv.repeats, conv.mask_activation),
        ),
    }


def small(config):
    """The same preset with few units, which is quick to build."""
    stack = replace(config.spectral.recurrent, hidden=2)
    bank = replace(config.tasnet.filterbank, filters=4)
    own = replace(config.conv_tasnet.filterbank, filters=4)
    return replace(
        config,
        spectral=replace(config.spectral, recurrent=stack),
        tasnet=Tasnet(bank, Recurrent(2, 2)),
        conv_tasnet=replace(
            config.conv_tasnet,
            filterbank=own,
            bottleneck=3,
            hidden=2,
            skip=2,
            repeats=1,
        ),
    )


def test_every_preset_stands_in_the_table():
    assert list(PRESETS) == list(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_fields_are_those_of_the_table(name):
    found = values(PRESETS[name])
    assert {key: found[key] for key in TABLE[name]} == TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_each_makes_a_network_and_a_loss(name):
    config = small(PRESETS[name])
    draw = np.random.default_rng(0).standard_normal([2, 2, 8 * config.window_samples])
    sources = tf.constant(0.1 * draw, tf.float32)
    mixture = tf.reduce_sum(sources, axis=1)
    known = objective.given(config, {"mixture": mixture, "sources": sources})
    net = network(config, sources=2)
    found = objective.losses(config, known, net(known.input))
    assert set(found) == {"loss", *objective.terms(config)}
    for term in found.values():
        assert term.shape == [2]
        assert np.isfinite(term).all()
