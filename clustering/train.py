"""Training of all networks: ``python -m clustering.train with tiny``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import tensorflow as tf
import tf_keras as keras

from clustering import data
from clustering.clipping import AutoClip, Gradients, clip_by_norm
from clustering.config import ClusteringConfig
from clustering.foreign import experiment_file
from clustering.losses import objective
from clustering.models.network import network
from clustering.presets import PRESETS
from clustering.weights import start_from
from common import experiment, training
from common.config import ConfigError
from common.errors import exit_code
from common.training import distribution
from common.training.accumulation import accumulate
from common.training.optimizer import check_rates, learning_rate, optimizer
from common.training.plateau import EarlyStopping, Plateau


class ClusteringTraining(keras.Model):
    """A network together with its loss.

    Args:
        net: Network from magnitudes or waveforms of mixtures to embeddings, masks or
            both, or to waveforms.
        config: Configuration with the network, the transform and the losses.
        replicas: Number of replicas that share a global batch.
    """

    def __init__(
        self, net: keras.Model, config: ClusteringConfig, replicas: int
    ) -> None:
        super().__init__(name="clustering")
        self.network = net
        self.config = config
        self.replicas = replicas
        percentile = config.clip_percentile
        self.clip = None if percentile is None else AutoClip(percentile)
        names = ["loss", *objective.terms(config), "gradient"]
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.built = True

    # No Python control flow on tensors, which AutoGraph would take seconds to find out.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one optimizer step on a batch of mixtures.

        The sum of the gradients of all replicas is clipped.
        """
        parts = self.config.train.accumulate
        own, losses = accumulate(self.gradients_of, batch, parts)
        weights = self.network.trainable_variables
        pairs = zip(own, weights, strict=True)
        summed = [gradient for gradient, _ in self.optimizer.aggregate_gradients(pairs)]
        gradients, norm = self._clipped(summed)
        self.optimizer.apply_gradients(
            zip(gradients, weights, strict=True), skip_gradients_aggregation=True
        )
        self.means["gradient"].update_state(norm)
        return {**self._averages(losses), "gradient": self.means["gradient"].result()}

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, dict[str, tf.Tensor]]:
        """Compute the gradients of a batch, and the losses of each example [batch].

        The gradient is that of the sum over the batch divided by the global batch size,
        so that the gradients of all replicas add up.
        """
        prepared = objective.prepare(self.config, batch)
        with tf.GradientTape() as tape:
            outputs = self.network(prepared.input, training=True)
            losses = objective.losses(self.config, prepared, outputs)
            loss = tf.reduce_mean(losses["loss"]) / self.replicas
        # A head without a loss is not connected and is not trained.
        zero = tf.UnconnectedGradients.ZERO
        weights = self.network.trainable_variables
        return tape.gradient(loss, weights, None, zero), losses

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Compute the losses on a batch of the validation."""
        prepared = objective.prepare(self.config, batch)
        outputs = self.network(prepared.input)
        losses = objective.losses(self.config, prepared, outputs)
        return self._averages(losses, batch["weight"])

    def _clipped(self, gradients: Gradients) -> tuple[Gradients, tf.Tensor]:
        """Clip by AutoClip, then by norm; also returns the norm before."""
        if self.clip is None:
            return clip_by_norm(gradients, self.config.clip_norm or float(2**100))
        clipped, norm = self.clip(gradients)
        if self.config.clip_norm:
            clipped, _ = clip_by_norm(clipped, self.config.clip_norm)
        return clipped, norm

    def _averages(
        self, losses: Mapping[str, tf.Tensor], weight: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        for name, values in losses.items():
            self.means[name].update_state(values, weight)
        return {name: self.means[name].result() for name in losses}


def build(config: ClusteringConfig, strategy: tf.distribute.Strategy) -> training.Job:
    """Make the job of a configuration.

    Raises:
        ConfigError: The batch is empty, a rate out of range, or network, loss and
            corpus do not fit.
    """
    if config.batch_size < 1:
        raise ConfigError(f"batch_size={config.batch_size}: expected at least 1")
    check_rates(config.lr, config.weight_decay, config.lr_decay_gamma)
    objective.check_weights(config)
    train, valid = data.load(config)
    replicas = strategy.num_replicas_in_sync
    net = network(config, len(train.names))
    objective.check_own(config, net, len(train.names))
    model = ClusteringTraining(net, config, replicas)
    steps = data.epoch_steps(config, train, replicas)
    rate = learning_rate(replace(config.train, steps_per_epoch=steps), config.lr)
    model.compile(optimizer(config.optimizer, rate, config.weight_decay))
    model.optimizer.build(model.network.trainable_variables)
    example = data.training_example(config, train, replicas)
    valid_example = data.validation_example(config, valid)
    indexes = [split.sounds.records for split in (train, valid)]
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, example, config.batch_size * config.train.accumulate, step
        ),
        valid=lambda: distribution.validation_batches(
            strategy, valid_example, len(valid.lengths), config.batch_size
        ),
        records=[index for index in indexes if index is not None],
        digest=train.sounds.digest,
        earlier_digest=train.sounds.earlier_digest,
        steps_per_epoch=steps,
        start=lambda: start_from(model.network, config),
        callbacks=lambda step: _callbacks(config),
    )


def _callbacks(config: ClusteringConfig) -> dict[str, keras.callbacks.Callback]:
    """Make the early stopping, and the plateau if it lowers the learning rate."""
    stopping = {"early_stopping": EarlyStopping(config.patience)}
    if config.train.lr_schedule != "own":
        return stopping
    patience, factor = config.lr_decay_patience, config.lr_decay_gamma
    return {"plateau": Plateau(patience, factor, cooldown=0), **stopping}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code("clustering.train", lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    """Train the configuration of presets, keys and an experiment file (``-p FILE``)."""
    file, words = experiment_file.pop_option(arguments)
    presets, default = PRESETS, "dpcl"
    if file is not None:
        # Its values are complete, so no other preset can be combined with them.
        presets, default = {file.path.stem: file.config}, file.path.stem
    command = experiment.Command(
        "clustering.train", presets, default, _main, without_corpus=_without_corpus
    )
    return experiment.run(command, words)


def _without_corpus(config: ClusteringConfig) -> str | None:
    if config.data_root is not None or config.folders:
        return None
    tiny = f"tiny_{config.kind}" if f"tiny_{config.kind}" in PRESETS else "tiny"
    return (
        f"data_root is not set; name the folder of {config.dataset} "
        "(data_root=FOLDER, or WSJ0_2MIX_ROOT_DIR or WHAM_ROOT_DIR for "
        "./run_train_model_on_wsj0_2mix.sh), "
        f"or train 'with {tiny}' on the synthetic miniature"
    )


def _main(config: ClusteringConfig, check: bool) -> int:
    if check:
        return training.check(config, build)
    model = training.train(config, build)
    steps = model.optimizer.iterations.numpy()
    training.say(f"trained {steps} steps: {config.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
