"""A run in half precision is trained, resumed and separated alike."""

import json

import numpy as np
import pytest

import adversarial
from adversarial import phases
from adversarial.config import AdversarialConfig
from adversarial.model import UNet
from adversarial.separate import separator
from adversarial.train import build
from common.config import load
from common.training.logs import read_scalars


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_with_every_tool_resumes_to_the_bit_and_separates_as_trained(
    config, half, every_tool, trained_twice
):
    part = phases.part(every_tool(half(config)), "sup")
    straight, resumed = trained_twice(part, build, 3)
    for one, other in zip(straight.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype.name in ("float32", "int64")
    assert all(np.isfinite(line["loss"]) for line in read_scalars(part.output))
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 6000)).astype(np.float32)
    estimates = adversarial.load(part.output, checkpoint="latest")(noise)
    expected = separator(straight.network)(noise)
    single = UNet(part.model_config)
    single.set_weights(straight.network.get_weights())
    other = separator(single)(noise)
    for name, estimate in estimates.items():
        np.testing.assert_array_equal(estimate, expected[name])
        assert np.abs(estimate - other[name]).max() > 1e-6
        assert estimate.dtype == np.float32


def test_the_old_key_of_a_run_still_sets_its_precision(config, tmp_path):
    values = {"precision": "bfloat16", "train": {"epochs": 2}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    read = load(AdversarialConfig, tmp_path / "config.json")
    assert (read.train.precision, read.train.epochs) == ("bfloat16", 2)
    assert phases.read_config(tmp_path) == read
