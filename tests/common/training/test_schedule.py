"""Values of the schedule that no run can have."""

import pytest

from common.config import ConfigError
from common.training.schedule import Schedule

POSITIVE = ("epochs", "checkpoint_steps", "log_steps", "keep", "accumulate")
NOT_NEGATIVE = ("steps_per_epoch", "keep_every_epochs", "replicas", "warmup_steps")


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        *((name, 0, "1$") for name in POSITIVE),
        *((name, -1, "0$") for name in NOT_NEGATIVE),
        ("ema", -0.1, "0 .no average. and less than 1"),
        ("ema", 1.0, "0 .no average. and less than 1"),
    ],
)
def test_values_out_of_range_raise(name, value, least):
    sentence = f"^train.{name}={value:g}: expected at least {least}"
    with pytest.raises(ConfigError, match=sentence):
        Schedule(**{name: value})
