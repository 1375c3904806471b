"""Training of one network for each target: ``python -m unmix.train with tiny``."""

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
from common.errors import exit_code
from common.signal.stft import Stft, stft
from common.startup import hide_gpus
from unmix import corpus, data, end_to_end, original_flags
from unmix.config import PRESETS, UnmixConfig
from unmix.job import job
from unmix.loss import spectrogram_loss
from unmix.model import OpenUnmix


class UnmixTraining(keras.Model):
    """The network of one target together with its loss.

    Args:
        network: Estimates the magnitude of the target from that of the mixture.
        config: Gives the transform.
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

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Estimate magnitudes of the target and take one optimizer step.

        The gradient is of the sum over the batch divided by the global batch size, so
        that replicas add up to one.
        """
        mixture = self.magnitude(batch["mixture"])  # [batch, channels, frames, bins]
        target = self.magnitude(batch["sources"][:, 0])
        with tf.GradientTape() as tape:
            estimate = self.network(mixture, training=True)
            losses = spectrogram_loss(estimate, target)
            loss = tf.reduce_mean(losses) / self.replicas
        weights = self.network.trainable_variables
        gradients: Any = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_mean.update_state(losses)
        return {"loss": self.loss_mean.result()}

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss on whole tracks, each of which counts the same."""
        estimate = self.network(self.magnitude(batch["mixture"]))
        target = self.magnitude(batch["sources"][:, 0])
        losses = spectrogram_loss(estimate, target)
        self.loss_mean.update_state(losses, batch["weight"])
        return {"loss": self.loss_mean.result()}

    def magnitude(self, waveform: tf.Tensor) -> tf.Tensor:
        """Magnitudes [batch, channels, frames, bins]; mono networks see their mean."""
        magnitude = tf.abs(stft(waveform, self.stft))
        if self.config.model.channels == 1:
            return tf.reduce_mean(magnitude, axis=1, keepdims=True)
        return magnitude


def build(config: UnmixConfig, strategy: tf.distribute.Strategy) -> training.Job:
    """Make the job of a configuration of one target."""
    found = data.load(config)
    network = OpenUnmix(config.model, config.train.precision)
    model = UnmixTraining(network, config, strategy.num_replicas_in_sync)
    return job(config, strategy, found, model, {found.train.targets[0]: network})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; returns the exit code."""
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
        aliases=original_flags.ALIASES,
    )
    return experiment.run(command, original_flags.translated(arguments))


def _main(config: UnmixConfig, check: bool) -> int:
    key = corpus.TARGET_KEY.get(config.dataset)
    if len(config.target) > 1 and key and not config.end_to_end:
        raise ConfigError(
            f"target={','.join(config.target)} names {len(config.target)} targets, but "
            f"dataset={config.dataset} has one, which {key} names; set target= to one "
            f"name, such as target={config.target[0]}"
        )
    make = end_to_end.build if config.end_to_end else build
    apart = () if config.end_to_end else config.target
    jobs = [_single(config, target) for target in apart] or [config]
    if check:
        return training.check(jobs[0], make)
    for each in jobs:
        model = training.train(each, make)
        steps = model.optimizer.iterations.numpy()
        names = ", ".join(each.target)
        training.say(f"trained {steps} steps for {names}: {each.output}")
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
