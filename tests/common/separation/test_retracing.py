"""Graphs that are made one after another, without a warning of retracing."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from adversarial import separate as adversarial
from adversarial.config import ModelConfig
from adversarial.model import UNet
from common.separation.separator import graph
from mixit import separate as mixit
from mixit.config import Network
from mixit.model import Tdcn

SMALL = Network(
    sample_rate=8000, num_sources=2, num_coeffs=4, bottleneck=4, conv_channels=4,
    num_dilations=1, num_repeats=1,
)  # fmt: skip
SETTINGS = ModelConfig(num_layers=1, num_frames=16, num_fft=64, num_hop=32)


class Doubling:
    """Something with a graph of its own."""

    def __init__(self):
        self.run = graph(self.double)

    def double(self, x):
        return 2 * x


@pytest.fixture
def warnings(caplog):
    """What TensorFlow warns of."""
    tf.get_logger().addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING, "tensorflow"):
        yield caplog.records
    tf.get_logger().removeHandler(caplog.handler)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda mixture: Doubling().run(tf.constant(mixture)),
        pytest.param(
            lambda: mixit.separator(Tdcn(SMALL)), marks=pytest.mark.slow, id="mixit"
        ),
        lambda: adversarial.separator(UNet(SETTINGS)),
    ],
    ids=["graph", None, "adversarial"],
)
def test_many_in_one_process(make, warnings):
    for _ in range(7):
        make()(np.zeros((1, 100), np.float32))
    assert not [record.getMessage() for record in warnings]
