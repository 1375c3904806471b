"""A trained network as a file for other programs: ``python -m clustering.export mini``.

``--format onnx`` writes a graph for ``python -m clustering.light``, which separates
without TensorFlow: from magnitudes to embeddings or masks for networks on spectra, else
from waveforms to waveforms.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering import light
from clustering.config import ON_SPECTRA, ClusteringConfig, NetworkName
from clustering.models import layers
from clustering.models.conv_block import Block
from clustering.models.network import require_mono
from clustering.models.shapes import Activation
from clustering.models.spectral import FeatureStage, Head, SpectralNetwork
from clustering.models.time_domain import Analysis, ConvTasnet, Tasnet
from clustering.separate import frame, is_levelled, separator
from clustering.weights import restore
from common.layers.batch_norm import EPSILON
from common.signal.numpy_stft import stft
from common.weights.export_command import (
    NO_LOOPS,
    Export,
    command,
    core_module,
    require_float32,
    sound,
)
from common.weights.onnx_graph import Graph, write_graphs

AXES = {"gLN": (1, 2), "cLN": (1,), "fgLN": (2,)}
"""Axes of [batch, channels, frames] for the moments of a normalisation."""

FUNCTIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def export(path: str | Path, checkpoint: str | None = None) -> Export:
    """Prepare the export of a network.

    Args:
        path: As for :func:`clustering.separate.load`.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: The network cannot be loaded.
    """
    return export_network(*restore(path, checkpoint=checkpoint))


def export_network(net: keras.Model, config: ClusteringConfig) -> Export:
    """Prepare the export of a network with its configuration."""
    require_mono(config)
    spectral = config.role in ON_SPECTRA
    shape = [None, None, config.stft.bins] if spectral else [None, None]
    waveform = sound(1, config.sample_rate)
    params = config.whole_stft
    example = waveform
    if spectral:
        example = light.magnitude(stft(waveform, params), config.power_floor)
    return Export(
        "clustering",
        separator(net, config),
        core_module(net, net, tf.TensorSpec(shape, tf.float32)),
        example,
        lambda folder: write_graphs(folder, model=graph(net, config.clusters)),
        light.load,
        _settings(config, asdict(params)),
        _refused(config),
    )


def _settings(config: ClusteringConfig, params: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that separation needs besides the network."""
    if config.role not in ON_SPECTRA:
        return {**frame(config)._asdict(), "levelled": is_levelled(config)}
    transform = {"stft": params, "power_floor": config.power_floor}
    if not config.clusters:
        return transform
    options = config.cluster
    draws = 2 + int(math.log(options.sources))
    # The random numbers of clustering.clusterers.kmeans.
    size = [1, options.restarts, options.sources * draws]
    chances = tf.random.stateless_uniform(size, (0, 0)).numpy()
    chances = chances.reshape(options.restarts, options.sources, draws)
    return transform | {"cluster": asdict(options), "chances": chances.tolist()}


def _refused(config: ClusteringConfig) -> dict[str, str]:
    """Return the formats that cannot hold the network, with the reason."""
    refused = {} if config.role == "conv_tasnet" else {"tflite": NO_LOOPS}
    if config.kind not in get_args(NetworkName):
        reason = f"kind={config.kind} is a custom network"
        refused = dict.fromkeys((*refused, "onnx"), reason)
    elif config.clusters and config.cluster.method != "kmeans":
        refused["onnx"] = f"cluster.method={config.cluster.method} needs TensorFlow"
    return refused


def graph(net: keras.Model, embedding: bool = False) -> Graph:
    """Write a network as a graph.

    Args:
        net: The network.
        embedding: Whether the output of a network on spectra is its embedding.

    Returns:
        From magnitudes [batch, frames, bins] to embeddings [batch, points, dim] or
        masks [batch, sources, frames, bins], or from waveforms [batch, samples] to
        waveforms [batch, sources, samples].

    Raises:
        CheckpointError: It computes in half precision.
    """
    require_float32(net)
    writers: dict[type, Callable[[Graph, Any], None]] = {
        SpectralNetwork: partial(_spectral, embedding=embedding),
        Tasnet: _tasnet,
        ConvTasnet: _conv_tasnet,
    }
    made = Graph(net.name)
    writers[type(net)](made, net)
    return made


def _spectral(graph: Graph, net: SpectralNetwork, embedding: bool) -> None:
    """Write the masks or the embedding."""
    bins = net.config.features.bins
    magnitude = graph.input("magnitude", ["batch", "frames", bins])
    features = _features(graph, net.stack.features, magnitude)
    rows = graph.recurrent(features, net.stack.recurrent)
    if net.mask is not None and not embedding:
        masks = graph.transpose(_head(graph, net.mask, rows), 0, 3, 1, 2)
        graph.output("masks", masks, ["batch", net.mask.size, "frames", bins])
        return
    head: Any = net.embedding
    numbers = _head(graph, head, rows)
    points = graph("Mul", graph.length(numbers, 1), [bins])
    made = graph.reshape(numbers, 0, points, head.size)
    graph.output("embedding", made, ["batch", "points", head.size])


def _features(graph: Graph, stage: FeatureStage, magnitude: str) -> str:
    if stage.filters is not None:
        magnitude = graph("MatMul", magnitude, stage.filters)
    features = _level(graph, magnitude, stage.config.level)
    if stage.norm is not None:
        norm = stage.norm
        gain = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + EPSILON)
        offset = norm.beta.numpy() - norm.moving_mean.numpy() * gain
        return graph("Add", graph("Mul", features, gain), offset)
    if stage.config.norm == "none":
        return features
    return graph.normalised(features, (1, 2), EPSILON)


def _level(graph: Graph, magnitude: str, scale: str) -> str:
    """Convert magnitudes [batch, frames, bins] to a logarithmic scale."""
    if scale == "log":
        return graph("Log", graph("Add", magnitude, 1e-8))
    if scale == "librosa":
        logs = graph("Log", graph("Max", magnitude, 1e-5))
        decibels = graph("Mul", logs, 20.0 / math.log(10.0))
        loudest = graph("ReduceMax", decibels, axes=[1, 2], keepdims=1)
        return graph("Max", decibels, graph("Sub", loudest, 80.0))
    logs = graph("Log", graph("Max", graph("Mul", magnitude, magnitude), 1e-8))
    return graph("Mul", logs, 10.0 / math.log(10.0))


def _head(graph: Graph, head: Head, rows: str) -> str:
    """Write the numbers of each bin [batch, frames, bins, size]."""
    if head.value is not None and head.gate is not None:
        value = graph("Tanh", _linear(graph, head.value, rows))
        rows = graph("Mul", value, graph("Sigmoid", _linear(graph, head.gate, rows)))
    made = graph.reshape(_linear(graph, head.linear, rows), 0, 0, head.bins, head.size)
    for name in head.names:
        made = _activated(graph, made, name)
    return made


def _activated(graph: Graph, numbers: str, name: Activation) -> str:
    """Activate along the last axis."""
    if name == "softmax":
        return graph("Softmax", numbers, axis=-1)
    if name in FUNCTIONS:
        return graph(FUNCTIONS[name], numbers)
    if name == "unit_norm":
        size = graph("ReduceL2", numbers, axes=[-1], keepdims=1)
    else:
        size = graph("ReduceL1", numbers, axes=[-1], keepdims=1)
    # 0 for 0
    return graph("Div", numbers, graph("Max", size, 1e-38))


def _linear(graph: Graph, layer: layers.Linear, rows: str) -> str:
    """Multiply the last axis."""
    product = graph("MatMul", rows, layer.kernel.numpy())
    return graph("Add", product, layer.bias.numpy())


def _tasnet(graph: Graph, net: Tasnet) -> None:
    mixture = graph.input("mixture", ["batch", "samples"])
    relu = graph("Relu", _analysed(graph, net.analysis, mixture))
    gate = graph("Sigmoid", _analysed(graph, net.gate, mixture))
    encoded = graph("Mul", relu, gate)
    normal = encoded if net.norm is None else _normalised(graph, net.norm, encoded)
    rows = graph.recurrent(graph.transpose(normal, 0, 2, 1), net.recurrent)
    signal = graph.transpose(_linear(graph, net.mask, rows), 0, 2, 1)
    _finish(graph, net, encoded, signal)


def _conv_tasnet(graph: Graph, net: ConvTasnet) -> None:
    mixture = graph.input("mixture", ["batch", "samples"])
    encoded = _analysed(graph, net.analysis, mixture, net.config.padding)
    if net.config.encoder_relu:
        encoded = graph("Relu", encoded)
    normal = _normalised(graph, net.input_norm, encoded)
    signal, skips = _projected(graph, net.bottleneck, normal), []
    for block in net.blocks:
        signal, skip = _block(graph, block, signal)
        skips.append(skip)
    signal = graph("Sum", *skips) if net.config.skip else signal
    active = graph("PRelu", signal, net.activation.slope.numpy())
    masks = _projected(graph, net.mask, active)
    _finish(graph, net, encoded, masks, net.config.padding)


def _block(graph: Graph, block: Block, signal: str) -> tuple[str, str | None]:
    """Next input and skip path of [batch, bottleneck, frames]."""
    wide = _projected(graph, block.widen, signal)
    active = graph("PRelu", wide, block.activation1.slope.numpy())
    normal = _normalised(graph, block.norm1, active)
    layer = block.depthwise
    taps = layer.kernel.numpy().T[:, np.newaxis]
    convolved = graph(
        "Conv",
        normal,
        taps,
        layer.bias.numpy(),
        group=len(taps),
        dilations=[layer.dilation],
        pads=[-layer.shifts[0], layer.shifts[-1]],
    )
    active = graph("PRelu", convolved, block.activation2.slope.numpy())
    hidden = _normalised(graph, block.norm2, active)
    skip = None if block.skip is None else _projected(graph, block.skip, hidden)
    return graph("Add", signal, _projected(graph, block.residual, hidden)), skip


def _analysed(graph: Graph, layer: Analysis, mixture: str, padding: int = 0) -> str:
    """Filter waveforms [batch, samples] to [batch, filters, frames]."""
    filters = layer.filters.numpy().T[:, np.newaxis]
    line = graph("Unsqueeze", mixture, [1])
    strides, pads = [layer.config.stride], [padding, padding]
    return graph("Conv", line, filters, strides=strides, pads=pads)


def _projected(graph: Graph, layer: layers.Linear, signal: str) -> str:
    """Multiply the channels of [batch, channels, frames]."""
    product = graph("MatMul", layer.kernel.numpy().T, signal)
    return graph("Add", product, layer.bias.numpy()[:, np.newaxis])


def _normalised(graph: Graph, layer: layers.Normalisation, signal: str) -> str:
    """Normalise [batch, channels, frames]."""
    if layer.norm == "cgLN":
        normal = _normalised_until_now(graph, signal, layer.gamma.shape[0])
    else:
        normal = graph.normalised(signal, AXES[layer.norm], layers.EPSILON)
    gamma, beta = (part.numpy()[:, np.newaxis] for part in (layer.gamma, layer.beta))
    return graph("Add", graph("Mul", normal, gamma), beta)


def _normalised_until_now(graph: Graph, signal: str, channels: int) -> str:
    """Normalise by the moments over channels and all frames up to the current one."""

    def until_now(values: str) -> str:
        return graph("CumSum", graph("ReduceSum", values, [1], keepdims=1), 2)

    total = until_now(signal)
    ones = graph("Add", graph("Mul", total, 0.0), float(channels))
    count = graph("CumSum", ones, 2)
    mean = graph("Div", total, count)
    squares = graph("Div", until_now(graph("Mul", signal, signal)), count)
    variance = graph("Max", graph("Sub", squares, graph("Mul", mean, mean)), 0.0)
    deviation = graph("Sqrt", graph("Add", variance, layers.EPSILON))
    return graph("Div", graph("Sub", signal, mean), deviation)


def _finish(
    graph: Graph,
    net: Tasnet | ConvTasnet,
    encoded: str,
    signal: str,
    padding: int = 0,
) -> None:
    """Apply masks [batch, sources * filters, frames], and make waveforms."""
    config = net.config
    filters, sources = config.filterbank.filters, config.sources
    frames = graph.length(encoded, 2)
    masks = graph.reshape(signal, -1, sources, filters, frames)
    if config.mask_activation == "softmax":
        masks = graph("Softmax", masks, axis=1)
    elif config.mask_activation != "none":
        masks = graph(FUNCTIONS[config.mask_activation], masks)
    masked = graph("Mul", masks, graph("Unsqueeze", encoded, [1]))
    flat = graph.reshape(masked, -1, filters, frames)
    back = net.synthesis.filters.numpy().T[:, np.newaxis]
    strides, pads = [config.filterbank.stride], [padding, padding]
    line = graph("ConvTranspose", flat, back, strides=strides, pads=pads)
    estimates = graph.reshape(line, -1, sources, graph.length(line, 2))
    graph.output("estimates", estimates, ["batch", sources, "reached"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the export; return the exit code."""
    return command("clustering.export", __doc__, export, argv)


if __name__ == "__main__":
    sys.exit(main())
