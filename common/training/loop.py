"""Train a model by Keras, with exact resume and a dry run.

A run is a function of its configuration: data are functions of (seed, step), and the
checkpoint holds everything else. After a kill at any time, the same command resumes and
ends with the bits of an undisturbed run (on CPU, same machine, threads and lane).
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common import memory
from common.files import scratch_folder
from common.records import Index, explain
from common.training import cluster, distribution, run_folder
from common.training.averages import Averages
from common.training.checkpoint import Checkpoints
from common.training.distribution import Batches
from common.training.logs import Scalars
from common.training.resume import Progress, RequireFinite, Saver, TrainingError
from common.training.run_folder import Run
from common.training.schedule import Schedule

ALIVE = "alive"
"""File of a dry run beside the run folder, without which its second process ends."""


@dataclass(frozen=True)
class Job:
    """One run, ready to start.

    Attributes:
        model: Compiled model, built together with its optimizers.
        train: Returns the endless training data from a step on.
        valid: Returns the validation data and their number of steps.
        records: The records that it reads, training data first.
        digest: Digest of the training data; if empty, that of the first records. With
            neither, a run is not protected from other data.
        earlier_digest: Digest of the same data by an earlier release.
        steps_per_epoch: Steps of an epoch of the data, for a schedule without its own.
        divisible: Whether examples are independent of the batch size of each replica,
            so that the global batch can be divided differently on a resume.
        start: Initialises a new run, for example with the weights of another one. A
            resumed run restores its checkpoint instead.
        callbacks: Returns the callbacks of the package by name, for the first step.
            The state of a callback is saved under its name.
        scalars: Returns more scalars of ``train`` or ``validation``, which are written
            but not printed.
    """

    model: keras.Model
    train: Callable[[int], Batches]
    valid: Callable[[], tuple[Batches, int]]
    records: Sequence[Index]
    digest: str = ""
    earlier_digest: str = ""
    steps_per_epoch: int = 0
    divisible: bool = True
    start: Callable[[], object] = lambda: None
    callbacks: Callable[[int], Mapping[str, keras.callbacks.Callback]] = lambda step: {}
    scalars: Callable[[str], Mapping[str, float]] = lambda split: {}


Build = Callable[[Run, tf.distribute.Strategy], Job]
"""Function from a configuration to a job, called in the scope of the strategy."""


def train(config: Run, build: Build[Run]) -> keras.Model:
    """Train a model from the start or from its latest checkpoint to the end.

    Args:
        config: Configuration of the package, with ``output`` (the run folder) and
            ``train`` (the :class:`Schedule`).
        build: Function of the package that builds the job.

    Returns:
        The trained model, whose network has the averages of ``train.ema``.

    Raises:
        TrainingError: The loss is not finite, a record is damaged, or workers resume at
            different steps.
        RunFolderError: The folder holds a run of another configuration, another process
            trains it, or its global batch cannot be divided among the replicas.
        CheckpointError: There are checkpoints and none can be restored.
    """
    folder, chief = run_folder.path_of(config), cluster.is_chief()
    with run_folder.alone(folder) if chief else contextlib.nullcontext():
        return _train(config, build, folder, chief)


def _train(config: Run, build: Build[Run], folder: Path, chief: bool) -> keras.Model:
    """Train a run that no other process trains."""
    job, batch, averages = _start(config, build)
    schedule = _schedule(config.train, job)
    # Every replica returns the metrics of all; the default would add them up.
    job.model.distribute_reduction_method = "first"
    store = Checkpoints(folder, job.model, schedule.keep, chief, averages)
    step, state = _restore(store, job, averages, folder)
    _check_batch(folder, state, batch)
    if chief:
        digest = job.digest or next((index.digest for index in job.records), "")
        digests = digest, job.earlier_digest
        run_folder.record(folder, config, step, *digests, **batch._asdict())
    callbacks = {
        **job.callbacks(step),
        "finite": RequireFinite(folder),
        "scalars": Scalars(folder, schedule.log_steps, step, job.scalars, chief),
    }
    total = schedule.epochs * schedule.steps_per_epoch
    say(f"{folder}: step {step} of {total}, {batch}")
    state = {"global_batch": batch.global_batch, **state}
    saver = Saver(store, schedule, callbacks, step, state)
    if saver.stopped:
        say(f"{folder}: this run has stopped early")
    else:
        with _explained(folder, job):
            _fit(job, schedule, step, [*saver.all, averages])
    averages.use(True)
    return job.model


def _schedule(schedule: Schedule, job: Job) -> Schedule:
    """Return the schedule with the steps of an epoch, its own or those of the data."""
    steps = schedule.steps_per_epoch or job.steps_per_epoch
    if steps < 1:
        raise TrainingError(
            f"train.steps_per_epoch={steps}: expected at least 1, because these data "
            "have no epochs of their own"
        )
    return replace(schedule, steps_per_epoch=steps)


def _restore(
    store: Checkpoints, job: Job, averages: Averages, folder: Path
) -> tuple[int, Mapping[str, Any]]:
    """Restore the latest checkpoint, or start a new run: the step and the state."""
    restored = store.restore_latest()
    step, state, skipped = restored or (0, {}, ())
    _expect_one_step(folder, job.model.distribute_strategy, step)
    if restored is None:
        job.start()
        averages.restart()
    for sentence in skipped:
        say(f"{folder}: {sentence}: going on from step {step}")
    return step, state


@contextlib.contextmanager
def _explained(folder: Path, job: Job) -> Iterator[None]:
    """Raise errors that name the damaged record, or say that a worker has ended."""
    try:
        yield
    except tf.errors.DataLossError as error:
        if not job.records:
            raise
        raise TrainingError(_damage(error, job.records)) from error
    except tf.errors.UnavailableError as error:
        if not distribution.has_workers(job.model.distribute_strategy):
            raise
        raise TrainingError(
            f"{folder}: another worker of this run has ended; start the same command "
            "on all machines again to go on from the last checkpoint"
        ) from error


def check(config: Run, build: Build[Run]) -> int:
    """Dry run: two steps, save, restore in a new process, a third step in both.

    Args:
        config: Configuration of the package.
        build: Function of the package that builds the job; importable by name.

    Returns:
        0, if both processes reach the same weights.

    Raises:
        TrainingError: The weights differ, or the loss is not finite.
    """
    context = multiprocessing.get_context("spawn")
    with (
        scratch_folder(Path(tempfile.gettempdir())) as folder,
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        folder.chmod(0o700)  # It is in the temporary folder of all users.
        config = replace(config, output=str(folder / "run"))
        alive = folder / ALIVE
        alive.touch()
        other = pool.submit(_check_again, config, build, os.getpid())
        try:
            weights, loss = _three_steps(config, build)
        except BaseException:
            alive.unlink()  # ends the other process, also if the disk is full
            raise
        restored = other.result()
    pairs = zip(weights, restored, strict=True)
    # Of a value that is not a number, the maximum of Python depends on the order.
    worst = float(np.max([np.abs(left - right).max() for left, right in pairs]))
    say(f"third step after restoring in a new process: largest difference {worst:.3g}")
    if not (math.isfinite(loss) and worst <= 1e-5):
        raise TrainingError(
            f"check failed: the restored run differs by {worst:.3g} (expected 0) or "
            f"its loss {loss} is not finite; a long run could not be resumed"
        )
    say("check passed")
    return 0


def say(text: str) -> None:
    """Print a line and flush it.

    >>> say("hello")
    hello
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _damage(error: Exception, indexes: Sequence[Index]) -> str:
    """Return a sentence with the damaged record that an error is about."""
    texts = [explain(error, index) for index in indexes]
    return next((text for text in texts if "is damaged" in text), texts[0])


class Batch(NamedTuple):
    """Batch of a step, divided among replicas and accumulated.

    Attributes:
        replicas: Number of devices, each with as many examples.
        global_batch: Number of examples of all devices.
        accumulate: Number of batches in which each device computes its examples.
    """

    replicas: int
    global_batch: int
    accumulate: int = 1

    def __str__(self) -> str:
        size = self.global_batch // (self.replicas * self.accumulate)
        part = f"{size}" if self.accumulate == 1 else f"{self.accumulate} times {size}"
        if size == self.global_batch:
            return f"global batch {self.global_batch}"
        return f"global batch {self.global_batch}, {part} for each replica"


def _start(config: Run, build: Build[Run]) -> tuple[Job, Batch, Averages]:
    """Seed, choose devices, prepare the folder and build the job."""
    schedule, folder = config.train, run_folder.path_of(config)
    distribution.prepare(schedule.seed)
    strategy = distribution.choose(schedule.strategy, schedule.replicas)
    if cluster.is_chief():
        run_folder.prepare(folder, config)
    replicas = int(strategy.num_replicas_in_sync)
    divided, total = run_folder.divided(folder, config, replicas)
    with strategy.scope():
        job = build(divided, strategy)
        averages = Averages(job.model, schedule.ema)
    if divided != config and not job.divisible:
        raise run_folder.RunFolderError(
            f"{folder} was started with another number of replicas than {replicas}, "
            "and its examples depend on the batch size of each; set train.replicas to "
            "the number in run.json"
        )
    return job, Batch(replicas, total, schedule.accumulate), averages


def _expect_one_step(folder: Path, strategy: tf.distribute.Strategy, step: int) -> None:
    """Raise an error for workers at different steps, as without a shared folder."""
    steps = sorted(set(distribution.of_workers(strategy, step)))
    if len(steps) > 1:
        raise TrainingError(
            f"the workers would resume from different steps ({str(steps)[1:-1]}), so "
            f"{folder} is not shared by all; name an output on a disk that they share"
        )


def _check_batch(folder: Path, state: Mapping[str, Any], batch: Batch) -> None:
    """Raise an error for another global batch than that of the checkpoint.

    They can differ only if run.json, which holds the global batch, is missing.
    """
    trained = state.get("global_batch", batch.global_batch)
    if trained != batch.global_batch:
        raise run_folder.RunFolderError(
            f"{folder} was trained with a global batch of {trained}, now "
            f"{batch.global_batch}, and has no run.json to divide it by; copy run.json "
            f"again, or use as many replicas as before"
        )


def _fit(
    job: Job,
    schedule: Schedule,
    step: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Finish an interrupted epoch, then run the remaining ones."""
    epoch, done = divmod(step, schedule.steps_per_epoch)
    if done:
        _fit_epochs(job, schedule, step, epoch + 1, callbacks)
        epoch += 1
    if epoch < schedule.epochs and not job.model.stop_training:
        start = epoch * schedule.steps_per_epoch
        _fit_epochs(job, schedule, start, schedule.epochs, callbacks)


def _fit_epochs(
    job: Job,
    schedule: Schedule,
    start_step: int,
    end_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    valid, valid_steps = job.valid()
    epoch, done = divmod(start_step, schedule.steps_per_epoch)
    job.model.fit(
        job.train(start_step),
        validation_data=valid,
        validation_steps=valid_steps,
        initial_epoch=epoch,
        epochs=end_epoch,
        steps_per_epoch=schedule.steps_per_epoch - done,
        callbacks=[*callbacks, Progress(schedule, done)],
        verbose="auto" if sys.stdout.isatty() else 2,
    )


def _three_steps(config: Run, build: Build[Run]) -> tuple[list[np.ndarray], float]:
    """Train two steps, save, validate, train a third; return its weights and loss."""
    job, _, averages = _start(config, build)
    job.start()
    averages.restart()
    _, before = memory.peak()
    job.model.fit(job.train(0), steps_per_epoch=2, verbose=0)
    user, most = memory.peak()
    say(
        f"peak memory of a step: {most / 1e9:.2f} GB of {user}, "
        f"{before / 1e9:.2f} GB before it"
    )
    Checkpoints(run_folder.path_of(config), job.model, averages=averages).save(2, {})
    valid, _ = job.valid()
    loss = job.model.evaluate(valid, steps=1, verbose=0, return_dict=True)["loss"]
    say(f"two steps, validation loss {loss:.4f}, checkpoint saved")
    return _third_step(job), loss


def _check_again(config: Run, build: Build[Run], parent: int) -> list[np.ndarray]:
    """Restore the checkpoint of the dry run and return the weights of a third step."""
    job, _, averages = _start(config, build)
    folder = run_folder.path_of(config)
    store = Checkpoints(folder, job.model, averages=averages)
    while store.restore_latest() is None:
        if os.getppid() != parent or not (folder.parent / ALIVE).exists():
            raise TrainingError("check failed before it had saved a checkpoint")
        time.sleep(0.2)
    return _third_step(job)


def _third_step(job: Job) -> list[np.ndarray]:
    job.model.fit(job.train(2), steps_per_epoch=1, verbose=0)
    return [variable.numpy() for variable in job.model.variables]
