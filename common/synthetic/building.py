"""Building a synthetic corpus: whole or not at all, once for equal parameters."""

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
README = """This is the miniature corpus {kind}: synthetic sounds, made by code.

Nothing here was recorded, and nothing of the real data set is in it but its layout.
Use it to see that everything runs and learns, and never compare scores on it with
published ones. Written by python -m common.synthetic.miniature with these parameters:
{parameters}
It may be deleted at any time: the same command makes the same files again.
"""
P = ParamSpec("P")


class Made(NamedTuple):
    """What a miniature says of itself: layout, keywords, fingerprint of all."""

    kind: str
    parameters: dict[str, float]
    digest: str


def layout(
    kind: str,
) -> Callable[
    [Callable[Concatenate[Path, P], None]], Callable[Concatenate[Any, P], Path]
]:
    """Let a function that writes files into a folder make a corpus of them.

    The corpus is written as a whole, unless it stands already with the same keywords
    (all that decides the files, besides the code); the function then gives its folder.
    FileExistsError: the folder holds something else. CorpusError: a number is out of
    range.

    Args:
        kind: Name of the layout.
    """

    def made(
        write: Callable[Concatenate[Path, P], None],
    ) -> Callable[Concatenate[Any, P], Path]:
        @functools.wraps(write)
        def corpus(folder: Path | str, *args: P.args, **options: P.kwargs) -> Path:
            given = inspect.signature(write).bind(Path(folder), *args, **options)
            given.apply_defaults()
            parameters = given.kwargs
            _check(parameters)
            work = functools.partial(write, **parameters)
            code = sys.modules[write.__module__]
            digest = _digest(kind, parameters, code)
            _build(Path(folder), Made(kind, parameters, digest), work)
            return Path(folder)

        return corpus

    return made


def draws(
    seed: Sequence[int], counts: Mapping[str, int]
) -> Iterator[tuple[str, int, np.random.Generator]]:
    """Give every item of a corpus numbers of its own.

    Args:
        seed: What decides the numbers, besides the item.
        counts: Items of each split.

    Yields:
        Split, place of the item in it, and its generator.

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
        pattern: Name of a file, with ``{}`` for that of the source.
        mixture: What stands there for the mixture.
        sources: Each [samples] or [channels, samples], full scale +-1.
        sample_rate: In Hz.
    """
    whole = writing.quantise(np.stack(list(sources.values())))
    for name, wave in zip(
        (mixture, *sources), [whole.sum(axis=0), *whole], strict=True
    ):
        writing.write_wav(folder / pattern.format(name), wave, sample_rate)


def _check(parameters: Mapping[str, float]) -> None:
    for name, value in parameters.items():
        least = 0 if name in MAY_BE_ZERO else 1e-3
        if not value >= least:
            raise CorpusError(f"{name} is {value}; it must be {least:g} or more.")


def _build(folder: Path, made: Made, write: Callable[[Path], None]) -> None:
    if _marker(folder).get("digest") == made.digest:
        return
    with files.locked(folder):
        if _marker(folder).get("digest") != made.digest:
            _build_now(folder, made, write)


def _build_now(folder: Path, made: Made, write: Callable[[Path], None]) -> None:
    LOG.info("Making the synthetic miniature %s in %s.", made.kind, folder)
    with files.replacing_folder(folder, overwrite=_is_ours(folder)) as work:
        write(work)
        parameters = json.dumps(made.parameters)
        text = README.format(kind=made.kind, parameters=parameters)
        (work / "README.txt").write_text(text, encoding="utf-8")
        entries = sorted(entry.name for entry in work.iterdir())
        marker = {**made._asdict(), "entries": [*entries, MARKER]}
        (work / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")


def _digest(kind: str, parameters: Mapping[str, float], writer: ModuleType) -> str:
    """Fingerprint of all that the files depend on, this code included."""
    state = hashlib.sha256(json.dumps([kind, dict(parameters)]).encode())
    code = [synthesis, sounds, voices, scenes, writing, fuss, sys.modules[__name__]]
    for module in (*code, writer):
        state.update(Path(str(module.__file__)).read_bytes())
    return state.hexdigest()


def _marker(folder: Path) -> dict[str, Any]:
    """What a finished miniature says of itself; empty where there is none."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds a miniature and nothing that was put there since."""
    entries = _marker(folder).get("entries", [])
    return bool(entries) and {each.name for each in folder.iterdir()} <= set(entries)
