"""Locate trained networks, and restore them with their configurations.

A network is in a run folder, in a bundled model, which is a run folder in the package,
or in a file of nussl 1.x, asteroid or torchaudio; published ones of these have names,
and are downloaded into the cache once. An experiment file names a run folder, a bundled
model or a file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import tf_keras as keras

from clustering import published
from clustering.config import ClusteringConfig
from clustering.foreign import (
    conv_tasnet_file,
    experiment_file,
    lstm_tasnet_file,
    nussl_file,
)
from clustering.foreign.conv_tasnet_file import ConvTasnetFile
from clustering.foreign.experiment_file import Experiment
from clustering.foreign.lstm_tasnet_file import LstmTasnetFile
from clustering.foreign.nussl_file import NusslModel
from clustering.models.network import network
from common.config import ConfigError, flatten, override
from common.config import load as load_config
from common.training import network_file
from common.training.checkpoint import (
    CONFIG,
    CheckpointError,
    not_a_run,
    restore_network,
)
from common.weights import torch_file
from common.weights.locate import Location, Models, locate_model
from common.weights.torch_file import TorchFileError

MODELS = Models(
    "clustering",
    "a file of nussl, asteroid or torchaudio (.pth, .pt, .bin), an experiment file "
    "(.yml)",
    published.MODELS,
    published.ALIASES,
)
IRRELEVANT = "dropout", "dropout_last", "initial", "forget_bias", "mel_rate"
"""Values of a shape that have no effect on a trained network."""


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
            model or of a publication, a file of nussl, asteroid or torchaudio
            (``.pth``, ``.pt``, ``.bin``), or an experiment file (``.yml``) that names
            a model, whose keys of ``cluster`` replace those of the model.
        sample_rate: Rate in Hz of a file that does not state it.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: There is no model, or its weights do not fit.
        ConfigError: The experiment file is invalid or names no model.
        DownloadError: A publication cannot be downloaded.
    """
    location = locate_model(path, MODELS)
    if location.run is not None:
        config = load_config(ClusteringConfig, location.run / CONFIG)
        net = network(config)
        restore_network(location.path, net, checkpoint)
        return Trained(net, config)
    if experiment_file.is_file(path):
        return restore_named(experiment_file.read(path), checkpoint)
    if checkpoint is not None:
        raise not_a_run(path, checkpoint)
    model = read(location)
    return Trained(model.network, model.config(sample_rate))


def start_from(net: keras.Model, config: ClusteringConfig) -> None:
    """Give a new network the weights of the model that its configuration names.

    Args:
        net: The network to be trained.
        config: Its configuration; without ``initial`` nothing is changed.

    Raises:
        CheckpointError: There is no such model.
        ConfigError: Its network has another type or shape.
    """
    if config.initial is None:
        return
    other = restore(config.initial, config.sample_rate)
    name = f"initial={config.initial}"
    network_file.expect_same_shape(name, _shape(other.config), _shape(config))
    network_file.copy(other.net, net, name)


def _shape(config: ClusteringConfig) -> dict[str, Any]:
    """Return the values that determine the variables of a network."""
    group = config.role if config.role in ("tasnet", "conv_tasnet") else "spectral"
    values = flatten({group: dataclasses.asdict(getattr(config, group))})
    relevant = [key for key in values if key.rpartition(".")[2] not in IRRELEVANT]
    return {"kind": config.kind, **{key: values[key] for key in relevant}}


def restore_named(experiment: Experiment, checkpoint: str | None = None) -> Trained:
    """Restore the network that an experiment file names; see :func:`restore`."""
    name = experiment_file.model(experiment)
    if experiment_file.is_file(name):
        raise ConfigError(
            f"{experiment.path}: the model is {name}, an experiment file; expected a "
            "run folder, the name of a model of the package, or a .pth of nussl"
        )
    net, config = restore(name, experiment.config.sample_rate, checkpoint)
    return Trained(net, override(config, experiment.clustering))


def read(location: Location) -> NusslModel | ConvTasnetFile | LstmTasnetFile:
    """Restore the network of a file of another program.

    Args:
        location: Of the file, or of a publication.

    Raises:
        CheckpointError: It is a run, no file, or holds no network that there is here,
            or its weights do not fit.
        DownloadError: A publication cannot be downloaded.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
    """
    if location.published:
        model = conv_tasnet_file.load(published.fetch(location.name))
        return replace(model, sample_rate=published.MODELS[location.name].sample_rate)
    path = location.path
    if location.run is not None:
        raise CheckpointError(
            f"{path} is of this suite and needs no conversion; give it to "
            "clustering.separate as it is"
        )
    if not path.is_file():
        raise CheckpointError(f"{path} holds no {CONFIG}; {MODELS.expected}")
    try:
        content = torch_file.read(path)
    except TorchFileError:
        # The reader of nussl knows more about what else it keeps in a file.
        content = None
    if lstm_tasnet_file.is_one(content):
        return lstm_tasnet_file.load(path)
    if conv_tasnet_file.is_one(content):
        return conv_tasnet_file.load(path)
    return nussl_file.load(path)
