"""The small model that comes with the package, so that separation works offline.

``python -m mixit.embedded RUN`` takes the network of a finished run into the package;
``run_train_embedded_mixit.sh`` trains the one that is there and calls it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.config import load as load_config
from common.config import save
from common.training.checkpoint import restore_network, save_network
from common.weights import bundled as embedded
from mixit.config import MixitConfig
from mixit.model import Tdcn

FOLDER = Path(__file__).parent / "models"


def find(name: str | Path) -> Path | None:
    """Give the run folder of an embedded model, or None for any other name.

    >>> find("mini").name
    'mini'
    """
    return embedded.find(FOLDER, name)


def embed(run: str | Path, folder: str | Path = FOLDER / embedded.NAME) -> None:
    """Write the network of a run, without optimizer and paths, as an embedded model.

    Args:
        run: Run folder.
        folder: The folder to make or to replace; its card stays.

    Raises:
        ConfigError: The network is too large to be shipped.
        CheckpointError: The run has no checkpoint.
    """
    config = load_config(MixitConfig, Path(run) / embedded.CONFIG)
    network = Tdcn(config.model)
    embedded.refuse_large(run, network.count_params())
    restore_network(run, network)
    bare = replace(config, data_root=None, records=None, output=None)
    with embedded.replacing(Path(folder)) as work:
        save_network(work, network)
        save(bare, work / embedded.CONFIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return embedded.command("mixit", embed, argv)


if __name__ == "__main__":
    sys.exit(main())
