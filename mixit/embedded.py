"""The small model that comes with the package, so that separation works offline.

``python -m mixit.embedded RUN`` takes the network of a finished run into the package;
``run_train_embedded_mixit.sh`` trains the one that is there and calls it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.checkpoint import restore_network, save_network
from common.config import ConfigError, save
from common.config import load as load_config
from common.errors import exit_code
from mixit.config import MixitConfig
from mixit.model import Tdcn

FOLDER = Path(__file__).parent / "models"
NAME = "mini"
MOST_WEIGHTS = 750_000


def find(name: str) -> Path | None:
    """Give the run folder of an embedded model, or None for any other name.

    >>> find("mini").name
    'mini'
    """
    folder = FOLDER / name
    known = bool(name) and "/" not in name and (folder / "config.json").exists()
    return folder if known else None


def embed(run: str | Path, folder: str | Path = FOLDER / NAME) -> None:
    """Write the network of a run, without optimizer and paths, as an embedded model.

    Raises:
        ConfigError: The network is too large to be shipped.
        CheckpointError: The run has no checkpoint.
    """
    config = load_config(MixitConfig, Path(run) / "config.json")
    network = Tdcn(config.model)
    if network.count_params() > MOST_WEIGHTS:
        raise ConfigError(
            f"{run} has {network.count_params()} weights; an embedded model has at "
            f"most {MOST_WEIGHTS}, which is 3 MB"
        )
    restore_network(run, network)
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_network(folder, network)
    bare = replace(config, data_root=None, records=None, output=None)
    save(bare, Path(folder) / "config.json")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 1:
        sys.stderr.write("usage: python -m mixit.embedded RUN\n")
        return 2

    def work() -> int:
        embed(words[0])
        sys.stdout.write(f"{FOLDER / NAME}: the network of {words[0]}\n")
        return 0

    return exit_code("mixit.embedded", work)


if __name__ == "__main__":
    sys.exit(main())
