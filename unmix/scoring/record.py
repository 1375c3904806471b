"""What scores depend on, kept beside them, so that none of another model are taken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_json
from common.separation import Separator
from unmix.scoring.run import Folders
from unmix.scoring.worker import ScoringError

RECORD = "evaluation.json"
TOLERANCE = 1e-3
"""Relative difference of levels that another machine makes; another network more."""


def check_record(
    separator: Separator,
    folders: Folders,
    told: Mapping[str, Any],
    names: Sequence[str],
    *,
    overwrite: bool = False,
) -> None:
    """See that scores which are there are those of this model and these options.

    Args:
        separator: The model, known by the levels of what it makes of a little noise.
        folders: Where the scores are; the record lies beside their folder.
        told: What else they depend on.
        names: Songs whose scores ``overwrite`` removes.
        overwrite: Begin anew.

    Raises:
        ScoringError: They are those of something else.
    """
    place = folders.scores.parent
    place.mkdir(parents=True, exist_ok=True)
    record = json.loads(json.dumps({**told, "levels": _levels(separator)}))
    there = [name for name in names if folders.json(name).exists()]
    if overwrite:
        for name in there:
            folders.json(name).unlink()
    elif there:
        _compare(_read(place / RECORD), record, folders.scores)
    write_json(record, place / RECORD)


def _compare(
    kept: Mapping[str, Any] | None, record: Mapping[str, Any], scores: Path
) -> None:
    cure = "name another --evaldir, or give --overwrite to score all again"
    if kept is None:
        raise ScoringError(
            f"{scores} holds scores without {RECORD} in the folder above, so they may "
            f"be of any model; {cure}"
        )
    for name, value in record.items():
        same = kept.get(name) == value
        if name == "levels":
            same = _are_close(kept.get(name), value)
        if not same:
            was, wanted = f"{name}={kept.get(name)}", f"{name}={value}"
            if name == "levels":
                was, wanted = "other weights", "these"
            raise ScoringError(
                f"{scores} holds scores of {was}, expected {wanted}; {cure}"
            )


def _levels(separator: Separator) -> dict[str, float]:
    """Root mean square of each source that is made of a quarter second of noise."""
    shape = [separator.channels, separator.sample_rate // 4]
    noise = 0.1 * np.random.default_rng(0).standard_normal(shape)
    made = separator(noise.astype(np.float32))
    return {name: float(np.sqrt(np.mean(x**2))) for name, x in made.items()}


def _are_close(kept: Any, levels: Mapping[str, float]) -> bool:
    if not isinstance(kept, dict) or kept.keys() != levels.keys():
        return False
    pairs = [(kept[name], value) for name, value in levels.items()]
    return all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) for a, b in pairs)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
