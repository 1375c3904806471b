"""Locate the weights of a network, and restore it from a run."""

from __future__ import annotations

from pathlib import Path

from common.config import load as load_config
from common.training.checkpoint import CONFIG, restore_network
from common.weights.locate import Location, Models, locate_model
from mixit import published
from mixit.config import MixitConfig
from mixit.model import Tdcn

MODELS = Models("mixit", "a prefix or folder of a TF1 checkpoint", published.MODELS)


def locate(word: str | Path, checkpoint: str | None = None) -> Location:
    """Find the weights that a word names, and download those of a publication.

    Args:
        word: Run folder, prefix of one of its checkpoints, name of a bundled or
            published model, or prefix or folder of a TF1 checkpoint.
        checkpoint: Choice among the checkpoints of a run folder, if any.

    Raises:
        CheckpointError: It names nothing, or weights without a choice of checkpoints.
        DownloadError: The model cannot be downloaded, or its archive lacks it.
    """
    location = locate_model(word, MODELS, checkpoint)
    if location.published:
        return location._replace(path=published.checkpoint(location.name))
    return location


def restore_run(location: Location, checkpoint: str | None = None) -> Tdcn:
    """Restore the network of a run folder, or of one of its checkpoints.

    Args:
        location: Of weights with a run folder.
        checkpoint: Choice among its checkpoints: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged or of another model.
    """
    folder = location.run or location.path
    config = load_config(MixitConfig, folder / CONFIG)
    network = Tdcn(config.model, precision=config.train.precision)
    restore_network(location.path, network, checkpoint)
    return network
