"""The models of the four pillars as a worker uses them: load, warm, separate a wav."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common import audio
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
            tell: Takes the part that is done, 0 to 1, before each pass of the network;
                what it raises ends the separation.
        """
        info = audio.probe(path)
        passes = _passes(self._separator, info.samples / info.sample_rate)
        done = 0

        def network(batch: np.ndarray) -> Any:
            nonlocal done
            tell(min(1.0, done / passes))
            done += 1
            return self._separator.network(batch)

        watched = replace(self._separator, network=network)
        summary = separate_file(watched, path, path.parent, overwrite=True)
        return Part(
            0.0,
            summary.samples,
            summary.sample_rate,
            info.channels,
            tuple(self._separator.sources),
            summary.elapsed_seconds,
        )


def _passes(separator: Separator, seconds: float) -> int:
    """Estimate how often the network runs for a sound."""
    segment = separator.segment_seconds
    if segment is None or seconds <= segment:
        return 1
    hop = segment * (1 - separator.overlap)
    return 1 + math.ceil((seconds - segment) / hop)
