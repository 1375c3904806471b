"""Training of one network for each target: ``python -m unmix.train with tiny``.

The flags of the original's training work as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common import experiment, training
from common.config import ConfigError
from common.config import load as load_config
from common.errors import exit_code
from common.signal.stft import Stft, stft
from common.startup import hide_gpus
from common.training import checkpoint, distribution
from common.training.accumulation import Gradients, accumulate
from common.training.loop import say
from common.training.optimizer import check_rates, learning_rate, optimizer
from common.training.plateau import EarlyStopping, Plateau
from unmix import corpus, data, weights
from unmix.config import PRESETS, UnmixConfig
from unmix.corpus import Split
from unmix.end_to_end import EndToEnd
from unmix.loss import spectrogram_loss
from unmix.model import OpenUnmix
from unmix.openunmix.original_flags import ALIASES, translate_flags
from unmix.statistics import statistics

COUNTS = "batch_size", "samples_per_track", "nb_train_samples", "nb_valid_samples"
"""Keys of numbers of excerpts."""


class UnmixTraining(keras.Model):
    """The network of one target together with its loss.

    Args:
        network: Network from the magnitude of the mixture to that of the target.
        config: Configuration with the transform.
        replicas: Number of replicas that share a global batch.
    """

    def __init__(self, network: OpenUnmix, config: UnmixConfig, replicas: int) -> None:
        super().__init__(name="unmix")
        self.network = network
        self.config = config
        self.replicas = replicas
        self.stft = Stft(config.model.window_samples, config.model.hop_samples)
        self.loss_mean = keras.metrics.Mean("loss")
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Estimate magnitudes of the target and take one optimizer step."""
        parts = self.config.train.accumulate
        gradients, losses = accumulate(self.gradients_of, batch, parts)
        variables = self.network.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.loss_mean.update_state(losses)
        return {"loss": self.loss_mean.result()}

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, tf.Tensor]:
        """Compute the gradients of a batch, and the loss of each example [batch].

        The gradient is that of the sum over the batch divided by the global batch size,
        so that the gradients of all replicas add up.
        """
        mixture = self.magnitude(batch["mixture"])  # [batch, channels, frames, bins]
        target = self.magnitude(batch["sources"][:, 0])
        with tf.GradientTape() as tape:
            estimate = self.network(mixture, training=True)
            losses = spectrogram_loss(estimate, target)
            loss = tf.reduce_mean(losses) / self.replicas
        gradients: Any = tape.gradient(loss, self.network.trainable_variables)
        return gradients, losses

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Compute the loss on whole tracks, which all have equal weight."""
        estimate = self.network(self.magnitude(batch["mixture"]))
        target = self.magnitude(batch["sources"][:, 0])
        losses = spectrogram_loss(estimate, target)
        self.loss_mean.update_state(losses, batch["weight"])
        return {"loss": self.loss_mean.result()}

    def magnitude(self, waveform: tf.Tensor) -> tf.Tensor:
        """Compute magnitudes [batch, channels or 1, frames, bins]."""
        magnitude = tf.abs(stft(waveform, self.stft))
        if self.config.model.channels == 1:
            return tf.reduce_mean(magnitude, axis=1, keepdims=True)
        return magnitude


def build(config: UnmixConfig, strategy: tf.distribute.Strategy) -> training.Job:
    """Make the job of a configuration of one target, or of all of them together.

    Raises:
        ConfigError: A number of excerpts is below 1, a rate out of range, or the
            targets do not fit the corpus.
    """
    for key in COUNTS:
        if getattr(config, key) < 1:
            raise ConfigError(f"{key}={getattr(config, key)}: expected at least 1")
    check_rates(config.lr, config.weight_decay, config.lr_decay_gamma)
    splits = data.load(config)
    shape, precision = config.model, config.train.precision
    replicas = strategy.num_replicas_in_sync
    if config.end_to_end:
        _check_targets(config, splits.train.targets)
        networks = {target: OpenUnmix(shape, precision) for target in config.target}
        return _job(
            config, strategy, splits, EndToEnd(networks, config, replicas), networks
        )
    if shape.bridged:
        raise ConfigError(
            "model.bridged=True: such networks are trained together; expected "
            "end_to_end=True and all targets"
        )
    network = OpenUnmix(shape, precision)
    model = UnmixTraining(network, config, replicas)
    return _job(config, strategy, splits, model, {splits.train.targets[0]: network})


def _check_targets(config: UnmixConfig, sources: tuple[str, ...]) -> None:
    """Require one target for each source of the corpus."""
    names = config.target
    if len(set(names)) < len(names) or len(names) != len(sources):
        raise ConfigError(
            f"target={','.join(names)}: expected as many different names as "
            f"dataset={config.dataset} gives, which is {len(sources)} "
            f"({', '.join(sources)}), because end_to_end trains one network for each"
        )


def _job(
    config: UnmixConfig,
    strategy: tf.distribute.Strategy,
    splits: data.Data,
    model: keras.Model,
    networks: Mapping[str, OpenUnmix],
) -> training.Job:
    """Compile a model and describe its run.

    Args:
        config: The configuration.
        strategy: The run's strategy, under whose scope this is called.
        splits: Training and validation.
        model: The model to be trained.
        networks: The networks in it, by target.
    """
    train, valid = splits
    own_steps = data.epoch_steps(config, train, strategy.num_replicas_in_sync)
    steps = config.train.steps_per_epoch or own_steps
    schedule = replace(config.train, steps_per_epoch=steps)
    rate = learning_rate(schedule, config.lr)
    model.compile(optimizer(config.optimizer, rate, config.weight_decay))
    model.optimizer.build(model.trainable_variables)
    excerpt = data.training_example(config, train)
    track = data.validation_example(config, valid)
    count = data.validation_count(config, valid)
    indexes = [split.sounds.records for split in splits]
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, excerpt, config.batch_size * config.train.accumulate, step
        ),
        # Whole tracks differ in length.
        valid=lambda: distribution.validation_batches(strategy, track, count, 1),
        records=[index for index in indexes if index is not None],
        digest=train.sounds.digest,
        earlier_digest=train.sounds.earlier_digest,
        steps_per_epoch=own_steps,
        start=lambda: _initialise(config, train, networks),
        callbacks=lambda step: _callbacks(config),
    )


def _callbacks(config: UnmixConfig) -> dict[str, keras.callbacks.Callback]:
    """Make the early stopping, and the plateau if it lowers the learning rate."""
    stopping = {"early_stopping": EarlyStopping(config.patience)}
    if config.train.lr_schedule != "own":
        return stopping
    plateau = Plateau(config.lr_decay_patience, config.lr_decay_gamma)
    return {"plateau": plateau, **stopping}


def _initialise(
    config: UnmixConfig, train: Split, networks: Mapping[str, OpenUnmix]
) -> None:
    """Initialise networks by the weights of others, or by statistics of the data."""
    if config.initial:
        for target, network in networks.items():
            weights.start_from(network, config.initial, target)
        return
    moments = statistics(config, train)
    for network in networks.values():
        network.set_statistics(*moments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with contextlib.ExitStack() as stack:
        if "--quiet" in arguments:
            arguments.remove("--quiet")
            silence = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        for word in {"--no-cuda", "--no_cuda"} & set(arguments):
            arguments.remove(word)
            hide_gpus()
        return exit_code("unmix.train", lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    command = experiment.Command(
        name="unmix.train",
        presets=PRESETS,
        default="umx",
        main=_main,
        aliases=ALIASES,
    )
    words = translate_flags(arguments)
    return experiment.run(command, [*words, *_target(command, words)])


def _target(command: experiment.Command[Any], words: Sequence[str]) -> list[str]:
    """Name the target of a folder layout by its file or folder, as the original does.

    A run that has a checkpoint under the name in ``target``, as runs of earlier
    releases have, resumes under that name.
    """
    request = experiment.parse(command, words)
    config: UnmixConfig = experiment.configure(command, request)
    key = corpus.TARGET_KEY.get(config.dataset)
    named = key is not None and getattr(config, key)
    if request.usage or config.end_to_end or len(config.target) > 1 or not named:
        return []
    folder = Path(config.output or "")
    if config.output and checkpoint.exist(folder):
        earlier = load_config(UnmixConfig, folder / "config.json").target
        if earlier == config.target:
            return []
    (name,) = corpus.targets(config)
    return [f"target={(Path(name).name,)}"]


def _main(config: UnmixConfig, check: bool) -> int:
    key = corpus.TARGET_KEY.get(config.dataset)
    if len(config.target) > 1 and key and not config.end_to_end:
        raise ConfigError(
            f"target={','.join(config.target)} names {len(config.target)} targets, but "
            f"dataset={config.dataset} has one, which {key} names; set target= to one "
            f"name, such as target={config.target[0]}"
        )
    runs = [config]
    if not config.end_to_end:
        runs = [_single(config, target) for target in config.target]
    if check:
        return training.check(runs[0], build)
    for run in runs:
        model = training.train(run, build)
        steps = model.optimizer.iterations.numpy()
        say(f"trained {steps} steps for {', '.join(run.target)}: {run.output}")
        keras.backend.clear_session()
    return 0


def _single(config: UnmixConfig, target: str) -> UnmixConfig:
    """Make the configuration of one target; several have a folder each."""
    if len(config.target) == 1:
        return config
    output = None if config.output is None else str(Path(config.output) / target)
    return replace(config, target=(target,), output=output)


if __name__ == "__main__":
    sys.exit(main())
