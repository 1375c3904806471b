"""Values of the schedule that no run can have."""

import pytest

from common.config import ConfigError
from common.training.schedule import Schedule


@pytest.mark.parametrize("name", ["epochs", "checkpoint_steps", "log_steps", "keep"])
def test_at_least_one(name):
    with pytest.raises(ConfigError, match=f"train.{name}=0: expected at least 1"):
        Schedule(**{name: 0})


@pytest.mark.parametrize("name", ["steps_per_epoch", "keep_every_epochs", "replicas"])
def test_not_negative(name):
    with pytest.raises(ConfigError, match=f"train.{name}=-1: expected at least 0"):
        Schedule(**{name: -1})
