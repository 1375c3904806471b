"""Locate trained networks, and restore them with their configurations.

A network is in a run folder, in a bundled model, which is a run folder in the package,
or in a file of nussl 1.x. An experiment file names one of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import tf_keras as keras

from clustering import experiment_file
from clustering.config import BUNDLED, ClusteringConfig
from clustering.experiment_file import Experiment
from clustering.network import network
from clustering.nussl import model_file
from common.config import ConfigError, override
from common.config import load as load_config
from common.files import user_path
from common.training.checkpoint import (
    CONFIG,
    CheckpointError,
    not_a_run,
    restore_network,
    run_of,
)
from common.weights import bundled

TORCH = (".pth", ".pt")


class Trained(NamedTuple):
    """A network with its weights, and its configuration."""

    net: keras.Model
    config: ClusteringConfig


def restore(
    path: str | Path, sample_rate: int | None = None, checkpoint: str | None = None
) -> Trained:
    """Restore a trained network.

    Args:
        path: Run folder or prefix of one of its checkpoints, the name of a bundled
            model, a model of nussl (``.pth``), or an experiment file (``.yml``) that
            names one of these, whose keys of ``cluster`` replace those of the model.
        sample_rate: Rate in Hz of a model of nussl whose file does not state it.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: There is no model, or its weights do not fit.
        ConfigError: The experiment file is invalid or names no model.
    """
    suffix = Path(path).suffix.lower()
    if suffix in experiment_file.SUFFIXES:
        return restore_named(experiment_file.read(path), checkpoint)
    if suffix in TORCH:
        if checkpoint is not None:
            raise not_a_run(path, checkpoint)
        model = model_file.load(path)
        return Trained(model.network, model_file.config(model, sample_rate))
    folder = bundled.find(BUNDLED, path) or user_path(path)
    run = run_of(folder)
    if run is None:
        raise CheckpointError(
            f"{folder} holds no {CONFIG}; expected a run folder, the name of a model "
            f"that comes with the package, {bundled.NAME}, a model of nussl (.pth) or "
            "an experiment file (.yml)"
        )
    config = load_config(ClusteringConfig, run / CONFIG)
    net = network(config)
    restore_network(folder, net, checkpoint)
    return Trained(net, config)


def restore_named(experiment: Experiment, checkpoint: str | None = None) -> Trained:
    """Restore the network that an experiment file names; see :func:`restore`."""
    name = experiment_file.model(experiment)
    if experiment_file.is_file(name):
        raise ConfigError(
            f"{experiment.path}: the model is {name}, an experiment file; expected a "
            "run folder, the name of a model of the package, or a .pth of nussl"
        )
    net, config = restore(name, experiment.config.sample_rate, checkpoint)
    return Trained(net, override(config, experiment.masks))
