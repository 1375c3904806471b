"""Two logical CPUs and quiet TensorFlow for every test."""

import os
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import tensorflow as tf

from common import training
from common.training import resume


def pytest_configure(config: pytest.Config) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)


class Killed(BaseException):
    """Stands for a kill that leaves nothing but the files."""


@pytest.fixture
def trained_twice(monkeypatch, tmp_path):
    """Train a run at once and broken off after a step; gives both models."""

    def trained_twice(config: Any, build: training.Build, step: int) -> list[Any]:
        straight = training.train(config, build)
        broken = replace(config, output=str(tmp_path / "broken"))
        finite = resume.DemandFinite.on_train_batch_end

        def kill(self: Any, batch: int, logs: Any = None) -> None:
            finite(self, batch, logs)
            if int(self.model.optimizer.iterations.numpy()) == step:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(resume.DemandFinite, "on_train_batch_end", kill)
            with pytest.raises(Killed):
                training.train(broken, build)
        return [straight, training.train(broken, build)]

    return trained_twice


@pytest.fixture
def half():
    """Give a configuration the half precision of training."""
    return lambda config: replace(
        config, train=replace(config.train, precision="bfloat16")
    )


@pytest.fixture
def every_tool():
    """Give a configuration averages, accumulation, a warm-up and a cosine."""
    tools = {"accumulate": 2, "ema": 0.5, "lr_schedule": "cosine", "warmup_steps": 2}
    return lambda config: replace(config, train=replace(config.train, **tools))
