"""Locate and load the weights of networks.

A network is named by a publication (``umxhq``, downloaded into the cache once), a
bundled model (``mini``), a run folder of a training or one of its checkpoints, a folder
of ``TARGET.pth`` files in the format of the original, or a file of X-UMX by asteroid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from common.config import flatten
from common.config import load as load_config
from common.training import network_file
from common.training.checkpoint import (
    CONFIG,
    CheckpointError,
    find,
    not_a_run,
    restore_network,
    run_of,
    variables,
)
from common.weights.locate import Models, locate_model
from unmix import published
from unmix.config import Network, UnmixConfig, in_order
from unmix.model import OpenUnmix
from unmix.openunmix import original_folder, xumx_file

MODELS = Models(
    "unmix", "a folder as the original writes it, a file of X-UMX", published.MODELS
)


class Targets(NamedTuple):
    """Where the weights of some targets lie.

    Attributes:
        folder: What was named: the folder, file or checkpoint of all of them.
        paths: Run folder of each target, or its weight file.
        trained_here: Whether ``paths`` are run folders.
        network: Shape of the networks, if their publication states it.
        joint: Whether all targets are in one file of X-UMX, which states their shape.
    """

    folder: Path
    paths: Mapping[str, Path]
    trained_here: bool = False
    network: Network | None = None
    joint: bool = False


def locate(
    path: str | Path,
    targets: Sequence[str] | None = None,
    checkpoint: str | None = None,
) -> Targets:
    """Find the weights of targets, and download pretrained ones.

    Args:
        path: Name of a bundled model, run folder or prefix of one of its checkpoints,
            folder in the format of the original, file of X-UMX, or name of a
            publication. An existing path has priority over a publication.
        targets: Names of the targets; by default all.
        checkpoint: Choice among those of a run folder; other weights have none.

    Raises:
        CheckpointError: There are no weights, none of such a target, or no choice.
        DownloadError: A publication cannot be downloaded.
    """
    location = locate_model(path, MODELS)
    folder = location.path
    run_folders = runs(location.run or folder)
    if run_folders:
        return Targets(folder, _chosen(folder, run_folders, targets), True)
    if checkpoint is not None:
        raise not_a_run(path, checkpoint)
    if location.published:
        network = published.MODELS[location.name].network
        files = published.fetch(location.name, targets)
        if not network.bridged:
            return Targets(folder, files, network=network)
        folder, targets = next(iter(files.values())), list(files)
    if folder.is_file():
        files = dict.fromkeys(xumx_file.targets(folder), folder)
        return Targets(folder, _chosen(folder, files, targets), joint=True)
    return Targets(folder, _chosen(folder, original_folder.files(folder), targets))


def load(
    path: str | Path,
    targets: Sequence[str] | None = None,
    checkpoint: str | None = None,
) -> dict[str, OpenUnmix]:
    """Load the networks of targets.

    Args:
        path: See :func:`locate`.
        targets: Names of the targets; by default all.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Returns:
        Network by target, in the order of ``targets``, else of the source. Its
        ``config`` is its shape.

    Raises:
        CheckpointError: There are no weights, or they do not fit.
        DownloadError: A publication cannot be downloaded.
        TorchFileError: A file is damaged, or not a weight file.

    >>> load("mini", ["bass"])["bass"].config.sample_rate
    16000
    """
    located = locate(path, targets, checkpoint)
    if located.trained_here:
        return {
            target: _restored(located.folder, run, target, checkpoint)
            for target, run in located.paths.items()
        }
    if located.joint:
        return xumx_file.load(located.folder, list(located.paths))
    return {
        target: _read(file, target, located.network)
        for target, file in located.paths.items()
    }


def _restored(
    folder: Path, run: Path, target: str, checkpoint: str | None
) -> OpenUnmix:
    """Restore the network of a target from its run folder."""
    config = load_config(UnmixConfig, run / CONFIG)
    model = OpenUnmix(config.model, config.train.precision)
    prefix = find(folder if run_of(folder) == run else run, checkpoint)
    # Networks that were trained together are in one checkpoint, by target.
    joint = any(name.startswith(f"network/{target}/") for name in variables(prefix))
    restore_network(prefix, {target: model} if joint else model)
    return model


def _read(file: Path, target: str, network: Network | None) -> OpenUnmix:
    """Make the network of a weight file of the original."""
    tensors = original_folder.read(file)
    model = OpenUnmix(network or original_folder.network(file, target, tensors))
    original_folder.assign(model, tensors, str(file))
    return model


def start_from(model: OpenUnmix, path: str | Path, target: str) -> None:
    """Initialise a network by the weights of another of the same shape.

    Args:
        model: The network to be trained.
        path: The other network, see :func:`locate`.
        target: Its target.

    Raises:
        CheckpointError: It does not exist.
        ConfigError: It has another shape.
    """
    other = load(path, [target])[target]
    name = f"initial={path}: its network of {target}"
    network_file.expect_same_shape(name, shape(other), shape(model))
    original_folder.assign(model, original_folder.collect(other), str(path))


def runs(folder: Path) -> dict[str, Path]:
    """Return the run folder of every target: subfolders, or the folder itself.

    Args:
        folder: Run folder of one target, or of several; any other folder has none.
    """
    alone = (folder / CONFIG).exists()
    if not alone and any(folder.glob("*.pth")):
        return {}
    below = {path.parent.name: path.parent for path in folder.glob(f"*/{CONFIG}")}
    if below or not alone:
        return {target: below[target] for target in in_order(below)}
    targets = load_config(UnmixConfig, folder / CONFIG).target
    return dict.fromkeys(targets, folder)


def run_config(path: str | Path) -> UnmixConfig | None:
    """Read the configuration of a run, None for other networks.

    Raises:
        CheckpointError: There is no such model, or the path holds none.
    """
    location = locate_model(path, MODELS)
    first = next(iter(runs(location.run or location.path).values()), None)
    if first is None and not location.published:
        locate(path)
    return load_config(UnmixConfig, first / CONFIG) if first else None


def _chosen(
    folder: Path, paths: Mapping[str, Path], targets: Sequence[str] | None
) -> dict[str, Path]:
    if not paths:
        raise CheckpointError(
            f"{folder} holds neither {CONFIG} nor a file named TARGET.pth; expected a "
            "run folder, or a folder as the original writes it"
        )
    unknown = [target for target in targets or () if target not in paths]
    if unknown:
        raise CheckpointError(
            f"{folder} has no target {unknown[0]}; expected one of {', '.join(paths)}"
        )
    return {target: paths[target] for target in targets or paths}


def shape(model: OpenUnmix) -> dict[str, float]:
    """Return the values that determine the shape of a network, by their keys."""
    config = dataclasses.replace(
        model.config,
        dropout=0.0,
        # Bandwidths that end within the same bin are the same.
        bandwidth=model.input_bins * model.config.sample_rate / 2 / model.bins,
    )
    return flatten({"model": dataclasses.asdict(config)})
