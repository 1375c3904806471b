"""The training steps of both phases, and the scalars under the original's tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from adversarial import loss
from adversarial.config import AdversarialConfig
from adversarial.critic import Critic
from adversarial.images import critic_images, mixture_images, source_images
from adversarial.model import UNet, solve
from common.training.accumulation import Gradients, accumulate
from common.training.optimizer import learning_rate

SOURCES = "acc", "voice"
"""The original's names of accompaniment and vocals."""

SEPARATOR_TAGS = (
    *("loss", "sup_sep_loss", "sep_loss", "mask_loss", "acc_norm_mean"),
    *("voice_norm_mean", "acc_sep_norm_mean", "voice_sep_norm_mean"),
)
UNPAIRED_TAGS = (
    *("unsup_sep_loss", "mask_loss_u", "acc_norm_mean_u", "voice_norm_mean_u"),
    *("acc_sep_norm_mean_u", "voice_sep_norm_mean_u"),
)
CRITIC_TAGS = "disc_loss", "disc_real", "disc_fake", "wasserstein_dist", "grad_pen"
"""Tags of each critic, after its name: ``acc_disc_disc_loss``."""

CRITIC_ENTRIES = "mixtures", "accompaniments", "vocals", "epsilon"
"""Entries of a batch that hold unpaired songs, one for each critic step."""


def adam(
    config: AdversarialConfig, start: float, updates: int = 1
) -> keras.optimizers.Optimizer:
    """Make an Adam optimizer with the moments and epsilon of a configuration.

    Args:
        config: The configuration of a phase.
        start: Learning rate at the start.
        updates: Updates in a step of the run.
    """
    settings = config.model_config
    return keras.optimizers.Adam(
        learning_rate(config.train, start, updates=updates),
        settings.adam_beta1,
        settings.adam_beta2,
        settings.adam_epsilon,
        jit_compile=False,
    )


class SupervisedTraining(keras.Model):
    """Training of the separator on paired songs.

    Args:
        separator: The network.
        config: Configuration with transform and sizes.
        replicas: Number of replicas that share a global batch.

    Attributes:
        tags: Names of the scalars of a step: the original's, and ``loss``.
    """

    tags: tuple[str, ...] = SEPARATOR_TAGS

    def __init__(
        self, separator: UNet, config: AdversarialConfig, replicas: int
    ) -> None:
        super().__init__(name="supervised")
        self.network = separator
        self.config, self.replicas = config, replicas
        self.settings = config.model_config
        self.geometry = solve(self.settings)
        self.means = {tag: keras.metrics.Mean(tag) for tag in self.tags}
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take a step of the separator on paired songs."""
        return self.update_means(self.separator_step(batch))

    def separator_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take a step of the separator; return the scalars of each example by tag."""
        gradients, scalars = accumulate(
            self.gradients_of, batch, self.config.train.accumulate
        )
        weights = self.network.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return scalars

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, dict[str, tf.Tensor]]:
        """Compute the gradients of a batch, and the scalars of each example by tag.

        The gradient is that of the sum over the batch divided by the global batch size,
        so that the gradients of all replicas add up.
        """
        mixture = mixture_images(batch["mixture"], self.settings, self.geometry)
        sources = source_images(batch["sources"], self.settings, self.geometry)
        with tf.GradientTape() as tape:
            estimates = self.network(mixture.log, training=True)
            losses = loss.supervised(estimates, sources)
            total = tf.reduce_mean(losses) / self.replicas
        gradients: Any = tape.gradient(total, self.network.trainable_variables)
        scalars = {"loss": losses, "sup_sep_loss": losses, "sep_loss": losses}
        scalars["mask_loss"] = loss.additivity(estimates, mixture.linear)
        return gradients, {**scalars, **image_means(sources, estimates)}

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Compute the supervised loss on whole songs; all frames have equal weight."""
        mixture = mixture_images(batch["mixture"], self.settings, self.geometry)
        sources = source_images(batch["sources"], self.settings, self.geometry)
        losses = loss.supervised_by_frame(self.network(mixture.log), sources)
        weights = batch["frame_weight"] * batch["weight"][:, tf.newaxis]
        self.means["loss"].update_state(losses, weights)
        return {"loss": self.means["loss"].result()}

    def update_means(self, scalars: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Add the scalars of a step to the means of the epoch, which are returned."""
        for tag, values in scalars.items():
            self.means[tag].update_state(values)
        return {tag: self.means[tag].result() for tag in scalars}


class SemiSupervisedTraining(SupervisedTraining):
    """Training of the separator and the critics on paired and unpaired songs.

    Args:
        separator: The network.
        config: Configuration with transform, sizes and weights of the losses.
        replicas: Number of replicas that share a global batch.
    """

    tags = (
        *(*SEPARATOR_TAGS, *UNPAIRED_TAGS),
        *(f"{source}_disc_{tag}" for source in SOURCES for tag in CRITIC_TAGS),
    )

    def __init__(
        self, separator: UNet, config: AdversarialConfig, replicas: int
    ) -> None:
        super().__init__(separator, config, replicas)
        self.critics = [Critic(self.settings, f"{source}_disc") for source in SOURCES]
        self.critic_optimizers = [
            adam(config, self.settings.init_disc_lr, self.settings.num_disc)
            for _ in SOURCES
        ]
        for critic, optimizer in zip(self.critics, self.critic_optimizers, strict=True):
            optimizer.build(critic.trainable_variables)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take ``num_disc`` steps of both critics, then one step of the separator.

        Each step of the critics has new unpaired songs; their scalars are averaged.
        """
        step: Any = self.critic_step
        if not tf.distribute.has_strategy():
            # Traced once, because each trace takes seconds. Replicas cannot add up
            # their gradients within a graph of its own.
            step = tf.function(step, autograph=False)
        rounds = [
            step({name: batch[name][:, number] for name in CRITIC_ENTRIES})
            for number in range(self.settings.num_disc)
        ]
        scalars = {
            tag: tf.reduce_mean([losses[tag] for losses in rounds], 0)
            for tag in rounds[0]
        }
        return self.update_means({**scalars, **self.separator_step(batch)})

    def critic_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take a step of each critic on unpaired songs."""
        gradients, scalars = accumulate(
            self.critic_gradients_of, batch, self.config.train.accumulate
        )
        for critic, optimizer in zip(self.critics, self.critic_optimizers, strict=True):
            weights = critic.trainable_variables
            own, gradients = gradients[: len(weights)], gradients[len(weights) :]
            optimizer.apply_gradients(zip(own, weights, strict=True))
        return scalars

    def critic_gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, dict[str, tf.Tensor]]:
        """Compute the gradients of both critics, and scalars by tag.

        Each critic compares the same estimates of unpaired mixtures with real sources.
        """
        mixture = mixture_images(batch["mixtures"], self.settings, self.geometry)
        estimates = self.network(mixture.log)
        waves = tf.stack([batch["accompaniments"], batch["vocals"]], axis=1)
        sources = source_images(waves, self.settings, self.geometry)
        real = critic_images(sources, self.geometry)
        fake = tf.stop_gradient(critic_images(estimates, self.geometry))
        gradients: list[tf.Tensor | None] = []
        scalars = image_means(sources, estimates, "_u")
        for k, source in enumerate(SOURCES):
            own, values = self._gradients_of_one(
                k, real[:, k], fake[:, k], batch["epsilon"][:, k]
            )
            gradients += own
            scalars |= {f"{source}_disc_{tag}": value for tag, value in values.items()}
        return gradients, scalars

    def _gradients_of_one(
        self, number: int, real: tf.Tensor, fake: tf.Tensor, epsilon: tf.Tensor
    ) -> tuple[Gradients, dict[str, tf.Tensor]]:
        """Compute the gradients of one critic, and its scalars [batch] by tag.

        The original shuffles the real examples before it interpolates between them and
        the estimates; ours come from independent songs already.
        """
        critic = self.critics[number]
        interpolated = loss.interpolate(real, fake, epsilon)
        with tf.GradientTape() as tape:
            real_scores, fake_scores = critic(real), critic(fake)
            values = {"disc_real": real_scores, "disc_fake": fake_scores}
            losses = loss.critic_loss(real_scores, fake_scores)
            if self.settings.lam:
                values["grad_pen"] = loss.gradient_penalty(critic, interpolated)
                losses += self.settings.lam * values["grad_pen"]
            total = tf.reduce_mean(losses) / self.replicas
        gradients: Any = tape.gradient(total, critic.trainable_variables)
        distance = real_scores - fake_scores
        scalars = {**values, "disc_loss": losses, "wasserstein_dist": distance}
        return gradients, scalars

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, dict[str, tf.Tensor]]:
        """Compute the gradients for paired and unpaired songs at once, and scalars."""
        settings, geometry = self.settings, self.geometry
        paired = mixture_images(batch["mixture"], settings, geometry)
        sources = source_images(batch["sources"], settings, geometry)
        unpaired = mixture_images(batch["mixtures"][:, -1], settings, geometry)
        with tf.GradientTape() as tape:
            mixtures = tf.concat([paired.log, unpaired.log], axis=0)
            estimates, unpaired_estimates = tf.split(
                self.network(mixtures, training=True), 2
            )
            supervised = loss.supervised(estimates, sources)
            unsupervised, scalars = self.unsupervised_loss(
                unpaired_estimates, unpaired.linear
            )
            losses = supervised + unsupervised
            total = tf.reduce_mean(losses) / self.replicas
        gradients: Any = tape.gradient(total, self.network.trainable_variables)
        scalars |= {"loss": losses, "sep_loss": losses, "sup_sep_loss": supervised}
        scalars["unsup_sep_loss"] = unsupervised
        scalars["mask_loss"] = loss.additivity(estimates, paired.linear)
        return gradients, {**scalars, **image_means(sources, estimates)}

    def unsupervised_loss(
        self, estimates: tf.Tensor, mixture: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Compute the weighted loss of unpaired estimates, without terms of weight 0.

        Args:
            estimates: ln(1 + magnitude) [batch, 2, bins, frames, 1].
            mixture: Linear magnitude of their mixtures [batch, bins, frames, 1].

        Returns:
            Loss [batch], and the additivity by its tag if it has a weight.
        """
        total = tf.zeros(tf.shape(estimates)[:1])
        scalars: dict[str, tf.Tensor] = {}
        if self.settings.alpha:
            images = critic_images(estimates, self.geometry)
            scores = [critic(images[:, k]) for k, critic in enumerate(self.critics)]
            total += self.settings.alpha * loss.adversarial(*scores)
        if self.settings.beta:
            scalars["mask_loss_u"] = loss.additivity(estimates, mixture)
            total += self.settings.beta * scalars["mask_loss_u"]
        return total, scalars


def image_means(
    sources: tf.Tensor, estimates: tf.Tensor, suffix: str = ""
) -> dict[str, tf.Tensor]:
    """Average the images of each source and of its estimates.

    Args:
        sources: ln(1 + magnitude) [batch, 2, bins, frames, 1]: accompaniment, vocals.
        estimates: Of the same shape.
        suffix: Ending of the tags.

    Returns:
        Scalars by tag.

    >>> images = tf.zeros([1, 2, 3, 4, 1])
    >>> list(image_means(images, images, "_u"))[2:]
    ['acc_sep_norm_mean_u', 'voice_sep_norm_mean_u']
    """
    images = {"norm_mean": sources, "sep_norm_mean": estimates}
    return {
        f"{source}_{tag}{suffix}": tf.reduce_mean(image[:, k])
        for tag, image in images.items()
        for k, source in enumerate(SOURCES)
    }
