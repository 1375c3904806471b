"""A trained network as a file for other programs: ``python -m mixit.export mini``.

``--format onnx`` writes the whole network as one graph, from waveforms to waveforms,
for ``python -m mixit.light``, which separates without TensorFlow.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.signal.framing import Stft, analysis_window, synthesis_window
from common.weights.export_command import (
    Export,
    command,
    core_module,
    require_float32,
    sound,
)
from common.weights.onnx_graph import Graph, write_graphs
from mixit import light, weights
from mixit.basis import StftBasis
from mixit.config import Network
from mixit.google.restore import restore
from mixit.layers import NORM_EPSILON, MagnitudeNorm, PreluNorm, Projection
from mixit.model import POWER_FLOOR, Block, Tdcn
from mixit.separate import separator

NO_STFT = "its basis is the STFT, whose inverse is no operation of TFLite"
AXES = {1: 2, 2: 1}
"""Axes of [batch, channels, frames] by those of [batch, frames, channels]."""


def export(path: str | Path, checkpoint: str | None = None) -> Export:
    """Prepare the export of a network.

    Args:
        path: As for :func:`mixit.separate.load`. A checkpoint of Google's program that
            does not state its architecture must first be converted by
            :mod:`mixit.convert`.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: The network cannot be loaded.
    """
    return export_network(_network(path, checkpoint))


def export_network(network: Tdcn) -> Export:
    """Prepare the export of a network."""
    mics, rate = network.config.num_mics, network.config.sample_rate
    mixture = tf.TensorSpec([None, mics, None], tf.float32)
    return Export(
        "mixit",
        separator(network),
        core_module(network, network.images, mixture),
        sound(mics, rate)[np.newaxis],
        lambda folder: write_graphs(folder, model=graph(network)),
        light.load,
        refused={"tflite": NO_STFT} if network.config.basis == "stft" else {},
    )


def _network(path: str | Path, checkpoint: str | None) -> Tdcn:
    location = weights.locate(path, checkpoint)
    if location.run is not None:
        return weights.restore_run(location, checkpoint)
    return restore(location.path)[0]


def graph(network: Tdcn) -> Graph:
    """Write a network as a graph from mixtures to estimates.

    Args:
        network: The network.

    Returns:
        From [batch, mics, samples] to [batch, sources, mics, samples].

    Raises:
        CheckpointError: It computes in half precision.
    """
    require_float32(network)
    config, made = network.config, Graph("tdcn")
    mixture = made.input("mixture", ["batch", config.num_mics, "samples"])
    basis = (_Stft if isinstance(network.basis, StftBasis) else _Learned)(network, made)
    coefficients = basis.analyse(mixture)
    core = _core(made, network, basis.features(coefficients))
    masks = _masks(made, network, core)
    estimates = basis.synthesise(basis.masked(masks, coefficients), mixture)
    consistent = _consistent(made, network, mixture, estimates, core)
    made.output(
        "estimates",
        made.transpose(consistent, 0, 2, 1, 3),
        ["batch", config.num_sources, config.num_mics, "samples"],
    )
    return made


class _Learned:
    """The learned basis: [batch * mics, coefficients, frames]."""

    def __init__(self, network: Tdcn, graph: Graph) -> None:
        self.config, self.graph = network.config, graph
        basis = network.basis
        self.size, self.front = self.config.window_samples, 0
        self.encoder = basis.encoder.kernel.numpy().T[:, np.newaxis]
        self.decoder = basis.decoder.kernel.numpy()[:, np.newaxis]

    def missing(self, samples: str) -> str:
        """Zeros that pad the last frame."""
        hop, made = self.config.hop_samples, self.graph
        beyond = made("Max", made("Sub", samples, [self.size]), [0])
        hops = made("Div", made("Add", beyond, [hop - 1]), [hop])
        return made("Sub", made("Add", made("Mul", hops, [hop]), [self.size]), samples)

    def analyse(self, mixture: str) -> str:
        """Coefficients, not negative."""
        return self.graph("Relu", self._filtered(mixture))

    def _filtered(self, mixture: str) -> str:
        made = self.graph
        missing = self.missing(made.length(mixture, 2))
        padded = made.pad(mixture, 3, 2, self.front, missing)
        flat = made.reshape(padded, -1, 1, made.length(padded, 2))
        return made("Conv", flat, self.encoder, strides=[self.config.hop_samples])

    def features(self, coefficients: str) -> str:
        """[batch, mics * coefficients, frames]."""
        inputs = self.config.num_mics * self.encoder.shape[0]
        frames = self.graph.length(coefficients, 2)
        return self.graph.reshape(coefficients, -1, inputs, frames)

    def masked(self, masks: str, coefficients: str) -> str:
        """[batch * mics * sources, coefficients, frames]."""
        made, size = self.graph, self.encoder.shape[0]
        frames = made.length(coefficients, 2)
        one = made.reshape(coefficients, -1, self.config.num_mics, 1, size, frames)
        return made.reshape(made("Mul", masks, one), -1, size, frames)

    def synthesise(self, masked: str, mixture: str) -> str:
        """[batch, mics, sources, samples]."""
        made, config = self.graph, self.config
        hop = [config.hop_samples]
        line = made("ConvTranspose", masked, self.decoder, strides=hop)
        end = made("Add", made.length(mixture, 2), [self.front])
        cut = made.slice(line, 2, self.front, end)
        shape = config.num_mics, config.num_sources, made.length(mixture, 2)
        return made.reshape(cut, -1, *shape)


class _Stft(_Learned):
    """The STFT: as coefficients, the real parts of all bins before the imaginary."""

    def __init__(self, network: Tdcn, graph: Graph) -> None:
        self.config, self.graph, self.norm = network.config, graph, network.basis.norm
        self.size, self.front = self.config.window_samples, network.basis.front
        self.bins = network.basis.params.bins
        self.encoder, self.decoder = transforms(network.basis.params)

    def missing(self, samples: str) -> str:
        """Zeros that make a frame for every hop."""
        hop, made = self.config.hop_samples, self.graph
        whole = made("Add", samples, [self.front])
        hops = made("Div", made("Add", whole, [hop - 1]), [hop])
        reach = made("Add", made("Mul", hops, [hop]), [self.size - hop])
        return made("Sub", reach, whole)

    def analyse(self, mixture: str) -> str:
        """Real and imaginary parts."""
        return self._filtered(mixture)

    def features(self, coefficients: str) -> str:
        """Normalised magnitudes [batch, mics * bins, frames]."""
        made, frames = self.graph, self.graph.length(coefficients, 2)
        parts = made.reshape(coefficients, -1, 2, self.bins, frames)
        power = made("ReduceSum", made("Mul", parts, parts), [1], keepdims=0)
        magnitude = made.reshape(
            made("Sqrt", power), -1, self.config.num_mics * self.bins, frames
        )
        return _normalised(made, magnitude, self.norm, (1, 2))

    def masked(self, masks: str, coefficients: str) -> str:
        """[batch * mics * sources, coefficients, frames]."""
        made, config = self.graph, self.config
        frames = made.length(coefficients, 2)
        parts = made.reshape(coefficients, -1, config.num_mics, 1, 2, self.bins, frames)
        one = made.reshape(
            masks, -1, config.num_mics, config.num_sources, 1, self.bins, frames
        )
        return made.reshape(made("Mul", one, parts), -1, 2 * self.bins, frames)


def transforms(params: Stft) -> tuple[np.ndarray, np.ndarray]:
    """Make the filters of an STFT and of its inverse, [2 * bins, 1, window].

    Args:
        params: Framing, without zeros around.

    >>> [filters.shape for filters in transforms(Stft(400, 100, 512, padding="end"))]
    [(514, 1, 400), (514, 1, 400)]
    """
    size, bins = params.transform_samples, np.arange(params.bins)[:, np.newaxis]
    phase = 2 * np.pi * (bins * np.arange(params.window_samples) % size) / size
    waves = np.concatenate([np.cos(phase), -np.sin(phase)])[:, np.newaxis]
    twice = np.where((bins == 0) | (2 * bins == size), 1.0, 2.0) / size
    back = np.concatenate([twice, twice])[:, np.newaxis] * waves
    return waves * analysis_window(params), back * synthesis_window(params)


def _core(graph: Graph, network: Tdcn, features: str) -> str:
    """Run the blocks; [batch, bottleneck, frames]."""
    core = _projected(graph, features, network.initial)
    inputs: list[str] = []
    for index, block in enumerate(network.blocks):
        for start in range(index):
            skip = network.skips.get(f"{start}_to_{index}")
            if skip is not None:
                core = graph("Add", core, _projected(graph, inputs[start], skip))
        inputs.append(core)
        core = graph("Add", core, _block(graph, block, core, network.config))
    return core


def _block(graph: Graph, block: Block, inputs: str, config: Network) -> str:
    wide = _activated(graph, _projected(graph, inputs, block.widen), block.norm1)
    reach = config.kernel_size // 2 * block.convolve.dilation
    kernel = block.convolve.kernel.numpy().T[:, np.newaxis]
    convolved = graph(
        "Conv",
        wide,
        kernel,
        block.convolve.bias.numpy(),
        group=len(kernel),
        dilations=[block.convolve.dilation],
        pads=[reach, reach],
    )
    return _projected(graph, _activated(graph, convolved, block.norm2), block.narrow)


def _activated(graph: Graph, signal: str, layer: PreluNorm) -> str:
    active = graph("PRelu", signal, layer.slope.numpy())
    return _normalised(graph, active, layer, layer.axes)


def _normalised(
    graph: Graph, signal: str, layer: PreluNorm | MagnitudeNorm, axes: Sequence[int]
) -> str:
    """Normalise over axes of [batch, frames, channels]; one gain and one offset."""
    normal = graph.normalised(signal, [AXES[axis] for axis in axes], NORM_EPSILON)
    return graph("Add", graph("Mul", normal, layer.gamma.numpy()), layer.beta.numpy())


def _projected(graph: Graph, signal: str, layer: Projection) -> str:
    """Apply a projection to [batch, channels, frames]."""
    scale = 1.0 if layer.scale is None else layer.scale.numpy()
    rows = graph("MatMul", layer.kernel.numpy().T * scale, signal)
    if layer.bias is None:
        return rows
    return graph("Add", rows, layer.bias.numpy()[:, np.newaxis] * scale)


def _masks(graph: Graph, network: Tdcn, core: str) -> str:
    """Masks [batch, mics, sources, coefficients, frames]."""
    config = network.config
    name = {"sigmoid": "Sigmoid", "relu": "Relu"}[config.mask]
    masks = graph(name, _projected(graph, core, network.mask))
    shape = config.num_mics, config.num_sources, network.basis.coefficients
    return graph.reshape(masks, -1, *shape, graph.length(core, 2))


def _consistent(
    graph: Graph, network: Tdcn, mixture: str, estimates: str, core: str
) -> str:
    """Add the missing part of the mixture to [batch, mics, sources, samples]."""
    config = network.config
    if config.mixture_consistency == "none":
        return estimates
    missing = graph("Sub", mixture, graph("ReduceSum", estimates, [2], keepdims=0))
    shares: Any = 1.0 / config.num_sources
    if network.weighting is not None:
        mean = graph.mean(core, [2])
        weights = graph("Softmax", _projected(graph, mean, network.weighting), axis=1)
        shares = graph.reshape(weights, -1, 1, config.num_sources, 1)
    elif config.mixture_consistency == "magsq":
        power = graph.mean(graph("Mul", estimates, estimates), [1, 3])
        power = graph("Add", power, POWER_FLOOR)
        shares = graph("Div", power, graph("ReduceSum", power, [2], keepdims=1))
    rest = graph("Unsqueeze", missing, [2])
    return graph("Add", estimates, graph("Mul", shares, rest))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the export; return the exit code."""
    return command("mixit.export", __doc__, export, argv)


if __name__ == "__main__":
    sys.exit(main())
