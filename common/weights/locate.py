"""What a word of ``--model`` names, in the order in which it is tried.

A word is the name of a bundled model; else a path: a run folder, one of its
checkpoints, or weights of another program; else the name of a publication, which the
package downloads. ``./NAME`` is a path.
"""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from common.files import user_path
from common.training.checkpoint import CheckpointError, not_a_run, run_of
from common.weights import bundled


@dataclass(frozen=True)
class Models:
    """What the models of a package may be named by, besides paths of runs.

    Attributes:
        pillar: Name of the package.
        foreign: Weights of other programs that it reads, for the message.
        published: Names of publications.
        aliases: Names of publications by other names of them.
    """

    pillar: str
    foreign: str
    published: Collection[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """All that a word may be, for a message."""
        names = ", ".join([*bundled.names(self.pillar), *self.published])
        return (
            f"expected a run folder, one of its checkpoints, {self.foreign}, or one "
            f"of {names}"
        )


class Location(NamedTuple):
    """Where the weights of a model lie.

    Attributes:
        path: Folder of a bundled model, or the path that the word is.
        run: Run folder with its configuration, also of a checkpoint and of a bundled
            model; None for weights of another program.
        name: Name of a bundled model or a publication, empty for a path.
    """

    path: Path
    run: Path | None = None
    name: str = ""

    @property
    def published(self) -> bool:
        """Whether the weights are those of a publication."""
        return bool(self.name) and self.run is None

    @property
    def own(self) -> Path | None:
        """The path of weights of the user, None for those that have a name."""
        return None if self.name else self.path


def locate_model(
    word: str | Path, models: Models, checkpoint: str | None = None
) -> Location:
    """Find what a word names; nothing is downloaded.

    Args:
        word: The word.
        models: What it may be.
        checkpoint: Choice among the checkpoints of a run folder, if any.

    Raises:
        CheckpointError: It names nothing, or weights without a choice of checkpoints.

    >>> locate_model("mini", Models("unmix", "a folder of the original")).run.name
    'mini'
    """
    if not isinstance(word, str | os.PathLike) or not str(word):
        raise CheckpointError(f"{word!r} is not the name of a model; {models.expected}")
    model = bundled.find(models.pillar, word)
    if model is not None:
        return Location(model, model, model.name)
    path, name = user_path(word), models.aliases.get(str(word), str(word))
    if exists(path):
        location = Location(path, run_of(path))
    elif name in models.published:
        location = Location(path, name=name)
    else:
        raise CheckpointError(
            f"{word} does not exist; {models.expected}{_nearest(str(word), models)}"
        )
    if location.run is None and checkpoint is not None:
        raise not_a_run(word, checkpoint)
    return location


def exists(path: Path) -> bool:
    """Return whether a path is a file, a folder or the prefix of a checkpoint.

    >>> exists(Path("nothing"))
    False
    """
    name = glob.escape(path.name)
    parts = (f"{name}.index", f"{name}.data-*")
    return path.exists() or any(any(path.parent.glob(part)) for part in parts)


def _nearest(word: str, models: Models) -> str:
    """Return the end of a message with the names that are similar to a word."""
    names = [*bundled.names(models.pillar), *models.published, *models.aliases]
    near = difflib.get_close_matches(word, names, n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
