"""The small model that comes with the package, so that separation works offline.

``python -m adversarial.embedded RUN`` takes the separator of a finished run there, that
of its semi-supervised phase if it has one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adversarial import runs
from common.config import save
from common.training.checkpoint import save_network
from common.weights import bundled as embedded

FOLDER = runs.MODELS


def find(name: str | Path) -> Path | None:
    """Give the run folder of an embedded model, or None for any other name.

    >>> find("another") is None
    True
    """
    return embedded.find(FOLDER, name)


def embed(run: str | Path, folder: str | Path = FOLDER / embedded.NAME) -> None:
    """Write the separator of a run, without critics and paths, as an embedded model.

    Args:
        run: Run folder, or that of one phase.
        folder: The folder to make or to replace; its card stays.

    Raises:
        ConfigError: The network is too large to be shipped.
        CheckpointError: The run has no checkpoint.
    """
    place = runs.locate(run)
    config = runs.config(place)
    network = runs.load(place)
    embedded.refuse_large(run, network.count_params())
    corpora = replace(
        config.corpora,
        root=None,
        unpaired_root=None,
        records=None,
        function=None,
        foreign_pickle=None,
    )
    bare = replace(config, output=None, corpora=corpora)
    with embedded.replacing(Path(folder)) as work:
        save_network(work, network)
        save(bare, work / embedded.CONFIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return embedded.command("adversarial", embed, argv)


if __name__ == "__main__":
    sys.exit(main())
