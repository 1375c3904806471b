"""What a training of one target and one of all targets together share."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tf_keras as keras

from common import training
from common.training import distribution
from common.training.optimizer import optimizer
from common.training.plateau import EarlyStopping, Plateau
from unmix import convert, data
from unmix.config import UnmixConfig
from unmix.model import OpenUnmix
from unmix.slots import Split
from unmix.statistics import statistics


def job(
    config: UnmixConfig,
    strategy: tf.distribute.Strategy,
    found: data.Data,
    model: keras.Model,
    networks: Mapping[str, OpenUnmix],
) -> training.Job:
    """Compile a model, give its networks their start and its data their order.

    Args:
        config: The configuration.
        strategy: The run's strategy, under whose scope this is called.
        found: Training and validation.
        model: What is trained.
        networks: The networks in it, by target.

    Returns:
        The job.
    """
    train, valid = found
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(model.trainable_variables)
    seen = data.training_example(config, train)
    example = data.validation_example(config, valid)
    count = data.validation_count(config, valid)
    indexes = [split.sounds.records for split in found]
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, seen, config.batch_size, step
        ),
        # Whole tracks have lengths of their own.
        valid=lambda: distribution.validation_batches(strategy, example, count, 1),
        records=[index for index in indexes if index is not None],
        digest=train.sounds.digest,
        earlier_digest=train.sounds.earlier_digest,
        steps_per_epoch=data.epoch_steps(config, train, strategy.num_replicas_in_sync),
        start=lambda: _start(config, train, networks),
        callbacks=lambda step: {
            "plateau": Plateau(config.lr_decay_patience, config.lr_decay_gamma),
            "early_stopping": EarlyStopping(config.patience),
        },
    )


def _start(
    config: UnmixConfig, train: Split, networks: Mapping[str, OpenUnmix]
) -> None:
    """Give networks the weights of others, or the statistics of the training."""
    if config.initial:
        for target, network in networks.items():
            convert.start_from(network, config.initial, target)
        return
    moments = statistics(config, train)
    for network in networks.values():
        network.set_statistics(*moments)
