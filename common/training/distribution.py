"""Distribute training over devices and machines, with the data of every replica.

Examples are functions of their position in an endless sequence, so every replica reads
its own: N replicas see the examples of one replica with N times the batch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common import memory
from common.training.schedule import Strategy

Example = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
"""Graph function from a position (int64) to one example, without other state."""

Batches = Iterable[Mapping[str, tf.Tensor]]
"""The data of a run for ``fit``: the batches of each replica, step by step."""


def prepare(seed: int) -> None:
    """Seed all random numbers, and make operations deterministic if there is no GPU.

    On a GPU some gradients have no deterministic kernel, so seeded runs may differ in
    their last bits.
    """
    memory.keep()
    keras.utils.set_random_seed(seed)
    # Grappler drops edges between the reads and writes of weights
    # that one graph updates several times, so that steps would vary between runs.
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    gpus = tf.config.get_visible_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        tf.config.experimental.enable_op_determinism()


def choose(name: Strategy = "auto", replicas: int = 0) -> tf.distribute.Strategy:
    """Return the distribution strategy of a run.

    Args:
        name: ``auto`` takes several machines if ``TF_CONFIG`` names them, else all
            visible GPUs, else one device; any other name requires that strategy.
        replicas: Number of devices for ``mirrored``, 0 for all; without a GPU the CPU
            is divided into that many logical devices.

    Returns:
        The strategy, in whose scope model and optimizer must be built.

    Raises:
        ValueError: There are fewer devices than asked for, or no ``TF_CONFIG``.
    """
    gpus = len(tf.config.get_visible_devices("GPU"))
    is_auto = name == "auto"
    if name == "multiworker" or (is_auto and "TF_CONFIG" in os.environ):
        return _multiworker()
    if name == "mirrored" or (is_auto and max(gpus, replicas) > 1):
        return _mirrored(gpus, replicas)
    return tf.distribute.get_strategy()


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Return whether several processes share the run.

    >>> has_workers(tf.distribute.get_strategy())
    False
    """
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def of_workers(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """Gather one number from each worker.

    Args:
        strategy: The strategy of the run; with one process there is one worker.
        number: The number of this worker. Every worker must call this function.

    Returns:
        The number of each worker, once for each of its replicas.
    """
    if not has_workers(strategy):
        return [number]
    here = strategy.run(lambda: tf.constant([number], tf.int64))
    numbers: list[int] = strategy.gather(here, 0).numpy().tolist()
    return numbers


def training_batches(
    strategy: tf.distribute.Strategy,
    example: Example,
    batch_size: int,
    start_step: int,
    workers: int = 0,
) -> Batches:
    """Return the endless training data of a run, from any step on.

    Args:
        strategy: The strategy of the run.
        example: The example at a position; must depend on nothing else.
        batch_size: Examples per replica and step.
        start_step: Step at which the data begin; position ``step * global batch``.
        workers: Number of examples computed in parallel, 0 to let TensorFlow choose;
            their order and values do not depend on it.

    Returns:
        A dataset for ``fit``, with batches for each replica.
    """
    steps = tf.data.Dataset.range(start_step, tf.int64.max)
    return _batches(strategy, example, batch_size, steps, workers)


def validation_batches(
    strategy: tf.distribute.Strategy, example: Example, count: int, batch_size: int
) -> tuple[Batches, int]:
    """Return one pass over all examples; padding of the last batch has weight 0.

    Args:
        strategy: The strategy of the run.
        example: The example at a position from 0 to ``count - 1``.
        count: Number of examples.
        batch_size: Examples per replica and step.

    Returns:
        A dataset whose elements also hold ``weight`` (1, or 0 for padding), and its
        number of steps.
    """
    rows = batch_size * strategy.num_replicas_in_sync
    steps = -(-count // rows)

    def weighted(position: tf.Tensor) -> dict[str, tf.Tensor]:
        weight = tf.cast(position < count, tf.float32)
        return {**example(tf.math.floormod(position, count)), "weight": weight}

    batches = _batches(strategy, weighted, batch_size, tf.data.Dataset.range(steps))
    return batches, steps


def _batches(
    strategy: tf.distribute.Strategy,
    example: Example,
    batch_size: int,
    steps: tf.data.Dataset[Any],
    workers: int = 0,
) -> Batches:
    """Return the examples of the replicas of each process, in order."""
    rows = batch_size * strategy.num_replicas_in_sync
    # Examples have no Python control flow on tensors; the search for it takes seconds.
    example = tf.autograph.experimental.do_not_convert(example)

    def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset[Any]:
        share = rows // context.num_input_pipelines
        first = context.input_pipeline_id * share

        @tf.autograph.experimental.do_not_convert
        def positions(step: tf.Tensor) -> tf.data.Dataset[Any]:
            begin = step * rows + first
            return tf.data.Dataset.range(begin, begin + share)

        built = steps.flat_map(positions).map(
            example, num_parallel_calls=workers or tf.data.AUTOTUNE, deterministic=True
        )
        return built.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    batches: Batches = strategy.distribute_datasets_from_function(pipeline)
    return batches


# A second strategy would reset the connections of the other workers.
@functools.cache
def _multiworker() -> tf.distribute.Strategy:
    if "TF_CONFIG" not in os.environ:
        raise ValueError(
            "strategy=multiworker needs the environment variable TF_CONFIG, which "
            "names the machines; set it on each of them, or choose strategy=auto"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _mirrored(gpus: int, replicas: int) -> tf.distribute.Strategy:
    device = "GPU" if gpus else "CPU"
    if not gpus and replicas > 1:
        _divide_cpu(replicas)
    devices = [logical.name for logical in tf.config.list_logical_devices(device)]
    if replicas > len(devices):
        raise ValueError(
            f"replicas={replicas} asked for, but {len(devices)} {device} devices are "
            "visible; lower replicas or set it to 0 for all of them"
        )
    chosen = devices[: replicas or len(devices)]
    reduction = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(chosen, cross_device_ops=reduction)


def _divide_cpu(replicas: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * replicas
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError:
        return  # TensorFlow is initialised already: keep its devices.
