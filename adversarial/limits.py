"""What the numbers of a configuration must at least be, beyond their types."""

from __future__ import annotations

from adversarial.config import ModelConfig
from common.config import ConfigError

LEAST = {
    "batch_size": 1,
    "epoch_it": 1,
    "num_disc": 1,
    "num_hop": 1,
    "expected_sr": 1,
    "cache_size": 1,
    "num_workers": 0,
    "min_replacement_rate": 1,
    "patience": 0,
}
"""Least value of each key of the model's configuration."""


def demand(config: ModelConfig) -> None:
    """See that a configuration can be trained.

    Raises:
        ConfigError: A key has a value that nothing can be done with.

    >>> demand(ModelConfig())
    """
    for name, least in LEAST.items():
        if getattr(config, name) < least:
            raise ConfigError(
                f"model_config.{name}={getattr(config, name)}; expected at least "
                f"{least}"
            )
    if not config.mono_downmix:
        raise ConfigError(
            "model_config.mono_downmix=false; expected true, because the networks "
            "hear one channel, the mean of all; leave the key out (channels of a file "
            "are separated one by one)"
        )
