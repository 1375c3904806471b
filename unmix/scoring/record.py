"""What scores depend on, kept beside them, so that none of another model are taken."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.evaluation import score_key
from common.files import write_json
from common.separation.separator import Separator
from unmix.scoring.run import Folders
from unmix.scoring.worker import ScoringError

CURE = "name another --evaldir, or give --overwrite without --limit to score all again"


def check_record(
    separator: Separator,
    folders: Folders,
    told: Mapping[str, Any],
    again: Collection[str] | None = (),
) -> None:
    """See that scores which are there are those of this model and these options.

    Args:
        separator: The model, identified by :func:`common.evaluation.score_key.digest`.
        folders: Where the scores are; the record lies beside their folder.
        told: What else they depend on.
        again: Songs whose scores are removed, to be scored again; None: all songs.

    Raises:
        ScoringError: Scores that stay are those of something else.
    """
    path = record_path(folders)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(json.dumps({**told, "digest": score_key.digest(separator)}))
    there = sorted(folders.scores.glob("*.json"))
    removed = [file for file in there if again is None or file.stem in again]
    if len(removed) < len(there):
        _compare(_read(path), record, folders.scores)
    for file in removed:
        file.unlink()
    write_json(record, path)


def record_path(folders: Folders) -> Path:
    """Name the record of a subset; each has its own, since its songs differ."""
    subset = folders.scores.name
    name = "evaluation" if subset == "test" else f"evaluation-{subset}"
    return folders.scores.with_name(f"{name}.json")


def _compare(
    kept: Mapping[str, Any] | None, record: Mapping[str, Any], scores: Path
) -> None:
    if kept is None:
        raise ScoringError(
            f"{scores} holds scores without their record in the folder above, so they "
            f"may be of any model; {CURE}"
        )
    for name, value in record.items():
        if kept.get(name) == value:
            continue
        was, expected = f"{name}={kept.get(name)}", f"{name}={value}"
        if name == "digest":
            was, expected = "other weights", "these"
        raise ScoringError(
            f"{scores} holds scores of {was}, expected {expected}; {CURE}"
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
