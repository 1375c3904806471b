"""Models of nussl 1.x for our networks.

``python -m clustering.convert MODEL.pth --check`` restores what nussl's
``SeparationModel.save`` wrote and compares the network with the same graph computed
plainly in float64. Every tensor must find its place. ``--output RUN`` does the same and
then writes the run folder that :mod:`clustering.separate` loads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering import shapes, tensors
from clustering.cluster import Clustering
from clustering.config import ClusteringConfig
from clustering.models.chimera import Chimera
from clustering.models.deep_clustering import DeepClustering
from clustering.models.dual_path import DualPath
from clustering.models.end_to_end import EndToEnd
from clustering.models.mask_inference import MaskInference
from clustering.network import network
from clustering.nussl import computation, graphs, model_file
from common import config as configuration
from common.errors import exit_code
from common.files import replacing_folder
from common.training.checkpoint import CheckpointError, save_network

TOLERANCE = 1e-4
"""Largest difference of any two numbers, by the largest number."""

MODELS: dict[type, type[keras.Model]] = {
    shapes.DeepClustering: DeepClustering,
    shapes.MaskInference: MaskInference,
    shapes.Chimera: Chimera,
    shapes.EndToEnd: EndToEnd,
    shapes.DualPath: DualPath,
}
KINDS: dict[type, Any] = {
    shapes.DeepClustering: "dpcl",
    shapes.MaskInference: "mask_inference",
    shapes.Chimera: "chimera",
}
"""Networks that a run folder can hold, by their shape."""


@dataclass(frozen=True)
class Restored:
    """A network of nussl.

    Attributes:
        model: Our network, with the weights of the file.
        graph: Configuration of the ``SeparationModel``.
        tensors: Its tensors by nussl's names.
        metadata: What else the file tells.
    """

    model: keras.Model
    graph: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]


def load(path: str | Path) -> Restored:
    """Restore a model that nussl saved.

    Args:
        path: File as ``SeparationModel.save`` writes it.

    Raises:
        CheckpointError: There is no file, it holds no model of nussl or one of another
            kind, or a tensor is missing or does not fit.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
    """
    graph, found, metadata = model_file.read(path)
    try:
        shape = graphs.translate(graph)
        model = MODELS[type(shape)](shape)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be converted: {error}") from error
    tensors.assign(tensors.nussl(model), found, str(path))
    return Restored(model, graph, found, metadata)


def check(restored: Restored, frames: int = 40) -> float:
    """Compare a network with its graph computed plainly in float64.

    Args:
        restored: The network.
        frames: Length of the noise that goes through both; for a network on waveforms,
            in hops of the slowest axis.

    Returns:
        Largest difference of the outputs, by the largest; of all outputs and all ways
        through our network, the worst.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    mixture = _noise(restored.model, frames)
    wide = mixture[..., np.newaxis] if mixture.ndim == 3 else mixture[:, np.newaxis]
    plain = computation.outputs(restored.graph, restored.tensors, wide)
    wanted = _ours(restored.model, plain)
    ways = [restored.model]
    if type(restored.model.config) in KINDS:
        ways.append(restored.model.infer)
    differences = [
        _difference(output, expected)
        for way in ways
        for output, expected in zip(_outputs(way, mixture), wanted, strict=True)
    ]
    if not max(differences) <= TOLERANCE:
        raise CheckpointError(
            f"the network differs from its graph, computed plainly, by "
            f"{max(differences):.3g}, expected at most {TOLERANCE:g}: it was not "
            "restored"
        )
    return max(differences)


def config(restored: Restored, sample_rate: int | None = None) -> ClusteringConfig:
    """Tell the configuration of the run folder for a network.

    The file does not tell how it was trained and how its embedding is clustered: the
    one is as in a new run here, the other as nussl 1.x does by default.

    Args:
        restored: The network.
        sample_rate: Rate in Hz, where the file does not tell it.

    Raises:
        CheckpointError: No run folder can hold the network, or the rate or the
            transform is unknown or of another kind.
    """
    shape = restored.model.config
    if type(shape) not in KINDS:
        raise CheckpointError(
            f"a run folder cannot hold the network {type(shape).__name__}; expected "
            f"one of {', '.join(KINDS.values())}, so only --check is possible"
        )
    window = 2 * (shape.features.bins - 1)
    values = {field.name: getattr(shape, field.name) for field in fields(shape)}
    return ClusteringConfig(
        kind=KINDS[type(shape)],
        spectral=shapes.Chimera(**values),
        cluster=Clustering(sources=getattr(shape, "sources", 2)),
        sample_rate=model_file.sample_rate(restored.metadata, sample_rate),
        window_samples=window,
        hop_samples=model_file.hop(restored.metadata, window),
    )


def export(
    restored: Restored, folder: str | Path, sample_rate: int | None = None
) -> ClusteringConfig:
    """Write the run folder of a network, all files or none.

    Args:
        restored: The network.
        folder: The folder to make.
        sample_rate: See :func:`config`.

    Raises:
        CheckpointError: The folder exists, or see :func:`config`.
        OSError: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; name a folder that does not")
    settings = config(restored, sample_rate)
    # What is loaded later is the network of the configuration: its names are saved.
    net = network(settings)
    tensors.assign(tensors.nussl(net), restored.tensors, str(folder))
    with replacing_folder(folder) as work:
        configuration.save(settings, work / "config.json")
        save_network(work, net)
    return settings


def main(argv: Sequence[str] | None = None) -> int:
    """Check or convert a model of nussl 1.x; returns the exit code."""
    parser = argparse.ArgumentParser("clustering.convert", description=main.__doc__)
    parser.add_argument("model", help="file as SeparationModel.save writes it")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--check",
        action="store_true",
        help="compare the network with its graph computed plainly in float64, print "
        f"the largest difference, refuse it above {TOLERANCE:g}",
    )
    what.add_argument("--output", metavar="RUN", help="do so, and write a run folder")
    parser.add_argument(
        "--sample-rate", type=int, metavar="HZ", help="where the file tells none"
    )
    options = parser.parse_args(argv)
    return exit_code("clustering.convert", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    restored = load(options.model)
    weights = sum(v.shape.num_elements() for v in restored.model.trainable_variables)
    name = type(restored.model).__name__
    sys.stdout.write(f"{options.model}: {name}, {weights} weights\n")
    sys.stdout.write(f"largest difference {check(restored):.3g}\n")
    if options.output:
        made = export(restored, options.output, options.sample_rate)
        sys.stdout.write(
            f"{options.output}: {made.kind}, {made.sample_rate} Hz, frames of "
            f"{made.window_samples} every {made.hop_samples}\n"
        )
    return 0


def _noise(model: keras.Model, frames: int) -> np.ndarray:
    """Draw magnitudes [2, frames, bins] of all levels, or waveforms [2, samples]."""
    shape, random = model.config, np.random.default_rng(0)
    if isinstance(shape, shapes.EndToEnd):
        samples = frames * shape.hop_samples + 1
    elif isinstance(shape, shapes.DualPath):
        # Three chunks, and frames that reach no fourth.
        whole = shape.chunk + 2 * shape.chunk_hop + 1
        samples = whole * shape.filterbank.stride + 1
    else:
        place = (2, frames, shape.features.bins)
        levels = 10.0 ** random.uniform(-5.0, 0.0, place)
        return (levels * np.abs(random.standard_normal(place))).astype(np.float32)
    return random.standard_normal([2, samples]).astype(np.float32)


def _outputs(way: Any, mixture: np.ndarray) -> list[np.ndarray]:
    found = way(tf.constant(mixture))
    parts = found if isinstance(found, tuple) else [found]
    return [part.numpy() for part in parts]


def _ours(model: keras.Model, plain: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Bring the outputs of nussl into the order of our axes."""
    if type(model.config) not in KINDS:
        return [plain["audio"][:, 0].transpose(0, 2, 1)]
    wanted = []
    if "embedding" in plain:
        embedding = plain["embedding"]
        wanted.append(embedding.reshape(len(embedding), -1, embedding.shape[-1]))
    if "mask" in plain:
        wanted.append(plain["mask"][:, :, :, 0].transpose(0, 3, 1, 2))
    return wanted


def _difference(output: np.ndarray, wanted: np.ndarray) -> float:
    largest = float(np.abs(wanted).max()) or 1.0
    return float(np.abs(output - wanted).max()) / largest


if __name__ == "__main__":
    sys.exit(main())
