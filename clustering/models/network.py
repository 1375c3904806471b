"""Make the network of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import tensorflow as tf
import tf_keras as keras

from clustering import extension
from clustering.config import ClusteringConfig, NetworkName
from clustering.models.spectral import HeadName, Outputs, SpectralNetwork
from clustering.models.time_domain import ConvTasnet, Tasnet
from common.config import ConfigError
from common.layers.precision import set_precision

HEADS: Mapping[NetworkName, tuple[HeadName, ...]] = {
    "dpcl": ("embedding",),
    "mask_inference": ("mask",),
    "chimera": ("embedding", "mask"),
}
"""Heads of the networks on spectra."""


def network(config: ClusteringConfig, sources: int | None = None) -> keras.Model:
    """Make the network of a configuration, in the precision of its training.

    Args:
        config: Configuration with the network and its shape.
        sources: Number of sources of the corpus, if there is one.

    Raises:
        ConfigError: The network has another number of bins or masks, or there is no
            such class of the user's.
    """
    _check_shape(config, sources)
    role = config.role
    model: keras.Model
    if config.kind not in get_args(NetworkName):
        model = _own(config)
    elif role == "tasnet":
        model = Tasnet(config.tasnet)
    elif role == "conv_tasnet":
        model = ConvTasnet(config.conv_tasnet)
    else:
        model = SpectralNetwork(config.spectral, HEADS[role])
    set_precision(model, config.train.precision)
    return model


def infer(net: keras.Model, role: NetworkName, magnitude: tf.Tensor) -> Outputs:
    """Run a network on spectra by its fastest programs without a gradient.

    Args:
        net: The network.
        role: Name of the network that it is or replaces.
        magnitude: Magnitude of the mixture [batch, frames, bins].
    """
    return named_outputs(role, getattr(net, "infer", net)(magnitude))


def named_outputs(role: NetworkName, outputs: Any) -> Outputs:
    """Name the outputs of a network; estimated waveforms take the place of masks."""
    if role == "chimera":
        return Outputs(outputs.embedding, outputs.mask)
    return Outputs(outputs, None) if role == "dpcl" else Outputs(None, outputs)


def require_mono(config: ClusteringConfig) -> None:
    """Refuse a network of several channels at once.

    Raises:
        ConfigError: It is one.
    """
    channels = config.spectral.features.channels
    if config.role in HEADS and channels > 1:
        raise ConfigError(
            f"spectral.features.channels={channels}: such a network separates only; "
            "expected one of a single channel"
        )


def _check_shape(config: ClusteringConfig, sources: int | None) -> None:
    """Refuse a shape that does not fit the transform or the corpus."""
    role, shape = config.role, config.spectral
    if role not in HEADS:
        _check(f"{role}.sources", getattr(config, role).sources, sources)
        return
    if sources is not None:
        require_mono(config)
    bins = config.stft.bins * shape.features.channels
    _check("spectral.features.bins", shape.features.bins, bins)
    rate = config.sample_rate if shape.features.mels else None
    _check("spectral.features.mel_rate", shape.features.mel_rate, rate)
    if "mask" in HEADS[role]:
        _check("spectral.sources", shape.sources, sources)
    if config.clusters:
        _check("cluster.sources", config.cluster.sources, sources)


def _own(config: ClusteringConfig) -> keras.Model:
    """Make the custom network of the import path in ``kind``."""
    make = extension.network(config.kind, get_args(NetworkName))
    with extension.located("kind", config.kind):
        model = make(config)
    if not model.built:
        raise ConfigError(
            f"kind={config.kind!r}: its variables do not exist yet; create them in "
            "__init__, and self.built = True at its end"
        )
    return model


def _check(key: str, value: int, expected: int | None) -> None:
    if expected is not None and value != expected:
        raise ConfigError(f"{key}={value}; expected {expected}, as in the data")
