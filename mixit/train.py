"""Mixture invariant training: ``python -m mixit.train with tiny``."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common import experiment, records, training
from common.config import ConfigError
from common.training import cluster, distribution
from common.training.accumulation import Gradients, accumulate
from common.training.logs import Sounds
from common.training.optimizer import learning_rate
from mixit import data, summaries
from mixit.config import ALIASES, PRESETS, MixitConfig
from mixit.google.restore import start_from
from mixit.loss import MOST_ASSIGNMENTS, least_squares, mixit, sparsity, supervised
from mixit.model import Tdcn

MSI = "SNR/snr_gain_invariant/improvement_signals_mean_min2src_ref_nonzero"
ONE_SOURCE = "SNR/snr_gain_invariant/separated_signals_mean_1src_ref_nonzero"
# Steps between two sounds of training examples, as in Google's program.
SOUND_STEPS = 1000
SUPERVISED = tuple(dict.fromkeys((*summaries.INVARIANT, *summaries.SUPERVISED)))


class MixitTraining(keras.Model):
    """The separation network together with its loss and measures.

    Args:
        network: Separates mixtures [batch, samples] into [batch, sources, samples].
        config: Configuration with the losses and their weights.
        replicas: Number of replicas that share a global batch.
    """

    def __init__(self, network: Tdcn, config: MixitConfig, replicas: int) -> None:
        super().__init__(name="mixit")
        self.network = network
        self.config = config
        self.replicas = replicas
        self.loss_mean = keras.metrics.Mean("loss")
        self.num_mixtures = 1 if config.labelled == 1.0 else 2
        self.names = summaries.signal_names(config.model.num_sources, self.num_mixtures)
        suffixes = SUPERVISED if self.num_mixtures == 1 else summaries.INVARIANT
        self.seen = summaries.Summaries(self.names, suffixes, "seen")
        self.held_out = summaries.Summaries(self.names, suffixes, "held_out")
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Separate mixtures of mixtures and take one optimizer step."""
        count = self.config.train.accumulate
        gradients, (losses, estimates) = accumulate(self.gradients_of, batch, count)
        weights = self.network.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_mean.update_state(losses)
        logged = self.optimizer.iterations % self.config.train.log_steps == 0
        tf.cond(logged, lambda: self._measure(batch, estimates), lambda: None)
        return {"loss": self.loss_mean.result()}

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, tuple[tf.Tensor, tf.Tensor]]:
        """Compute the gradients of a batch, the loss of each example, and estimates.

        The second mixture of a labelled example is silent, so that its own mixture is
        separated. The gradient is of the sum over the batch divided by the
        global batch size, so that replicas add up to one.
        """
        mixtures = tf.reduce_sum(batch["sources"], axis=2)  # [batch, 2, samples]
        mixture_of_mixtures = tf.reduce_sum(mixtures, axis=1)
        with tf.GradientTape() as tape:
            estimates = self.network(mixture_of_mixtures, training=True)
            losses = self._training_losses(batch, estimates)
            loss = tf.reduce_mean(losses) / self.replicas
        gradients: Any = tape.gradient(loss, self.network.trainable_variables)
        return gradients, (losses, estimates)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss on mixtures of mixtures, measures on the single mixtures.

        If all examples have labels, the loss is of the single mixtures too.
        """
        weights = batch["counted"] * batch["weight"][:, tf.newaxis]  # [batch, 2]
        mixtures = tf.reduce_sum(batch["sources"], axis=2)  # [batch, 2, samples]
        singles = tf.unstack(mixtures, axis=1)
        if self.config.labelled == 1.0:
            apart = tf.split(self.network(tf.concat(singles, axis=0)), 2)
        else:
            everything = [tf.reduce_sum(mixtures, axis=1), *singles]
            together, *apart = tf.split(self.network(tf.concat(everything, axis=0)), 3)
            losses = self._invariant(mixtures, together)
            self.loss_mean.update_state(losses, tf.reduce_mean(weights, axis=1))
        sources_of, weight_of = (
            tf.unstack(tensor, axis=1) for tensor in (batch["sources"], weights)
        )
        for sources, weight, estimates, mixture in zip(
            sources_of, weight_of, apart, singles, strict=True
        ):
            if self.config.labelled == 1.0:
                losses = self._supervised(sources, estimates, mixture)
                self.loss_mean.update_state(losses, weight)
            if self._can_align(sources):
                self.held_out.update_state(sources, estimates, mixture, weight)
        result = {"loss": self.loss_mean.result()}
        if self._can_align(batch["sources"]):
            measured = self.held_out.result()
            result |= {tag: measured[tag] for tag in (MSI, ONE_SOURCE)}
        return result

    def _can_align(self, sources: tf.Tensor) -> bool:
        """Whether there are outputs for all of the sources [..., sources, samples]."""
        return (sources.shape[-2] or 0) <= self.config.model.num_sources

    def scalars(self, split: str) -> dict[str, float]:
        """Return all measures of the last logged batch, or of the last validation."""
        metric = self.seen if split == "train" else self.held_out
        return {tag: float(value) for tag, value in metric.result().items()}

    def _measure(self, batch: Mapping[str, tf.Tensor], estimates: tf.Tensor) -> None:
        """Measure a training batch if its outputs can be aligned to all sources."""
        mixture = tf.reduce_sum(batch["sources"], axis=[1, 2])
        sources = summaries.arrange(
            batch["sources"][:, : self.num_mixtures], self.names
        )
        self.seen.reset_state()
        if sources is not None:
            self.seen.update_state(sources, estimates, mixture)

    def _training_losses(
        self, batch: Mapping[str, tf.Tensor], estimates: tf.Tensor
    ) -> tf.Tensor:
        """Loss of each training example [batch], supervised if it has labels."""
        mixtures = tf.reduce_sum(batch["sources"], axis=2)
        mixture = tf.reduce_sum(mixtures, axis=1)
        share = self.config.labelled
        if share == 0.0:
            losses = self._invariant(mixtures, estimates)
        else:
            losses = self._supervised(batch["sources"][:, 0], estimates, mixture)
        if 0.0 < share < 1.0:
            without = self._invariant(mixtures, estimates)
            losses = tf.where(batch["labelled"], losses, without)
        weight = self.config.sparsity_weight
        if self.config.sparsity == "none" or weight == 0.0:
            return losses
        return losses + weight * sparsity(estimates, mixture)

    def _invariant(self, mixtures: tf.Tensor, estimates: tf.Tensor) -> tf.Tensor:
        assign = mixit if self.config.assignment == "search" else least_squares
        return assign(mixtures, estimates, self.config.max_snr)[0]

    def _supervised(
        self, sources: tf.Tensor, estimates: tf.Tensor, mixture: tf.Tensor
    ) -> tf.Tensor:
        return supervised(sources, estimates, mixture, self.config.zero_weight)


def build(config: MixitConfig, strategy: tf.distribute.Strategy) -> training.Job:
    """Make the job of a configuration.

    Raises:
        ConfigError: The batch cannot be divided into mixtures of mixtures, there are
            too few outputs, or too many for the search, several microphones, or an
            option is out of range.
    """
    _check(config)
    pairs = config.batch_size // 2
    # A warm-up and a cosine count the steps of this run.
    with_moments = config.train.lr_schedule == "own" and not config.train.warmup_steps
    pairs_of_step = pairs * config.train.accumulate
    corpus = data.root(config)
    train = data.load_records(config, corpus, "train")
    labelled = data.labelled_records(config)
    drawn = data.pools(config, train, labelled)
    valid = data.load_records(config, corpus, "validation")
    model = compiled(config, strategy.num_replicas_in_sync)
    train_example = data.training_example(config, *drawn)
    valid_example = data.validation_example(config, valid)
    count = data.validation_count(config, valid)
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, train_example, pairs_of_step, step
        ),
        valid=lambda: distribution.validation_batches(
            strategy, valid_example, count, pairs
        ),
        records=(train, valid) if labelled is None else (train, valid, labelled),
        digest="" if labelled is None else _digest(train, labelled),
        earlier_digest=train.digest,
        start=lambda: (
            config.initial and start_from(model, config.initial, with_moments)
        ),
        callbacks=lambda step: {
            "training_sounds": _training_sounds(
                config, model, train_example, pairs_of_step * model.replicas, step
            ),
            "sounds": _sounds(config, model, valid_example, step),
        },
        scalars=model.scalars,
    )


def _digest(*indexes: records.Index) -> str:
    """Digest of several records."""
    joined = " ".join(index.digest for index in indexes)
    return hashlib.sha256(joined.encode()).hexdigest()


def _check(config: MixitConfig) -> None:
    """Check ranges, the number of outputs and options that need each other."""
    if config.batch_size < 2 or config.batch_size % 2:
        raise ConfigError(
            f"batch_size={config.batch_size}: expected an even number of mixtures for "
            "each replica, because two make one mixture of mixtures"
        )
    _check_network(config)
    for name, least in (("lr", 0), ("lr_decay_steps", 1), ("clip_norm", 0)):
        value = getattr(config, name)
        if value < least:
            raise ConfigError(f"{name}={value:g}: expected at least {least}")
    if not 0.0 < config.lr_decay_rate <= 1.0:
        raise ConfigError(
            f"lr_decay_rate={config.lr_decay_rate:g}: expected above 0 and at most 1"
        )
    if (config.sparsity == "none") != (config.sparsity_weight == 0.0):
        raise ConfigError(
            f"sparsity={config.sparsity}, sparsity_weight={config.sparsity_weight:g}: "
            "one has no effect without the other; set both, or leave both out"
        )
    if config.labelled_root is not None and config.labelled == 0.0:
        raise ConfigError(
            f"labelled_root={config.labelled_root} with labelled=0: no example would "
            "be drawn from it; set labelled to its part of the examples, such as 0.5"
        )
    if config.segment_seconds <= 0.0 or config.validation_examples < 0:
        raise ConfigError(
            f"segment_seconds={config.segment_seconds:g} and validation_examples="
            f"{config.validation_examples}; expected more than 0 s and at least 0 (all)"
        )


def _check_network(config: MixitConfig) -> None:
    """Check the numbers of outputs and microphones."""
    outputs = config.model.num_sources
    if config.assignment == "search" and 2**outputs > MOST_ASSIGNMENTS:
        raise ConfigError(
            f"model.num_sources={outputs}: {2**outputs} assignments are too many to "
            "search; set assignment=least_squares, or use fewer outputs"
        )
    if outputs < 2 and config.labelled < 1.0:
        raise ConfigError(
            f"model.num_sources={outputs}: expected at least 2 outputs, one for each "
            "mixture; train with labelled=1, or use more outputs"
        )
    if config.model.num_mics > 1:
        raise ConfigError(
            f"model.num_mics={config.model.num_mics}: only networks for one microphone "
            "can be trained, because the examples have one channel; set it to 1"
        )


def compiled(config: MixitConfig, replicas: int) -> MixitTraining:
    """Make the network and its optimizer, both built, ready for ``fit``."""
    checkpointing, precision = config.gradient_checkpointing, config.train.precision
    network = Tdcn(config.model, checkpointing, precision)
    decay = keras.optimizers.schedules.ExponentialDecay(
        config.lr, config.lr_decay_steps, config.lr_decay_rate
    )
    # Keras' Adam has the "epsilon hat" form of TF1, with another default epsilon.
    optimizer = keras.optimizers.Adam(
        learning_rate(config.train, config.lr, decay),
        epsilon=1e-8,
        global_clipnorm=config.clip_norm or None,
        jit_compile=False,
    )
    optimizer.build(network.trainable_variables)
    model = MixitTraining(network, config, replicas)
    model.compile(optimizer)
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; return the exit code."""
    command = experiment.Command(
        name="mixit.train",
        presets=PRESETS,
        default="fuss",
        main=_main,
        aliases=ALIASES,
    )
    return experiment.run(command, argv)


def _main(config: MixitConfig, check: bool) -> int:
    if check:
        return training.check(config, build)
    model = training.train(config, build)
    training.say(f"trained {model.optimizer.iterations.numpy()} steps: {config.output}")
    return 0


def _training_sounds(
    config: MixitConfig,
    model: MixitTraining,
    example: distribution.Example,
    rows: int,
    start_step: int,
) -> summaries.TrainingSounds:
    """Make the callback for summaries of training examples, as in Google's program."""

    def sources(step: int) -> tf.Tensor:
        positions = [tf.constant((step - 1) * rows + i, tf.int64) for i in range(3)]
        return tf.stack(
            [
                example(position)["sources"][: model.num_mixtures]
                for position in positions
            ]
        )

    return summaries.TrainingSounds(
        str(config.output),
        sources,
        model.names,
        config.model.sample_rate,
        every=SOUND_STEPS,
        start_step=start_step,
        chief=cluster.is_chief(),
    )


def _sounds(
    config: MixitConfig,
    model: MixitTraining,
    example: distribution.Example,
    step: int,
) -> Sounds:
    """Make the callback for summaries of three mixtures of the validation."""

    def sounds() -> dict[str, tf.Tensor]:
        sources = tf.stack(
            [example(tf.constant(i, tf.int64))["sources"][0] for i in range(3)]
        )
        mixture = tf.reduce_sum(sources, axis=1)
        # With more sources than outputs nothing can be aligned.
        references = sources if (sources.shape[1] or 0) <= len(model.names) else None
        estimates = model.network(mixture)
        return summaries.sounds(mixture, references, estimates, model.names)

    rate = config.model.sample_rate
    return Sounds(
        str(config.output),
        sounds,
        rate,
        step,
        lambda waveforms: summaries.images(waveforms, rate),
        chief=cluster.is_chief(),
    )


if __name__ == "__main__":
    sys.exit(main())
