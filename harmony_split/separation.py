"""The models of the four pillars as a worker uses them: load, warm, separate a wav."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.separation import Separator
from common.separation.files import separate_file
from common.weights import registry
from harmony_split.jobs import Part
from harmony_split.limits import RefusedError

WARM_SECONDS = 20


def load(pillar: str, name: str) -> Model:
    """Load a model through the ``load`` of its pillar.

    Args:
        pillar: Name of the package.
        name: Name of the model within it.

    Raises:
        RefusedError: It is not known or not on this machine.
    """
    for entry in registry.entries():
        if (entry.pillar, entry.name) == (pillar, name) and entry.cached:
            return Model(importlib.import_module(pillar).load(name))
    raise RefusedError(
        "model_missing",
        f"The model {pillar}/{name} is not on this machine; choose another.",
    )


class Model:
    """A separator that tells how far it is.

    Args:
        separator: From a pillar.
    """

    def __init__(self, separator: Separator) -> None:
        self._separator = separator

    def warm(self) -> None:
        """Run the network once, because the first run compiles it."""
        samples = WARM_SECONDS * self._separator.sample_rate
        noise = np.random.default_rng(0).standard_normal([2, samples])
        self._separator(0.01 * noise.astype(np.float32))

    def separate(self, path: Path, tell: Callable[[float], None]) -> Part:
        """Separate a wav into the folder of its name.

        Args:
            path: The wav; stems go to ``{folder}/{name}/{stem}.wav`` and replace those
                that are there.
            tell: Takes the part that is done, 0 to 1, at the beginning and after each
                chunk; what it raises ends the separation.
        """
        summary = separate_file(
            self._separator, path, path.parent, overwrite=True, progress=tell
        )
        return Part(
            0.0,
            summary.samples,
            summary.sample_rate,
            summary.channels,
            tuple(self._separator.sources),
            summary.elapsed_seconds,
        )
