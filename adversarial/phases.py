"""The two phases of a run: what each is made of, in which order, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from adversarial import corpus, data, evaluate, limits, results
from adversarial.config import AdversarialConfig
from adversarial.job import SEMI_SUPERVISED, SUPERVISED, Kind
from adversarial.lists import Lists
from adversarial.model import Separator
from adversarial.separate import load
from common import training
from common.config import override
from common.files import write_json
from common.training import distribution, run_folder
from common.training.checkpoint import restore_network
from common.training.resume import TrainingError

TEST = "test.json"
"""File of a phase's loss and scores on the test songs."""


def run(config: AdversarialConfig, build: training.Build, check: bool) -> int:
    """Run the phases that a configuration asks for, or check the last of them.

    Args:
        config: The configuration of the run.
        build: Makes the job of one phase; importable by name.
        check: Only check that a run can be resumed.

    Returns:
        The exit code.
    """
    limits.demand(config.model_config)
    found = data.read_lists(config)
    corpus.tell(found)
    names = phases(config, bool(found.mixtures))
    if check:
        return training.check(part(config, names[-1]), build)
    for name in names:
        each = part(config, name)
        if distribution.is_chief():
            link_events(each)
        model = training.train(each, build)
        steps = int(model.optimizer.iterations.numpy())
        training.say(f"trained {steps} steps: {each.output}")
        if distribution.is_chief():
            test(each, found, steps, type(model))
        keras.backend.clear_session()
    return 0


def test(config: AdversarialConfig, found: Lists, step: int, kind: Kind) -> None:
    """Measure the best weights of a phase on the test songs, as the original does.

    One device does it all, whatever the strategy of the training. What a run that went
    on has measured already is not measured again.

    Args:
        config: Configuration of the phase.
        found: The songs.
        step: Step at which the training has ended.
        kind: Makes what was trained of the separator.
    """
    place = Path(str(config.output))
    if _tested(place / TEST) == step:
        return
    separator = Separator(config.model_config, config.train.precision)
    restore_network(place, separator)
    model = kind(separator, config, 1)
    model.compile()
    songs = data.open_whole(config, "test", found)
    example, count = data.validation_example(config, songs)
    batches, steps = distribution.validation_batches(
        tf.distribute.get_strategy(), example, count, config.model_config.batch_size
    )
    told = model.evaluate(batches, steps=steps, verbose=0, return_dict=True)["loss"]
    with tf.summary.create_file_writer(str(place / "events" / "test")).as_default():
        tf.summary.scalar("test_loss", told, step)
    paired = config.corpora.paired
    whole = evaluate.score(load(place), found.test, place / "evaluation", paired)
    write_json({"step": step, "test_loss": told, **whole}, place / TEST)
    training.say(f"test loss {told:.4f}\n{results.table(whole)}")


def _tested(path: Path) -> int | None:
    """Step of the training that was measured."""
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))["step"]


def link_events(config: AdversarialConfig) -> None:
    """Let TensorBoard find a phase below ``log_dir``, under the name it had there."""
    settings, place = config.model_config, Path(str(config.output)).absolute()
    run, base = place.parent, Path(settings.model_base_dir).absolute()
    if settings.log_dir is None or run.parent != base:
        return
    link = Path(settings.log_dir) / f"{run.name}_{place.name}"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() and not link.exists():
        link.symlink_to(place / "events", target_is_directory=True)


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
