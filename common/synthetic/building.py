"""Build a synthetic corpus: atomically, and once for equal parameters."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Concatenate, NamedTuple, ParamSpec

import numpy as np

from common import files
from common.corpora import fuss, writing
from common.corpora.track import CorpusError
from common.synthetic import scenes, sounds, synthesis, voices

LOG = logging.getLogger(__name__)

MARKER = "miniature.json"
MAY_BE_ZERO = ("seed", "train", "validation", "valid", "eval", "test")
README = """This is the miniature corpus {layout}: synthetic sounds, made by code.

Nothing here was recorded, and nothing of the real data set is in it but its layout.
Use it to see that everything runs and learns, and never compare scores on it with
published ones. Written by python -m common.synthetic.miniature with these parameters:
{parameters}
It may be deleted at any time: the same command makes the same files again.
"""
P = ParamSpec("P")


class Miniature(NamedTuple):
    """Layout, keywords and digest of a miniature."""

    layout: str
    parameters: dict[str, float]
    digest: str


def layout(
    name: str,
) -> Callable[
    [Callable[Concatenate[Path, P], None]], Callable[Concatenate[Any, P], Path]
]:
    """Return a decorator for functions that write the files of a corpus to a folder.

    The decorated function writes the corpus atomically, unless the folder already holds
    it with the same keywords and code, and returns the folder. It raises
    FileExistsError if the folder holds something else, and CorpusError if a number is
    out of range.

    Args:
        name: Name of the layout.
    """

    def decorate(
        write: Callable[Concatenate[Path, P], None],
    ) -> Callable[Concatenate[Any, P], Path]:
        @functools.wraps(write)
        def corpus(folder: Path | str, *args: P.args, **options: P.kwargs) -> Path:
            bound = inspect.signature(write).bind(Path(folder), *args, **options)
            bound.apply_defaults()
            parameters = bound.kwargs
            _check(parameters)
            work = functools.partial(write, **parameters)
            code = sys.modules[write.__module__]
            digest = _digest(name, parameters, code)
            _build(Path(folder), Miniature(name, parameters, digest), work)
            return Path(folder)

        return corpus

    return decorate


def draws(
    seed: Sequence[int], counts: Mapping[str, int]
) -> Iterator[tuple[str, int, np.random.Generator]]:
    """Yield a random generator for every item of a corpus.

    Args:
        seed: Seed of all generators, which also depend on the item.
        counts: Number of items of each split.

    Yields:
        Split, index of the item in it, and its generator.

    >>> [(split, index) for split, index, _ in draws([0], {"train": 2, "test": 1})]
    [('train', 0), ('train', 1), ('test', 0)]
    """
    for number, (split, count) in enumerate(counts.items()):
        for index in range(count):
            yield split, index, np.random.default_rng([*seed, number, index])


def write_sum(
    folder: Path,
    pattern: str,
    mixture: str,
    sources: Mapping[str, np.ndarray],
    sample_rate: int,
) -> None:
    """Write sources and their exact sum as 16-bit files of one folder.

    Args:
        folder: The folder; made as needed.
        pattern: Name of a file, with ``{}`` for the name of the source.
        mixture: Name of the mixture in ``pattern``.
        sources: Each [samples] or [channels, samples], full scale +-1.
        sample_rate: In Hz.
    """
    pcm = writing.quantise(np.stack(list(sources.values())))
    for name, wave in zip((mixture, *sources), [pcm.sum(axis=0), *pcm], strict=True):
        writing.write_wav(folder / pattern.format(name), wave, sample_rate)


def _check(parameters: Mapping[str, float]) -> None:
    for name, value in parameters.items():
        least = 0 if name in MAY_BE_ZERO else 1e-3
        if not value >= least:
            raise CorpusError(f"{name} is {value}; it must be {least:g} or more.")


def _build(folder: Path, miniature: Miniature, write: Callable[[Path], None]) -> None:
    if _marker(folder).get("digest") == miniature.digest:
        return
    with files.locked(folder):
        if _marker(folder).get("digest") != miniature.digest:
            _build_now(folder, miniature, write)


def _build_now(
    folder: Path, miniature: Miniature, write: Callable[[Path], None]
) -> None:
    LOG.info("Making the synthetic miniature %s in %s.", miniature.layout, folder)
    with files.replacing_folder(folder, overwrite=_is_ours(folder)) as work:
        write(work)
        parameters = json.dumps(miniature.parameters)
        text = README.format(layout=miniature.layout, parameters=parameters)
        (work / "README.txt").write_text(text, encoding="utf-8")
        entries = sorted(entry.name for entry in work.iterdir())
        marker = {
            "kind": miniature.layout,
            "parameters": miniature.parameters,
            "digest": miniature.digest,
            "entries": [*entries, MARKER],
        }
        (work / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")


def _digest(name: str, parameters: Mapping[str, float], writer: ModuleType) -> str:
    """Return the digest of all that the files depend on, this code included."""
    state = hashlib.sha256(json.dumps([name, dict(parameters)]).encode())
    code = [synthesis, sounds, voices, scenes, writing, fuss, sys.modules[__name__]]
    for module in (*code, writer):
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
    entries = _marker(folder).get("entries", [])
    return bool(entries) and {each.name for each in folder.iterdir()} <= set(entries)
