"""Training in both phases: ``python -m adversarial.train with tiny``.

The first phase trains the separator on paired songs. The second trains it again, with
critics that compare its estimates of unpaired mixtures with real vocals and
accompaniments. Each phase has its own run folder, ``sup`` and ``semisup`` in that of
the run. After an interruption the same command continues.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from adversarial import data, evaluate, phases
from adversarial.config import PRESETS, AdversarialConfig, validate
from adversarial.model import UNet
from adversarial.phases import SEMI_SUPERVISED, SUPERVISED
from adversarial.separate import load, restored
from adversarial.songs import corpus
from adversarial.songs.song_lists import SongLists
from adversarial.steps import SemiSupervisedTraining, SupervisedTraining, adam
from adversarial.summaries import image_summaries
from common import experiment, training
from common.errors import exit_code
from common.files import write_json
from common.training import cluster, distribution, network_file
from common.training.checkpoint import restore_network
from common.training.logs import Sounds
from common.training.plateau import EarlyStopping

TRAINING: Mapping[str, type[SupervisedTraining]] = {
    SUPERVISED: SupervisedTraining,
    SEMI_SUPERVISED: SemiSupervisedTraining,
}
"""Training model of each phase."""

SHAPE = "num_layers", "initial_filters", "head"
"""Settings that initial weights must share; these do not depend on the others."""

TEST = "test.json"
"""File of a phase's loss and scores on the test songs."""


def run(config: AdversarialConfig, check: bool = False) -> int:
    """Run the phases of a configuration, or check the last one.

    Args:
        config: The configuration of the run.
        check: Only check that a run can be resumed.

    Returns:
        The exit code.
    """
    validate(config.model_config)
    songs = corpus.list_songs(config)
    corpus.report(songs)
    names = phases.requested(config, bool(songs.mixtures))
    if check:
        return training.check(
            phases.part(config, names[-1]), partial(build, songs=songs)
        )
    for name in names:
        phase = phases.part(config, name)
        if cluster.is_chief():
            phases.link_events(phase)
        model = training.train(phase, partial(build, songs=songs))
        steps = int(model.optimizer.iterations.numpy())
        training.say(f"trained {steps} steps: {phase.output}")
        if cluster.is_chief():
            test(phase, songs, steps)
        keras.backend.clear_session()
    return 0


def build(
    config: AdversarialConfig,
    strategy: tf.distribute.Strategy,
    songs: SongLists | None = None,
) -> training.Job:
    """Make the job of one phase.

    Args:
        config: The configuration of the phase, from :func:`adversarial.phases.part`.
        strategy: The strategy of the run, whose scope is entered.
        songs: The songs of the run; None lists them.
    """
    opened = data.open_data(config, songs or corpus.list_songs(config))
    model = compiled(config, strategy.num_replicas_in_sync)
    make = {
        SUPERVISED: data.paired_example,
        SEMI_SUPERVISED: data.semi_supervised_example,
    }
    # Traced once, because every start and every resumed epoch makes new batches.
    train_example = tf.function(make[config.phases](config, opened), autograph=False)
    valid_example, count = data.validation_example(config, opened.valid)
    batch, workers = config.model_config.batch_size, config.model_config.num_workers
    return training.Job(
        model=model,
        train=lambda step: distribution.training_batches(
            strategy, train_example, batch * config.train.accumulate, step, workers
        ),
        valid=lambda: distribution.validation_batches(
            strategy, valid_example, count, batch
        ),
        records=opened.records,
        digest=opened.digest,
        earlier_digest=opened.paired.sounds.earlier_digest,
        # The reuse of excerpts depends on the batch size of each replica.
        divisible=not config.model_config.excerpts_reused,
        start=lambda: start(config, model.network),
        callbacks=lambda step: _callbacks(config, opened, model, step),
        scalars=lambda split: _scalars(model, split),
    )


def compiled(config: AdversarialConfig, replicas: int = 1) -> SupervisedTraining:
    """Make the compiled training model of a phase.

    Args:
        config: The configuration of the phase.
        replicas: Number of replicas that share a global batch.
    """
    settings = config.model_config
    rates = {
        SUPERVISED: settings.init_sup_sep_lr,
        SEMI_SUPERVISED: settings.init_unsup_sep_lr,
    }
    separator = UNet(settings, config.train.precision)
    model = TRAINING[config.phases](separator, config, replicas)
    model.compile(adam(config, rates[config.phases]))
    model.optimizer.build(separator.trainable_variables)
    return model


def start(config: AdversarialConfig, separator: UNet) -> None:
    """Give the separator the weights of the first phase, or of another model.

    Raises:
        CheckpointError: There is no such model.
        ConfigError: It has another shape.
    """
    if config.phases == SEMI_SUPERVISED and config.model_config.init_from == "sup":
        restore_network(Path(str(config.output)).parent / SUPERVISED, separator)
    elif config.initial is not None:
        other, name = restored(config.initial), f"initial={config.initial}"
        shapes = [
            {f"model_config.{key}": getattr(settings, key) for key in SHAPE}
            for settings in (other.config, config.model_config)
        ]
        network_file.expect_same_shape(name, *shapes)
        network_file.copy(other, separator, name)


def _callbacks(
    config: AdversarialConfig, opened: data.Data, model: SupervisedTraining, step: int
) -> Mapping[str, keras.callbacks.Callback]:
    """Make the early stopping, and the image summaries of every epoch."""
    paired, unpaired = data.paired_example(config, opened), None
    if config.phases == SEMI_SUPERVISED:
        unpaired = data.unpaired_example(config, opened)
    summarize = image_summaries(model, paired, unpaired)
    rate, chief = config.model_config.expected_sr, cluster.is_chief()
    return {
        "early_stopping": EarlyStopping(config.model_config.patience),
        "images": Sounds(
            str(config.output), dict, rate, step, lambda sounds: summarize(), chief
        ),
    }


def _scalars(model: SupervisedTraining, split: str) -> dict[str, float]:
    """Return the validation loss under its own tag, apart from the test loss."""
    if split != "validation":
        return {}
    return {"valid_loss": float(model.means["loss"].result())}


def test(config: AdversarialConfig, songs: SongLists, step: int) -> None:
    """Evaluate the best weights of a phase on the test songs, as the original does.

    It runs on one device with any strategy of the training. A resumed run does not
    repeat it.

    Args:
        config: Configuration of the phase.
        songs: The songs of the run.
        step: Last step of the training.
    """
    folder = Path(str(config.output))
    if _tested_step(folder / TEST) == step:
        return
    model = compiled(config)
    restore_network(folder, model.network)
    stream = data.open_split(config, "test", songs)
    example, count = data.validation_example(config, stream)
    batches, steps = distribution.validation_batches(
        tf.distribute.get_strategy(), example, count, config.model_config.batch_size
    )
    loss = model.evaluate(batches, steps=steps, verbose=0, return_dict=True)["loss"]
    with tf.summary.create_file_writer(str(folder / "events" / "test")).as_default():
        tf.summary.scalar("test_loss", loss, step)
    output, database = folder / "evaluation", evaluate.database_of(config)
    scores = evaluate.evaluate(load(folder), songs.test, output, database).summary
    write_json({"step": step, "test_loss": loss, **scores}, folder / TEST)
    training.say(f"test loss {loss:.4f}\n{evaluate.table(scores)}")


def _tested_step(path: Path) -> int | None:
    """Read the step of the training at which the test was made."""
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))["step"]


def _without_corpus(config: AdversarialConfig) -> str | None:
    if config.corpora.data_root or config.corpora.function:
        return None
    return (
        f"corpora.data_root is not set; name the folder of {config.corpora.paired} "
        "(corpora.data_root=FOLDER, or MUSDB18_ROOT_DIR for "
        "./run_train_model_on_musdb18_and_moisesdb.sh), or train 'with tiny' on the "
        "synthetic miniature"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the training; return the exit code."""
    command = experiment.Command(
        name="adversarial.train",
        presets=PRESETS,
        default="musdb_moisesdb",
        main=run,
        folder=phases.default_folder,
        without_corpus=_without_corpus,
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code("adversarial.train", lambda: experiment.run(command, arguments))


if __name__ == "__main__":
    sys.exit(main())
