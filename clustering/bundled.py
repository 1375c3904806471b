"""The small model that comes with the package, so that separation works offline.

``python -m clustering.bundled RUN`` copies the network of a finished run there;
``run_train_embedded_clustering.sh`` trains such a run and calls it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clustering.config import ClusteringConfig
from clustering.network import network
from common.config import load as load_config
from common.config import save
from common.training.checkpoint import CONFIG, restore_network, save_network
from common.weights import bundled

FOLDER = Path(__file__).parent / "models"
"""Folder of the bundled models, a run folder each."""


def bundle(run: str | Path, folder: str | Path = FOLDER / bundled.NAME) -> None:
    """Write the network of a run, without optimizer and paths, as a bundled model.

    Args:
        run: Run folder.
        folder: The folder to make or to replace; its card stays.

    Raises:
        ConfigError: The network is too large for the package.
        CheckpointError: The run has no checkpoint.
    """
    config = load_config(ClusteringConfig, Path(run) / CONFIG)
    net = network(config)
    restore_network(run, net)
    bundled.refuse_large(run, net.count_params())
    bare = replace(config, root=None, records=None, output=None)
    with bundled.replacing(Path(folder)) as work:
        save_network(work, net)
        save(bare, work / CONFIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return bundled.command("clustering", bundle, argv)


if __name__ == "__main__":
    sys.exit(main())
