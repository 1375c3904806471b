"""The small model that comes with the package, so that separation works offline.

``python -m unmix.embedded RUN`` takes the networks of a finished run of several targets
into the package; ``run_train_embedded_unmix.sh`` trains those that are there and calls
it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.config import load as load_config
from common.config import save
from common.training.checkpoint import CheckpointError, restore_network, save_network
from common.weights import bundled as embedded
from unmix.config import UnmixConfig
from unmix.model import OpenUnmix

FOLDER = Path(__file__).parent / "models"


def find(name: str | Path) -> Path | None:
    """Give the run folder of an embedded model, or None for any other name.

    >>> find("mini").name
    'mini'
    """
    return embedded.find(FOLDER, name)


def embed(run: str | Path, folder: str | Path = FOLDER / embedded.NAME) -> None:
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
    embedded.refuse_large(run, sum(n.count_params() for n in networks.values()))
    with embedded.replacing(folder) as work:
        for target, network in networks.items():
            restore_network(run / target, network)
            save_network(work / target, network)
            save(_bare(configs[target], (target,)), work / target / embedded.CONFIG)
        whole = _bare(next(iter(configs.values())), tuple(networks))
        save(whole, work / embedded.CONFIG)


def _configs(run: Path) -> dict[str, UnmixConfig]:
    """Read the configuration of every target of a run."""
    if not (run / embedded.CONFIG).exists():
        raise CheckpointError(
            f"{run} holds no {embedded.CONFIG}; expected the run folder of "
            "several targets"
        )
    return {
        target: load_config(UnmixConfig, run / target / embedded.CONFIG)
        for target in load_config(UnmixConfig, run / embedded.CONFIG).target
    }


def _bare(config: UnmixConfig, targets: tuple[str, ...]) -> UnmixConfig:
    return replace(config, target=targets, root=None, records=None, output=None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return embedded.command("unmix", embed, argv)


if __name__ == "__main__":
    sys.exit(main())
