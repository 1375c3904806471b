"""The small model that comes with the package, so that separation works offline.

``python -m unmix.embedded RUN`` takes the networks of a finished run of several targets
into the package; ``run_train_embedded_unmix.sh`` trains those that are there and calls
it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.checkpoint import CheckpointError, restore_network, save_network
from common.config import ConfigError, save
from common.config import load as load_config
from common.corpora.writing import whole_folder
from common.errors import exit_code
from unmix.config import UnmixConfig
from unmix.model import OpenUnmix

FOLDER = Path(__file__).parent / "models"
NAME = "mini"
CARD = "README.md"
CONFIG = "config.json"
MOST_WEIGHTS = 730_000
"""What fills 3 MB together with the running statistics and the files around."""


def find(name: str | Path) -> Path | None:
    """Give the run folder of an embedded model, or None for any other name.

    >>> find("mini").name
    'mini'
    """
    folder = FOLDER / name
    known = bool(str(name)) and "/" not in str(name) and (folder / CONFIG).exists()
    return folder if known else None


def embed(run: str | Path, folder: str | Path = FOLDER / NAME) -> None:
    """Write the networks of a run, without optimizer and paths, as an embedded model.

    Args:
        run: Run folder of several targets, with a folder for each.
        folder: The folder to make or to replace; its card stays.

    Raises:
        ConfigError: The networks are too large to be shipped.
        CheckpointError: A target has no checkpoint.
    """
    run, folder = Path(run), Path(folder)
    configs = _configs(run)
    networks = {target: OpenUnmix(config.model) for target, config in configs.items()}
    weights = sum(network.count_params() for network in networks.values())
    if weights > MOST_WEIGHTS:
        raise ConfigError(
            f"{run} has {weights} weights in {len(networks)} networks; an embedded "
            f"model has at most {MOST_WEIGHTS}, which is 3 MB"
        )
    with whole_folder(folder, replace=True) as work:
        for target, network in networks.items():
            restore_network(run / target, network)
            save_network(work / target, network)
            save(_bare(configs[target], (target,)), work / target / CONFIG)
        save(_bare(next(iter(configs.values())), tuple(networks)), work / CONFIG)
        if (folder / CARD).exists():
            shutil.copyfile(folder / CARD, work / CARD)


def _configs(run: Path) -> dict[str, UnmixConfig]:
    """Read the configuration of every target of a run."""
    if not (run / CONFIG).exists():
        raise CheckpointError(
            f"{run} holds no {CONFIG}; expected the run folder of several targets"
        )
    return {
        target: load_config(UnmixConfig, run / target / CONFIG)
        for target in load_config(UnmixConfig, run / CONFIG).target
    }


def _bare(config: UnmixConfig, targets: tuple[str, ...]) -> UnmixConfig:
    return replace(config, target=targets, root=None, records=None, output=None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 1:
        sys.stderr.write("usage: python -m unmix.embedded RUN\n")
        return 2

    def work() -> int:
        embed(words[0])
        sys.stdout.write(f"{FOLDER / NAME}: the networks of {words[0]}\n")
        return 0

    return exit_code("unmix.embedded", work)


if __name__ == "__main__":
    sys.exit(main())
