"""Trains small models of the battery in this process, alone or as one of several.

``python replicas.py FOLDER TRAININGS LAYOUTS``, the latter two separated by commas. A
layout is ``one``, ``mirrored2``, ``mirrored4`` or, in a process that TF_CONFIG makes a
worker, ``multiworker``.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras
from conftest import IMAGES, TRAININGS
from test_battery import weights

from common.training import distribution

ROWS = 12
"""Examples of a step over all replicas: 2, 3 and 4 of them have as many each."""
HELD_OUT = 17
"""The last batch of 12 has 5 of them, so that some replicas have less or nothing."""
STEPS = 3
DEVICES = 4


def choose(layout):
    if layout.startswith("mirrored"):
        return distribution.choose("mirrored", int(layout[-1]))
    return distribution.choose(layout)


def train(case, strategy):
    """Train from the same start; returns losses, and weights by name."""
    replicas = strategy.num_replicas_in_sync
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = case.training(replicas)
    model.distribute_reduction_method = "first"  # as in common.training
    share = ROWS // replicas
    data = distribution.training_batches(strategy, case.example, share, 0)
    history = model.fit(data, steps_per_epoch=STEPS, verbose=0).history

    def held_out(position):
        frames = tf.ones([IMAGES.output_frames])
        weight = {"counted": tf.ones([2]), "frame_weight": frames}
        return {**case.example(position + 1000), **weight}

    batches, steps = distribution.validation_batches(
        strategy, held_out, HELD_OUT, share
    )
    actual = model.evaluate(batches, steps=steps, verbose=0, return_dict=True)
    return {"train": history["loss"][0], "held_out": actual["loss"], **weights(model)}


def main(folder, names, layouts):
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * DEVICES
    if layouts != "multiworker":
        tf.config.set_logical_device_configuration(cpu, parts)
        tf.config.list_logical_devices()
    for layout in layouts.split(","):
        strategy = choose(layout)
        for name in names.split(","):
            result = train(TRAININGS[name], strategy)
            np.savez(Path(folder) / f"{layout}-{name}.npz", **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
