"""Training in both phases: ``python -m adversarial.train with tiny``.

First the separator learns from songs whose sources are known, then again with critics
that compare its estimates of other songs with single voices and accompaniments. Each
phase has a run folder of its own, ``sup`` and ``semisup`` within that of the run.
Stopped at any time, the same command goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from adversarial import job, loss, phases, spectra, tags
from adversarial.config import PRESETS, AdversarialConfig
from adversarial.critic import Critic
from adversarial.geometry import solve
from adversarial.model import Separator
from common import experiment, training
from common.errors import exit_code


class SupervisedTraining(keras.Model):
    """The separator with what it learns from songs whose sources are known.

    Args:
        separator: The network.
        config: Gives transform and sizes.
        replicas: Number of replicas that share a global batch.

    Attributes:
        tags: Names of the scalars of a step, those of the original and ``loss``.
    """

    tags = tags.SUPERVISED

    def __init__(
        self, separator: Separator, config: AdversarialConfig, replicas: int
    ) -> None:
        super().__init__(name="supervised")
        self.network = separator
        self.settings, self.replicas = config.model_config, replicas
        self.geometry = solve(self.settings)
        self.means = {name: keras.metrics.Mean(name) for name in self.tags}
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step of the separator on songs with their sources.

        The gradient is of the sum over the batch divided by the global batch size, so
        that replicas add up to one.
        """
        mixture = spectra.mixtures(batch["mixture"], self.settings, self.geometry)
        sources = spectra.sources(batch["sources"], self.settings, self.geometry)
        with tf.GradientTape() as tape:
            estimates = self.network(mixture.log, training=True)
            losses = loss.supervised(estimates, sources)
            total = tf.reduce_mean(losses) / self.replicas
        weights = self.network.trainable_variables
        gradients: Any = tape.gradient(total, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        told = {"loss": losses, "sup_sep_loss": losses, "sep_loss": losses}
        told["mask_loss"] = loss.additivity(estimates, mixture.linear)
        return self._told({**told, **tags.levels(sources, estimates, "")})

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Supervised loss on whole songs, of which each frame counts the same."""
        mixture = spectra.mixtures(batch["mixture"], self.settings, self.geometry)
        sources = spectra.sources(batch["sources"], self.settings, self.geometry)
        losses = loss.by_frame(self.network(mixture.log), sources)
        weights = batch["frame_weight"] * batch["weight"][:, tf.newaxis]
        self.means["loss"].update_state(losses, weights)
        return {"loss": self.means["loss"].result()}

    def _told(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, value in values.items():
            self.means[name].update_state(value)
        return {name: self.means[name].result() for name in values}


class SemiSupervisedTraining(SupervisedTraining):
    """The separator with its critics, on songs with and without their sources.

    Args:
        separator: The network.
        config: Gives transform, sizes and the weights of the losses.
        replicas: Number of replicas that share a global batch.
    """

    tags = tags.SEMI_SUPERVISED

    def __init__(
        self, separator: Separator, config: AdversarialConfig, replicas: int
    ) -> None:
        super().__init__(separator, config, replicas)
        self.critics = [Critic(self.settings, f"{name}_disc") for name in tags.SOURCES]
        self.critic_optimizers = [
            job.adam(config, "init_disc_lr") for _ in tags.SOURCES
        ]
        for critic, optimizer in zip(self.critics, self.critic_optimizers, strict=True):
            optimizer.build(critic.trainable_variables)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take some steps of both critics, each on new songs, then one separator step.

        As many as ``num_disc`` says; the separator sees paired songs and others.
        """
        told: dict[str, tf.Tensor] = {}
        step: Any = self._critic_step
        if not tf.distribute.has_strategy():
            # Traced once, because each trace takes seconds. Replicas cannot add up
            # their gradients within a graph of its own.
            step = tf.function(step, autograph=False)
        for number in range(self.settings.num_disc):
            told = step({k: batch[k][:, number] for k in job.UNPAIRED})
        return self._told({**told, **self._separator_step(batch)})

    def _critic_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step of each critic; the separator estimates once for both."""
        mixture = spectra.mixtures(batch["mixtures"], self.settings, self.geometry)
        estimates = self.network(mixture.log)
        waves = tf.stack([batch["accompaniments"], batch["vocals"]], axis=1)
        sources = spectra.sources(waves, self.settings, self.geometry)
        told: dict[str, tf.Tensor] = tags.levels(sources, estimates, "_u")
        for number, name in enumerate(tags.SOURCES):
            found = self._update(
                number,
                spectra.for_critics(sources[:, number], self.geometry),
                tf.stop_gradient(
                    spectra.for_critics(estimates[:, number], self.geometry)
                ),
                batch["shares"][:, number],
            )
            told |= {f"{name}_disc_{key}": value for key, value in found.items()}
        return told

    def _update(
        self, number: int, real: tf.Tensor, estimated: tf.Tensor, shares: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Take one step of one critic.

        The original puts the real examples in another order before they are mixed with
        estimates; those of ours come from songs of their own already.
        """
        critic = self.critics[number]
        between = loss.between(real, estimated, shares)
        with tf.GradientTape() as tape:
            scores, fakes = critic(real), critic(estimated)
            values = {"disc_real": scores, "disc_fake": fakes}
            losses = loss.critic(scores, fakes)
            if self.settings.lam:
                values["grad_pen"] = loss.penalty(critic, between)
                losses += self.settings.lam * values["grad_pen"]
            total = tf.reduce_mean(losses) / self.replicas
        weights = critic.trainable_variables
        gradients: Any = tape.gradient(total, weights)
        self.critic_optimizers[number].apply_gradients(
            zip(gradients, weights, strict=True)
        )
        return {**values, "disc_loss": losses, "wasserstein_dist": scores - fakes}

    def _separator_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step of the separator on paired songs and on others at once."""
        settings, geometry = self.settings, self.geometry
        paired = spectra.mixtures(batch["mixture"], settings, geometry)
        sources = spectra.sources(batch["sources"], settings, geometry)
        unpaired = spectra.mixtures(batch["mixtures"][:, -1], settings, geometry)
        with tf.GradientTape() as tape:
            both = tf.concat([paired.log, unpaired.log], axis=0)
            known, guessed = tf.split(self.network(both, training=True), 2)
            supervised = loss.supervised(known, sources)
            unsupervised, told = self._unsupervised(guessed, unpaired.linear)
            losses = supervised + unsupervised
            total = tf.reduce_mean(losses) / self.replicas
        weights = self.network.trainable_variables
        gradients: Any = tape.gradient(total, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        told |= {"loss": losses, "sep_loss": losses, "sup_sep_loss": supervised}
        told["unsup_sep_loss"] = unsupervised
        told["mask_loss"] = loss.additivity(known, paired.linear)
        return {**told, **tags.levels(sources, known, "")}

    def _unsupervised(
        self, estimates: tf.Tensor, mixture: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Weighted loss of unpaired estimates [batch], without terms of weight 0.

        Returns:
            The sum, and the additivity by its tag where it has a weight.
        """
        total, told = tf.zeros(tf.shape(estimates)[:1]), {}
        if self.settings.alpha:
            seen = spectra.for_critics(estimates, self.geometry)
            scores = [critic(seen[:, k]) for k, critic in enumerate(self.critics)]
            total += self.settings.alpha * loss.adversarial(*scores)
        if self.settings.beta:
            told["mask_loss_u"] = loss.additivity(estimates, mixture)
            total += self.settings.beta * told["mask_loss_u"]
        return total, told


KINDS = {
    job.SUPERVISED: SupervisedTraining,
    job.SEMI_SUPERVISED: SemiSupervisedTraining,
}


def build(config: AdversarialConfig, strategy: tf.distribute.Strategy) -> training.Job:
    """Make the job of one phase."""
    return job.job(config, strategy, KINDS[config.phases])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; returns the exit code."""
    command = experiment.Command(
        name="adversarial.train",
        presets=PRESETS,
        default="musdb_moisesdb",
        main=_main,
        folder=phases.folder,
        without_corpus=_without_corpus,
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code("adversarial.train", lambda: experiment.run(command, arguments))


def _without_corpus(config: AdversarialConfig) -> str | None:
    corpora = config.corpora
    if corpora.root or corpora.function or corpora.foreign_pickle:
        return None
    return (
        f"corpora.root is not set; name the folder of {corpora.paired} "
        "(corpora.root=FOLDER, or MUSDB18_ROOT_DIR for "
        "./run_train_model_on_musdb18_and_moisesdb.sh), or train 'with tiny' on the "
        "miniature that is made here"
    )


def _main(config: AdversarialConfig, check: bool) -> int:
    return phases.run(config, build, check)


if __name__ == "__main__":
    sys.exit(main())
