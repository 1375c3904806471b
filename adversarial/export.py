"""A trained U-Net as a file for other programs: ``python -m adversarial.export mini``.

``--format onnx`` writes a graph for ``python -m adversarial.light``, which separates
without TensorFlow: the network from images of log magnitudes to those of both sources.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from adversarial import light, phases
from adversarial.model import UNet
from adversarial.separate import separator
from common.weights.export_command import Export, command, core_module, require_float32
from common.weights.onnx_graph import Graph, write_graphs


def export(path: str | Path, checkpoint: str | None = None) -> Export:
    """Prepare the export of a network.

    Args:
        path: Run folder or phase, prefix of a checkpoint, ``newest`` or the name of a
            bundled model.
        checkpoint: Of a folder: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: The network cannot be loaded.
    """
    return export_network(phases.restore(path, checkpoint))


def export_network(network: UNet) -> Export:
    """Prepare the export of a network."""
    config, geometry = network.config, network.geometry
    image = tf.TensorSpec([None, geometry.input_bins, None, 1], tf.float32)
    shape = 1, geometry.input_bins, geometry.input_frames, 1
    settings = {
        "num_fft": config.num_fft,
        "num_hop": config.num_hop,
        "center_pad": config.center_pad,
        "tile_frames": config.tile_hop,
        "griffin_lim": config.griffin_lim,
        "input_bins": geometry.input_bins,
        "output_frames": geometry.output_frames,
        "context_frames": geometry.context_frames,
        "period": geometry.period,
    }
    return Export(
        "adversarial",
        separator(network),
        core_module(network, network, image),
        np.log1p(np.random.default_rng(0).gamma(0.3, 3.0, shape)).astype(np.float32),
        lambda folder: write_graphs(folder, model=graph(network)),
        light.load,
        settings,
    )


def graph(network: UNet) -> Graph:
    """Write a network as a graph.

    Args:
        network: The network.

    Returns:
        From ln(1 + magnitude) [batch, bins, frames] with context to
        [batch, 2, bins, frames] without: accompaniment, vocals.

    Raises:
        CheckpointError: It computes in half precision.
    """
    require_float32(network)
    made, geometry = Graph("unet"), network.geometry
    images = made.input("images", ["batch", geometry.input_bins, "frames"])
    mixture = made("Unsqueeze", images, [1])
    image, skips = mixture, []
    for level, layer in enumerate(network.encoder):
        if level:
            image = made("MaxPool", image, kernel_shape=[2, 2], strides=[2, 2])
        image = made("Relu", _convolved(made, image, layer))
        skips.append(image)
    levels = zip(
        network.upsampling,
        network.decoder,
        network.margins[:-1],
        skips[-2::-1],
        strict=True,
    )
    for upsample, layer, margin, skip in levels:
        larger = made("Relu", _upsampled(made, image, upsample))
        joined = made("Concat", _cropped(made, skip, margin), larger, axis=1)
        image = made("Relu", _convolved(made, joined, layer))
    centre = _cropped(made, mixture, network.margins[-1])
    image = made("Concat", centre, image, axis=1)
    heads = [_convolved(made, image, layer) for layer in network.heads]
    outputs = made("Concat", *heads, axis=1)
    logs = _magnitudes(made, network, outputs, centre)
    made.output("logs", logs, ["batch", 2, geometry.output_bins, "estimated"])
    return made


def _magnitudes(graph: Graph, network: UNet, outputs: str, centre: str) -> str:
    """Make log magnitudes of the outputs of the heads."""
    head = network.config.head
    if head != "mask":
        return graph({"relu": "Relu", "softplus": "Softplus"}[head], outputs)
    masks = graph("Softmax", outputs, axis=1)
    linear = graph("Sub", graph("Exp", centre), 1.0)
    return graph("Log", graph("Add", graph("Mul", masks, linear), 1.0))


def _convolved(graph: Graph, image: str, layer: keras.layers.Layer) -> str:
    kernel = layer.kernel.numpy().transpose(3, 2, 0, 1)
    return graph("Conv", image, kernel, layer.bias.numpy())


def _upsampled(graph: Graph, image: str, layer: keras.layers.Layer) -> str:
    kernel = layer.kernel.numpy().transpose(3, 2, 0, 1)
    return graph("ConvTranspose", image, kernel, layer.bias.numpy(), strides=[2, 2])


def _cropped(graph: Graph, image: str, margin: int) -> str:
    bounds = [margin, margin], [-margin, -margin]
    return graph("Slice", image, *bounds, [2, 3])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the export; return the exit code."""
    return command("adversarial.export", __doc__, export, argv)


if __name__ == "__main__":
    sys.exit(main())
