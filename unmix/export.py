"""Trained networks as files for other programs: ``python -m unmix.export umxhq``.

``--format onnx`` writes two graphs for ``python -m unmix.light``, which separates
without TensorFlow: one from magnitudes to the last hidden layer of all targets, and one
from there to masks, which runs window by window of the Wiener filter.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.weights.export_command import (
    NO_LOOPS,
    Export,
    command,
    core_module,
    require_float32,
)
from common.weights.onnx_graph import Graph, write_graphs
from unmix import light, weights
from unmix.model import Affine, OpenUnmix, estimates, folded, num_bins
from unmix.separate import load

Networks = Mapping[str, OpenUnmix]
FRAMES = 64
"""Size of the input for the comparison of an exported network."""


def export(path: str | Path, checkpoint: str | None = None) -> Export:
    """Prepare the export of the networks of all targets.

    Args:
        path: As for :func:`unmix.separate.load`.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: The networks cannot be loaded.
        SeparationError: They differ in shape.
    """
    networks = weights.load(path, checkpoint=checkpoint)
    first = next(iter(networks.values()))
    config, bins = first.config, num_bins(first.config)
    magnitude = tf.TensorSpec([None, config.channels, None, bins], tf.float32)
    shape = 1, config.channels, FRAMES, bins
    settings = {
        "window_samples": config.window_samples,
        "hop_samples": config.hop_samples,
        "channels": config.channels,
        "input_bins": first.input_bins,
    }
    return Export(
        "unmix",
        load(path, checkpoint=checkpoint),
        core_module(
            [*networks.values()], lambda x: _magnitudes(networks, x), magnitude
        ),
        np.random.default_rng(0).gamma(0.5, size=shape).astype(np.float32),
        lambda folder: write_graphs(
            folder, encode=encoding(networks), decode=decoding(networks)
        ),
        light.load,
        settings,
        {"tflite": NO_LOOPS},
    )


def _magnitudes(networks: Networks, magnitude: tf.Tensor) -> tf.Tensor:
    """Magnitudes of the targets [batch, targets, channels, frames, bins]."""
    return tf.stack(estimates([*networks.values()], magnitude), axis=1)


def encoding(networks: Networks) -> Graph:
    """Write the first two products and the recurrent stacks as a graph.

    Args:
        networks: The networks, by target.

    Returns:
        From magnitudes [frames, channels * input bins] to hidden layers
        [targets, frames, width].

    Raises:
        CheckpointError: A network computes in half precision.
    """
    graph, products = Graph("encode"), [folded(net) for net in networks.values()]
    for network in networks.values():
        require_float32(network)
    config, bins = network.config, network.input_bins
    rows = graph.input("magnitude", ["frames", config.channels * bins])
    encoded = [graph("Tanh", _product(graph, rows, part.encode)) for part in products]
    bridge, both = graph("Mean", *encoded) if config.bridged else "", []
    for own, network in zip(encoded, networks.values(), strict=True):
        inputs = graph("Unsqueeze", bridge or own, [0])
        outputs = graph("Squeeze", graph.recurrent(inputs, network.lstm), [0])
        both.append(graph("Concat", own, outputs, axis=1))
    if config.bridged:
        both = [graph("Mean", *both)] * len(both)
    inner = [
        graph("Relu", _product(graph, joined, product.hidden))
        for joined, product in zip(both, products, strict=True)
    ]
    hidden = [graph("Unsqueeze", rows, [0]) for rows in inner]
    made = graph("Concat", *hidden, axis=0)
    graph.output("hidden", made, [len(hidden), "frames", config.hidden_size])
    return graph


def decoding(networks: Networks) -> Graph:
    """Write the last product as a graph.

    Args:
        networks: The networks, by target.

    Returns:
        From hidden layers [targets, frames, width] to masks
        [targets, channels, frames, bins].
    """
    graph, masks = Graph("decode"), []
    config = next(iter(networks.values())).config
    width = config.hidden_size
    hidden = graph.input("hidden", [len(networks), "frames", width])
    channels, bins = config.channels, num_bins(config)
    for index, network in enumerate(networks.values()):
        rows = graph("Squeeze", graph.slice(hidden, 0, index, index + 1), [0])
        mask = graph("Relu", _product(graph, rows, folded(network).decode))
        mask = graph.transpose(graph.reshape(mask, -1, channels, bins), 1, 0, 2)
        masks.append(graph("Unsqueeze", mask, [0]))
    made = graph("Concat", *masks, axis=0)
    graph.output("masks", made, [len(masks), channels, "frames", bins])
    return graph


def _product(graph: Graph, rows: str, product: Affine) -> str:
    return graph("Gemm", rows, product.kernel, product.bias)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the export; return the exit code."""
    return command("unmix.export", __doc__, export, argv)


if __name__ == "__main__":
    sys.exit(main())
