"""Load the models of the four packages, warm them up, and separate wav files."""

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
    """Load a model by the ``load`` of its package.

    Args:
        pillar: Name of the package.
        name: Name of the model in it.

    Raises:
        RefusedError: It is unknown or not on this machine.
    """
    for entry in registry.entries():
        if (entry.pillar, entry.name) == (pillar, name) and entry.cached:
            return Model(importlib.import_module(pillar).load(name))
    raise RefusedError(
        "model_missing",
        f"The model {pillar}/{name} is not on this machine; choose another.",
    )


class Model:
    """A separator that reports its progress.

    Args:
        separator: Separator of a package.
        warm_seconds: Length of the sound of the first run.
    """

    def __init__(self, separator: Separator, warm_seconds: int = WARM_SECONDS) -> None:
        self._separator = separator
        self._warm_seconds = warm_seconds

    def warm(self) -> None:
        """Run the network once, because the first run compiles it."""
        samples = self._warm_seconds * self._separator.sample_rate
        noise = np.random.default_rng(0).standard_normal([2, samples])
        self._separator(0.01 * noise.astype(np.float32))

    def separate(self, path: Path, tell: Callable[[float], None]) -> Part:
        """Separate a wav into the folder of its name.

        Args:
            path: The wav; stems go to ``{folder}/{name}/{stem}.wav`` and replace
                existing ones.
            tell: Called with the fraction done, 0 to 1, at the beginning and after each
                chunk; an exception in it ends the separation.
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
