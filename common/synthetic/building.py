"""Build a synthetic corpus: atomically, and once for equal parameters."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from common import files
from common.corpora import fuss, writing
from common.corpora.track import CorpusError
from common.synthetic import scenes, sounds, synthesis, voices

LOG = logging.getLogger(__name__)

MARKER = "miniature.json"
LEAST = {
    **dict.fromkeys(("seed", "train", "validation", "valid", "eval", "test"), 0),
    # The period of the highest string is then three samples.
    "sample_rate": 2000,
}
"""Least values of parameters; that of all others is 0.001."""
README = """This is the miniature corpus {layout}: synthetic sounds, made by code.

Nothing here was recorded, and nothing of the real data set is in it but its layout.
Use it to see that everything runs and learns, and never compare scores on it with
published ones. Written by python -m common.synthetic.miniature with these parameters:
{parameters}
It may be deleted at any time: the same command makes the same files again.
"""


@dataclass(frozen=True)
class Sizes:
    """Parameters of a miniature.

    Attributes:
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every track; 0 for utterances, whose lengths vary.
        counts: Number of tracks of each split.
        options: Other parameters of the layout.
    """

    seed: int
    sample_rate: int
    seconds: float
    counts: Mapping[str, int]
    options: Mapping[str, Any]

    @property
    def samples(self) -> int:
        """Length of every track in samples."""
        return round(self.seconds * self.sample_rate)

    def draws(self, number: int) -> Iterator[tuple[str, int, np.random.Generator]]:
        """Yield the split, the index and a random generator of every track.

        Args:
            number: Number of the layout, by which its generators differ from others.

        >>> sizes = Sizes(0, 8000, 1.0, {"train": 2, "test": 1}, {})
        >>> [(split, index) for split, index, _ in sizes.draws(0)]
        [('train', 0), ('train', 1), ('test', 0)]
        """
        for position, (split, count) in enumerate(self.counts.items()):
            for index in range(count):
                seeds = [self.seed, number, position, index]
                yield split, index, np.random.default_rng(seeds)


Write = Callable[[Path, Sizes], None]
"""Function that writes the files of a miniature into a folder."""


@dataclass(frozen=True)
class Writer:
    """Function that makes a miniature, with the defaults of its parameters.

    Attributes:
        layout: Name of the layout.
        write: Writes the files.
        counts: Default number of tracks of each split.
        defaults: Defaults of the other parameters.
    """

    layout: str
    write: Write
    counts: Mapping[str, int]
    defaults: Mapping[str, float]

    @property
    def parameters(self) -> dict[str, float]:
        """All parameters with their defaults."""
        return {**self.defaults, **self.counts}

    def __call__(self, folder: Path | str, **parameters: float) -> Path:
        """Make the miniature, unless the folder holds it with equal parameters.

        Args:
            folder: Folder to make, atomically.
            **parameters: ``seed``, ``sample_rate`` in Hz, ``seconds``, the number of
                tracks of each split, and others of the layout.

        Returns:
            The folder.

        Raises:
            CorpusError: A number is out of range.
            FileExistsError: The folder holds something else.
            TypeError: The layout has no such parameter.
        """
        unknown = [name for name in parameters if name not in self.parameters]
        if unknown:
            raise TypeError(
                f"the miniature {self.layout} has no parameter {unknown[0]!r}; it has "
                f"{', '.join(self.parameters)}"
            )
        values: dict[str, Any] = {**self.parameters, **parameters}
        _check(values)
        _build(Path(folder), self, values)
        return Path(folder)

    def sizes(self, values: Mapping[str, Any]) -> Sizes:
        """Return the parameters of a call, given all values by name."""
        common = ("seed", "sample_rate", "seconds")
        return Sizes(
            seed=values["seed"],
            sample_rate=values["sample_rate"],
            seconds=values.get("seconds", 0.0),
            counts={split: values[split] for split in self.counts},
            options={n: values[n] for n in self.defaults if n not in common},
        )


def layout(
    name: str, counts: Mapping[str, int], sample_rate: int, **defaults: float
) -> Callable[[Write], Writer]:
    """Return a decorator for functions that write the files of a miniature.

    Args:
        name: Name of the layout.
        counts: Default number of tracks of each split.
        sample_rate: Default sample rate in Hz.
        **defaults: Defaults of other parameters, such as ``seconds``.
    """
    common = {"seed": 0, "sample_rate": sample_rate}
    return lambda write: Writer(name, write, counts, {**common, **defaults})


def _check(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        least = LEAST.get(name, 1e-3)
        if not least <= value < math.inf:
            raise CorpusError(
                f"{name} is {value}; it must be {least:g} or more, and finite."
            )


def _build(folder: Path, writer: Writer, values: Mapping[str, float]) -> None:
    digest = _digest(writer, values)
    if _marker(folder).get("digest") == digest:
        return
    with files.locked(folder):
        if _marker(folder).get("digest") != digest:
            _build_now(folder, writer, values, digest)


def _build_now(
    folder: Path, writer: Writer, values: Mapping[str, float], digest: str
) -> None:
    LOG.info("Making the synthetic miniature %s in %s.", writer.layout, folder)
    with files.replacing_folder(folder, overwrite=_is_ours(folder)) as work:
        writer.write(work, writer.sizes(values))
        text = README.format(layout=writer.layout, parameters=json.dumps(values))
        (work / "README.txt").write_text(text, encoding="utf-8")
        entries = sorted(entry.name for entry in work.iterdir())
        marker = {
            "kind": writer.layout,
            "parameters": values,
            "digest": digest,
            "entries": [*entries, MARKER],
            "files": _count(work) + 1,
        }
        (work / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")


def _digest(writer: Writer, values: Mapping[str, float]) -> str:
    """Return the digest of all that the files depend on, this code included."""
    state = hashlib.sha256(json.dumps([writer.layout, dict(values)]).encode())
    code: list[ModuleType] = [synthesis, sounds, voices, scenes, writing, fuss]
    names = (__name__, writer.write.__module__)
    for module in (*code, *(sys.modules[name] for name in names)):
        state.update(Path(str(module.__file__)).read_bytes())
    return state.hexdigest()


def _marker(folder: Path) -> dict[str, Any]:
    """Return the description of a finished miniature; empty if there is none."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _is_ours(folder: Path) -> bool:
    """Return whether a folder holds a miniature and no files added since."""
    marker = _marker(folder)
    if not (entries := marker.get("entries")):
        return False
    # Earlier releases did not count files.
    known = _count(folder) <= marker.get("files", math.inf)
    return known and {path.name for path in folder.iterdir()} <= set(entries)


def _count(folder: Path) -> int:
    """Count the files of a folder at any depth."""
    return sum(path.is_file() for path in folder.rglob("*"))
