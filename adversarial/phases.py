"""The two phases of a run: what each is made of, in which order, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from adversarial import data, evaluate, results
from adversarial.config import AdversarialConfig
from adversarial.model import Separator
from adversarial.separate import load
from common import distribution, run_folder, training
from common.checkpoint import restore_network
from common.config import override, write_json
from common.plateau import EarlyStopping
from common.resume import TrainingError

SUPERVISED, SEMI_SUPERVISED = "sup", "semisup"
"""Names of the phases and of their folders."""

UNPAIRED = "mixtures", "accompaniments", "vocals", "shares"
"""What a batch holds of unpaired songs, each for all steps of critics and separator."""

Kind = Callable[[Separator, AdversarialConfig, int], keras.Model]


def run(config: AdversarialConfig, build: training.Build, check: bool) -> int:
    """Run the phases that a configuration asks for, or check the last of them.

    Args:
        config: The configuration of the run.
        build: Makes the job of one phase; importable by name.
        check: Only check that a run can be resumed.

    Returns:
        The exit code.
    """
    names = phases(config, data.has_unpaired(config))
    if check:
        return training.check(part(config, names[-1]), build)
    for name in names:
        each = part(config, name)
        model = training.train(each, build)
        steps = model.optimizer.iterations.numpy()
        training.say(f"trained {steps} steps: {each.output}")
        if distribution.is_chief():
            test(each, model)
        keras.backend.clear_session()
    return 0


def test(config: AdversarialConfig, model: Any) -> None:
    """Measure the best weights of a phase on the test songs, as the original does.

    Args:
        config: Configuration of the phase.
        model: What was trained.
    """
    place, found = Path(str(config.output)), data.load(config)
    restore_network(place, model.network)
    example, count = data.validation_example(config, found.test)
    batches, steps = distribution.validation_batches(
        tf.distribute.get_strategy(), example, count, config.model_config.batch_size
    )
    told = model.evaluate(batches, steps=steps, verbose=0, return_dict=True)
    with tf.summary.create_file_writer(str(place / "events" / "test")).as_default():
        tf.summary.scalar("test_loss", told["loss"], model.optimizer.iterations)
    tracks = data.read_lists(config).test
    kind = config.corpora.paired
    whole = evaluate.score(load(place), tracks, place / "evaluation", kind)
    write_json({"test_loss": told["loss"], **whole}, place / "test.json")
    training.say(f"test loss {told['loss']:.4f}\n{results.table(whole)}")


def folder(config: AdversarialConfig) -> str:
    """Name the run folder where none is asked for, by the number of the experiment."""
    name = config.experiment_id or run_folder.date()
    return str(Path(config.model_config.model_base_dir) / name)


def phases(config: AdversarialConfig, unpaired: bool) -> list[str]:
    """List the phases that are asked for and can be run, and tell what cannot.

    Args:
        config: The configuration of the run.
        unpaired: Whether there are songs without their sources.

    Raises:
        TrainingError: The second phase alone is asked for and there are none.
    """
    names = {
        "both": [SUPERVISED, SEMI_SUPERVISED],
        SUPERVISED: [SUPERVISED],
        SEMI_SUPERVISED: [SEMI_SUPERVISED],
    }[config.phases]
    if SEMI_SUPERVISED in names and not unpaired:
        if names == [SEMI_SUPERVISED]:
            raise TrainingError(
                "phases=semisup needs unpaired songs; name their corpus with "
                "corpora.unpaired=..., or set corpora.paired_tracks"
            )
        return [SUPERVISED]
    return names


def part(config: AdversarialConfig, phase: str) -> AdversarialConfig:
    """Make the configuration of one phase, with a folder of its own."""
    steps = config.model_config.epoch_it
    output = None if config.output is None else str(Path(config.output) / phase)
    schedule = replace(config.train, steps_per_epoch=steps)
    return override(replace(config, output=output, train=schedule), {"phases": phase})


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
        config: Its configuration, from :func:`part`.
        strategy: The run's strategy, under whose scope this is called.
        kind: Makes what is trained of the separator.
    """
    found = data.load(config)
    separator = Separator(config.model_config, config.precision)
    if config.phases == SEMI_SUPERVISED and config.model_config.init_from == "sup":
        start_from_supervised(config, separator)
    replicas = strategy.num_replicas_in_sync
    model = kind(separator, config, replicas)
    rate = {SUPERVISED: "init_sup_sep_lr", SEMI_SUPERVISED: "init_unsup_sep_lr"}
    model.compile(adam(config, rate[config.phases]))
    model.optimizer.build(separator.trainable_variables)
    examples = {
        SUPERVISED: data.paired_example,
        SEMI_SUPERVISED: data.semi_supervised_example,
    }
    seen = examples[config.phases](config, found)
    example, count = data.validation_example(config, found.valid)
    batch = config.model_config.batch_size
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(strategy, seen, batch, step),
        valid=lambda: distribution.validation_batches(strategy, example, count, batch),
        records=found.records,
        digest=found.digest,
        callbacks=lambda step: [EarlyStopping(config.model_config.patience)],
        scalars=lambda split: _scalars(model, split),
    )


def start_from_supervised(config: AdversarialConfig, separator: Separator) -> None:
    """Give the separator the weights that the first phase ended with, at the start."""
    folder = Path(str(config.output))
    if tf.train.latest_checkpoint(str(folder / "latest")) is None:
        restore_network(folder.parent / SUPERVISED, separator)


def _scalars(model: Any, split: str) -> dict[str, float]:
    """Tell the validation under the tag of the original, and apart from the test."""
    if split != "validation":
        return {}
    return {"valid_loss": float(model.means["loss"].result())}
