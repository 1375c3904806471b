"""What one phase of a run is made of: model, optimizers, data and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from adversarial import data, pictures
from adversarial.config import AdversarialConfig
from adversarial.model import Separator
from common import training
from common.training import distribution
from common.training.checkpoint import restore_network
from common.training.logs import Sounds
from common.training.plateau import EarlyStopping

SUPERVISED, SEMI_SUPERVISED = "sup", "semisup"
"""Names of the phases and of their folders."""

UNPAIRED = "mixtures", "accompaniments", "vocals", "shares"
"""What a batch holds of unpaired songs, each for all steps of critics and separator."""

Kind = Callable[[Separator, AdversarialConfig, int], keras.Model]


def adam(config: AdversarialConfig, rate: str) -> keras.optimizers.Optimizer:
    """Make an optimizer as TensorFlow 1 has it, by the name of its learning rate."""
    settings = config.model_config
    return keras.optimizers.Adam(
        getattr(settings, rate),
        settings.adam_beta1,
        settings.adam_beta2,
        settings.adam_epsilon,
        jit_compile=False,
    )


def job(
    config: AdversarialConfig, strategy: tf.distribute.Strategy, kind: Kind
) -> training.Job:
    """Make the job of one phase.

    Args:
        config: Its configuration, from :func:`adversarial.phases.part`.
        strategy: The run's strategy, under whose scope this is called.
        kind: Makes what is trained of the separator.
    """
    found = data.load(config)
    separator = Separator(config.model_config, config.train.precision)
    replicas = strategy.num_replicas_in_sync
    model = kind(separator, config, replicas)
    rate = {SUPERVISED: "init_sup_sep_lr", SEMI_SUPERVISED: "init_unsup_sep_lr"}
    model.compile(adam(config, rate[config.phases]))
    model.optimizer.build(separator.trainable_variables)
    examples = {
        SUPERVISED: data.paired_example,
        SEMI_SUPERVISED: data.semi_supervised_example,
    }
    # Traced once, because every start and every broken epoch asks for new batches.
    seen = tf.function(examples[config.phases](config, found), autograph=False)
    example, count = data.validation_example(config, found.valid)
    batch, workers = config.model_config.batch_size, config.model_config.num_workers
    batches = distribution.training_batches
    return training.Job(
        model=model,
        train=lambda step: batches(strategy, seen, batch, step, workers),
        valid=lambda: distribution.validation_batches(strategy, example, count, batch),
        records=found.records,
        digest=found.digest,
        earlier_digest=found.paired.sounds.earlier_digest,
        # How long an excerpt is used again depends on the batch of each replica.
        divisible=not config.model_config.excerpts_reused,
        start=lambda: start_from_supervised(config, separator),
        callbacks=lambda step: _callbacks(config, found, model, step),
        scalars=lambda split: _scalars(model, split),
    )


def _callbacks(
    config: AdversarialConfig, found: data.Data, model: Any, step: int
) -> Mapping[str, keras.callbacks.Callback]:
    """Early stopping, and the images of the original once an epoch."""
    paired, unpaired = data.paired_example(config, found), None
    if config.phases == SEMI_SUPERVISED:
        unpaired = data.unpaired_example(config, found)
    draw = pictures.drawing(model, paired, unpaired)
    rate = config.model_config.expected_sr
    chief = distribution.is_chief()
    return {
        "early_stopping": EarlyStopping(config.model_config.patience),
        "images": Sounds(
            str(config.output), dict, rate, step, lambda sounds: draw(), chief
        ),
    }


def start_from_supervised(config: AdversarialConfig, separator: Separator) -> None:
    """Give the second phase the weights that the first ended with, where it asks so."""
    if config.phases == SEMI_SUPERVISED and config.model_config.init_from == "sup":
        restore_network(Path(str(config.output)).parent / SUPERVISED, separator)


def _scalars(model: Any, split: str) -> dict[str, float]:
    """Tell the validation under the tag of the original, and apart from the test."""
    if split != "validation":
        return {}
    return {"valid_loss": float(model.means["loss"].result())}
