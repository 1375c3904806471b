"""The network that a configuration names."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import tf_keras as keras

from clustering import extension, shapes
from clustering.config import ClusteringConfig, Kind
from clustering.models.chimera import Chimera
from clustering.models.conv_tasnet import ConvTasnet
from clustering.models.deep_clustering import DeepClustering
from clustering.models.mask_inference import MaskInference
from clustering.models.tasnet import Tasnet
from common.config import ConfigError
from common.layers.precision import set_precision


def network(config: ClusteringConfig, sources: int | None = None) -> keras.Model:
    """Make the network of a configuration, in the precision of its training.

    Args:
        config: Gives the kind and its shape.
        sources: Number of sources of the corpus, where there is one.

    Raises:
        ConfigError: The network has another number of bins or masks, or there is no
            such class of the user's.
    """
    made = _made(config, sources)
    set_precision(made, config.train.precision)
    return made


def _made(config: ClusteringConfig, sources: int | None) -> keras.Model:
    role = config.role
    if role == "tasnet":
        _check("tasnet.sources", config.tasnet.sources, sources)
        return _own(config) or Tasnet(config.tasnet)
    if role == "conv_tasnet":
        _check("conv_tasnet.sources", config.conv_tasnet.sources, sources)
        return _own(config) or ConvTasnet(config.conv_tasnet)
    shape = config.spectral
    _check("spectral.features.bins", shape.features.bins, config.stft.bins)
    rate = config.sample_rate if shape.features.mels else None
    _check("spectral.features.mel_rate", shape.features.mel_rate, rate)
    if role == "dpcl":
        return _own(config) or DeepClustering(_part(shapes.DeepClustering, shape))
    _check("spectral.sources", shape.sources, sources)
    if role == "mask_inference":
        return _own(config) or MaskInference(_part(shapes.MaskInference, shape))
    return _own(config) or Chimera(shape)


def _own(config: ClusteringConfig) -> keras.Model | None:
    """Make the user's network, where the kind is the import path of its class."""
    if config.kind in get_args(Kind):
        return None
    made = extension.network("kind", config.kind, get_args(Kind))(config)
    if not made.built:
        raise ConfigError(
            f"kind={config.kind!r}: its variables are not made yet; expected them in "
            "__init__, and self.built = True at its end"
        )
    return made


def _part(kind: type, shape: shapes.Chimera) -> Any:
    """Take the fields that a shape shares with that of both heads."""
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: getattr(shape, name) for name in names})


def _check(key: str, value: int, expected: int | None) -> None:
    if expected is not None and value != expected:
        raise ConfigError(f"{key}={value}; expected {expected}, as the data have")
