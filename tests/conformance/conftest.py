"""The models that must pass the battery; each pillar adds its line to MODELS."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import mixit.config
import mixit.model
import mixit.separate
import mixit.train
import unmix.config
import unmix.model
import unmix.optimizer
import unmix.separate
import unmix.train
from common.checkpoint import save_network
from common.config import save


@dataclass(frozen=True)
class Case:
    """What the battery needs to know of a model.

    Attributes:
        network: Builds the separation network of the ``tiny`` preset.
        training: Builds the compiled training model of the small network for a number
            of replicas.
        example: One training example as a function of its position.
        inputs: Shape of one input of the network, without the batch.
        separator: Wraps a network for separation, given the segment in seconds.
        load: Loads a run folder.
        small: Builds a network of some kilobytes and its configuration.
        command: Words of a short training, which saves within its epochs.
        no_gradient: Weights that the loss does not depend on, by the ends of names.
    """

    network: Callable[[], Any]
    training: Callable[[int], Any]
    example: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    inputs: tuple[int, ...]
    separator: Callable[[Any, float], Any]
    load: Callable[[Any], Any]
    small: Callable[[], tuple[Any, Any]]
    command: tuple[str, ...]
    no_gradient: tuple[str, ...] = ()


MIXIT = replace(mixit.config.TINY, lr=1e-4)
MIXIT_SMALL = replace(
    MIXIT,
    model=replace(
        MIXIT.model, num_coeffs=16, bottleneck=8, conv_channels=16, num_dilations=2
    ),
)


def _mixit_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    return {"sources": 0.1 * tf.random.stateless_normal([2, 2, 2000], seed)}


UNMIX = replace(unmix.config.TINY, lr=1e-4)
UNMIX_SMALL = replace(
    UNMIX, target=("vocals",), model=replace(UNMIX.model, hidden_size=8)
)


def _unmix_training(replicas):
    network = unmix.model.OpenUnmix(UNMIX_SMALL.model)
    network.set_statistics(np.ones(network.bins), np.ones(network.bins))
    model = unmix.train.UnmixTraining(network, UNMIX_SMALL, replicas)
    model.compile(unmix.optimizer.optimizer("adam", UNMIX.lr, UNMIX.weight_decay))
    model.optimizer.build(network.trainable_variables)
    return model


def _unmix_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    sources = 0.1 * tf.random.stateless_normal([2, 2, 4096], seed)
    return {"mixture": tf.reduce_sum(sources, axis=0), "sources": sources[:1]}


def _unmix_separator(network, segment_seconds):
    with TemporaryDirectory() as folder:
        config = replace(UNMIX, target=("vocals",))
        save(config, Path(folder) / "config.json")
        save_network(folder, network)
        return unmix.separate.load(
            folder, wiener_win_len=30, segment_seconds=segment_seconds
        )


MODELS = {
    "mixit_tiny": Case(
        network=lambda: mixit.model.Tdcn(MIXIT.model),
        training=lambda replicas: mixit.train.compiled(MIXIT_SMALL, replicas),
        example=_mixit_example,
        inputs=(2000,),
        separator=mixit.separate.separator,
        load=mixit.separate.load,
        small=lambda: (mixit.model.Tdcn(MIXIT_SMALL.model), MIXIT_SMALL),
        command=("mixit.train", "with", "tiny", "segment_seconds=0.5", "batch_size=4"),
    ),
    "unmix_tiny": Case(
        network=lambda: unmix.model.OpenUnmix(UNMIX.model),
        training=_unmix_training,
        example=_unmix_example,
        inputs=(2, 7, 513),
        separator=_unmix_separator,
        load=unmix.separate.load,
        small=lambda: (unmix.model.OpenUnmix(UNMIX_SMALL.model), UNMIX_SMALL),
        command=("unmix.train", "with", "tiny", "target=bass", "seq_dur=1"),
        # The normalisation of the batch takes every constant away again.
        no_gradient=("input_mean:0",),
    ),
}


@pytest.fixture(params=MODELS)
def case(request):
    return MODELS[request.param]


@pytest.fixture
def name(request):
    return request.node.callspec.params["case"]
