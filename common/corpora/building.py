"""Building a made-up corpus: whole or not at all, once for equal parameters."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from common import cache
from common.corpora import fuss, scenes, sounds, synthesis, talkers, writing
from common.corpora.track import CorpusError

LOG = logging.getLogger(__name__)

MARKER = "miniature.json"
MAY_BE_ZERO = ("seed", "train", "validation", "valid", "eval", "test")
README = """This is the miniature corpus {kind}: synthetic sounds, made by code.

Nothing here was recorded, and nothing of the real data set is in it but its layout.
Use it to see that everything runs and learns, and never compare scores on it with
published ones. Written by python -m common.corpora.miniature with these parameters:
{parameters}
It may be deleted at any time: the same command makes the same files again.
"""


def build(
    folder: Path,
    kind: str,
    parameters: Mapping[str, float],
    write: Callable[[Path], None],
) -> Path:
    """Write a corpus as a whole, unless it stands already with these parameters.

    Args:
        folder: Folder to make.
        kind: Name of the layout.
        parameters: All that decides the files, besides the code.
        write: Writes the files into a folder; its module is part of the fingerprint.

    Returns:
        The folder.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    for name, value in parameters.items():
        least = 0 if name in MAY_BE_ZERO else 1e-3
        if not value >= least:
            raise CorpusError(f"{name} is {value}; it must be {least:g} or more.")
    digest = _digest(kind, parameters, sys.modules[write.__module__])
    if _marker(folder).get("digest") == digest:
        return folder
    with cache.locked(folder):
        if _marker(folder).get("digest") != digest:
            _build_now(folder, kind, parameters, digest, write)
    return folder


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


def _build_now(
    folder: Path,
    kind: str,
    parameters: Mapping[str, float],
    digest: str,
    write: Callable[[Path], None],
) -> None:
    LOG.info("Making the synthetic miniature %s in %s.", kind, folder)
    with writing.whole_folder(folder, replace=_is_ours(folder)) as work:
        write(work)
        text = README.format(kind=kind, parameters=json.dumps(parameters))
        (work / "README.txt").write_text(text, encoding="utf-8")
        entries = sorted(entry.name for entry in work.iterdir())
        marker = {"kind": kind, "parameters": dict(parameters), "digest": digest}
        marker["entries"] = [*entries, MARKER]
        (work / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")


def _digest(kind: str, parameters: Mapping[str, float], writer: ModuleType) -> str:
    """Fingerprint of all that the files depend on, this code included."""
    state = hashlib.sha256(json.dumps([kind, dict(parameters)]).encode())
    code = [synthesis, sounds, talkers, scenes, writing, fuss, sys.modules[__name__]]
    for module in (*code, writer):
        state.update(Path(str(module.__file__)).read_bytes())
    return state.hexdigest()


def _marker(folder: Path) -> dict:
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
