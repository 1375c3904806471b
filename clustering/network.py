"""The network that a configuration names."""

from __future__ import annotations

import dataclasses
from typing import Any

import tf_keras as keras

from clustering import shapes
from clustering.config import ClusteringConfig
from clustering.models.chimera import Chimera
from clustering.models.conv_tasnet import ConvTasnet
from clustering.models.deep_clustering import DeepClustering
from clustering.models.mask_inference import MaskInference
from clustering.models.tasnet import Tasnet
from common.config import ConfigError


def network(config: ClusteringConfig, sources: int | None = None) -> keras.Model:
    """Make the network of a configuration.

    Args:
        config: Gives the kind and its shape.
        sources: Number of sources of the corpus, where there is one.

    Raises:
        ConfigError: The network has another number of bins or masks.
    """
    if config.kind == "tasnet":
        _check("tasnet.sources", config.tasnet.sources, sources)
        return Tasnet(config.tasnet)
    if config.kind == "conv_tasnet":
        _check("conv_tasnet.sources", config.conv_tasnet.sources, sources)
        return ConvTasnet(config.conv_tasnet)
    shape = config.spectral
    _check("spectral.features.bins", shape.features.bins, config.stft.bins)
    if config.kind == "dpcl":
        return DeepClustering(_part(shapes.DeepClustering, shape))
    _check("spectral.sources", shape.sources, sources)
    if config.kind == "mask_inference":
        return MaskInference(_part(shapes.MaskInference, shape))
    return Chimera(shape)


def _part(kind: type, shape: shapes.Chimera) -> Any:
    """Take the fields that a shape shares with that of both heads."""
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: getattr(shape, name) for name in names})


def _check(key: str, value: int, expected: int | None) -> None:
    if expected is not None and value != expected:
        raise ConfigError(f"{key}={value}; expected {expected}, as the data have")
