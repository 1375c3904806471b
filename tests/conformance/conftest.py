"""The models that must pass the battery; each pillar adds its line to MODELS."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import tensorflow as tf

import mixit.config
import mixit.separate
import mixit.train


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
    """

    network: Callable[[], Any]
    training: Callable[[int], Any]
    example: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    inputs: tuple[int, ...]
    separator: Callable[[Any, float], Any]
    load: Callable[[Any], Any]
    small: Callable[[], tuple[Any, Any]]


def _mixit_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    return {"sources": 0.1 * tf.random.stateless_normal([2, 2, 2000], seed)}


TINY = replace(mixit.config.TINY, lr=1e-4)


SMALL = replace(
    TINY,
    model=replace(
        TINY.model, num_coeffs=16, bottleneck=8, conv_channels=16, num_dilations=2
    ),
)


MODELS = {
    "mixit_tiny": Case(
        network=lambda: mixit.model.Tdcn(TINY.model),
        training=lambda replicas: mixit.train.compiled(SMALL, replicas),
        example=_mixit_example,
        inputs=(2000,),
        separator=mixit.separate.separator,
        load=mixit.separate.load,
        small=lambda: (mixit.model.Tdcn(SMALL.model), SMALL),
    ),
}


@pytest.fixture(params=MODELS)
def case(request):
    return MODELS[request.param]


@pytest.fixture
def name(request):
    return request.node.callspec.params["case"]
