"""Training by mixture invariance: ``python -m mixit.train with tiny``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common import distribution, experiment, training
from common.config import ConfigError
from common.logs import Sounds
from mixit import data
from mixit.config import PRESETS, MixitConfig
from mixit.loss import mixit
from mixit.metrics import score
from mixit.model import Tdcn

MSI = "SNR/snr_gain_invariant/improvement_signals_mean_min2src_ref_nonzero"
ONE_SOURCE = "SNR/snr_gain_invariant/separated_signals_mean_1src_ref_nonzero"


class MixitTraining(keras.Model):
    """The separation network together with its loss and measures.

    Args:
        network: Separates mixtures [batch, samples] into [batch, sources, samples].
        max_snr: Ratio at which the loss saturates, in dB.
        replicas: Number of replicas that share a global batch.
    """

    def __init__(self, network: Tdcn, max_snr: float, replicas: int) -> None:
        super().__init__(name="mixit")
        self.network = network
        self.max_snr = max_snr
        self.replicas = replicas
        self.loss_mean = keras.metrics.Mean("loss")
        self.msi = keras.metrics.Mean(MSI)
        self.one_source = keras.metrics.Mean(ONE_SOURCE)
        self.built = True

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Separate mixtures of mixtures and take one optimizer step.

        The gradient is of the sum over the batch divided by the global batch size, so
        that replicas add up to one.
        """
        mixtures = tf.reduce_sum(batch["sources"], axis=2)  # [batch, 2, samples]
        mixture_of_mixtures = tf.reduce_sum(mixtures, axis=1)
        with tf.GradientTape() as tape:
            estimates = self.network(mixture_of_mixtures, training=True)
            losses, _ = mixit(mixtures, estimates, self.max_snr)
            loss = tf.reduce_mean(losses) / self.replicas
        weights = self.network.trainable_variables
        gradients: Any = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_mean.update_state(losses)
        return {"loss": self.loss_mean.result()}

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss on mixtures of mixtures, measures on the single mixtures."""
        sources, weight = batch["sources"], batch["weight"]
        mixtures = tf.reduce_sum(sources, axis=2)  # [batch, 2, samples]
        singles = [mixtures[:, 0], mixtures[:, 1]]
        everything = tf.concat([tf.reduce_sum(mixtures, axis=1), *singles], axis=0)
        together, *apart = tf.split(self.network(everything), 3)
        losses, _ = mixit(mixtures, together, self.max_snr)
        self.loss_mean.update_state(losses, weight)
        for place, (mixture, estimates) in enumerate(zip(singles, apart, strict=True)):
            self._measure(sources[:, place], estimates, mixture, weight)
        return {metric.name: metric.result() for metric in self.metrics}

    def _measure(
        self,
        sources: tf.Tensor,
        estimates: tf.Tensor,
        mixture: tf.Tensor,
        weight: tf.Tensor,
    ) -> None:
        scores = score(sources, estimates, mixture, by="log_mse")
        for metric, values, counted in (
            (self.msi, scores.improvement, scores.active_count > 1),
            (self.one_source, scores.separated, scores.active_count == 1),
        ):
            of_example = weight * tf.cast(counted, tf.float32)
            active = tf.cast(scores.active_references, tf.float32)
            metric.update_state(values, of_example[:, tf.newaxis] * active)


def build(config: MixitConfig, strategy: tf.distribute.Strategy) -> training.Job:
    """Make the job of a configuration.

    Raises:
        ConfigError: The batch cannot be divided into mixtures of mixtures.
    """
    if config.batch_size < 2 or config.batch_size % 2:
        raise ConfigError(
            f"batch_size={config.batch_size}: expected an even number of mixtures for "
            "each replica, because two make one mixture of mixtures"
        )
    pairs = config.batch_size // 2
    place = data.root(config)
    train = data.load_records(config, place, "train")
    valid = data.load_records(config, place, "validation")
    model = compiled(config, strategy.num_replicas_in_sync)
    example = data.validation_example(config, valid)
    count = data.validation_count(config, valid)
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, data.training_example(config, train), pairs, step
        ),
        valid=lambda: distribution.validation_batches(strategy, example, count, pairs),
        records=(train, valid),
        callbacks=lambda step: [_sounds(config, model, example, step)],
    )


def compiled(config: MixitConfig, replicas: int) -> MixitTraining:
    """Make the network and its optimizer, both built, ready for ``fit``."""
    network = Tdcn(config.model)
    schedule = keras.optimizers.schedules.ExponentialDecay(
        config.lr, config.lr_decay_steps, config.lr_decay_rate
    )
    # Keras' Adam has the "epsilon hat" form of TF1, with another default epsilon.
    optimizer = keras.optimizers.Adam(schedule, epsilon=1e-8, jit_compile=False)
    optimizer.build(network.trainable_variables)
    model = MixitTraining(network, config.max_snr, replicas)
    model.compile(optimizer)
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; returns the exit code."""
    command = experiment.Command(
        name="mixit.train",
        presets=PRESETS,
        default="fuss",
        main=_main,
        aliases={
            "-dd": "data_root",
            "--data_dir": "data_root",
            "-md": "output",
            "--model_dir": "output",
        },
    )
    return experiment.run(command, argv)


def _main(config: MixitConfig, check: bool) -> int:
    if check:
        return training.check(config, build)
    model = training.train(config, build)
    training.say(f"trained {model.optimizer.iterations.numpy()} steps: {config.output}")
    return 0


def _sounds(config: MixitConfig, model: Any, example: Any, step: int) -> Sounds:
    """Let three mixtures of the validation be heard and seen in TensorBoard."""

    def sounds() -> dict[str, tf.Tensor]:
        sources = tf.stack(
            [example(tf.constant(i, tf.int64))["sources"][0] for i in range(3)]
        )
        mixture = tf.reduce_sum(sources, axis=1)
        estimates = model.network(mixture)
        heard = {"mixture": mixture}
        heard.update(
            {f"source_{i}": s for i, s in enumerate(tf.unstack(sources, axis=1))}
        )
        outputs = tf.unstack(estimates, axis=1)
        return {**heard, **{f"separated_{i}": s for i, s in enumerate(outputs)}}

    return Sounds(str(config.output), sounds, config.model.sample_rate, step)


if __name__ == "__main__":
    sys.exit(main())
