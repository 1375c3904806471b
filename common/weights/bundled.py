"""The small models that come with the pillars, so that separation works offline.

Each has a folder in its pillar: a run folder without optimizer and paths, and its card.
A command of the pillar writes the networks of a finished run there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.config import ConfigError
from common.files import replacing_folder

NAME = "mini"
CARD = "README.md"
CONFIG = "config.json"
MOST_WEIGHTS = 730_000
"""What fills 3 MB together with the running statistics and the files around."""


def find(models: Path, name: str | Path) -> Path | None:
    """Return the run folder of a bundled model, or None for any other name.

    Args:
        models: Folder of the models of a pillar.
        name: What may be the name of one of them.
    """
    folder = models / name
    is_name = Path(name).name == str(name)
    return folder if is_name and (folder / CONFIG).exists() else None


def refuse_large(run: str | Path, weights: int) -> None:
    """Refuse what would make the package too large.

    Args:
        run: Run folder, for the message.
        weights: Number of its weights.

    Raises:
        ConfigError: There are too many weights.

    >>> refuse_large("runs/2030", 1000)
    """
    if weights > MOST_WEIGHTS:
        raise ConfigError(
            f"{run} has {weights} weights; a bundled model has at most "
            f"{MOST_WEIGHTS}, which is 3 MB"
        )


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a folder to write a model to, which replaces another at the end.

    Args:
        folder: The folder to make or to replace; its card stays.
    """
    with replacing_folder(folder, overwrite=True) as work:
        yield work
        if (folder / CARD).exists():
            shutil.copyfile(folder / CARD, work / CARD)
