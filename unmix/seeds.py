"""Choose the best of several seeds for each target.

``python -m unmix.seeds FOLDER`` compares the runs ``FOLDER/seed42``, ``FOLDER/seed43``
and so on, each of one or more targets. For every target it links the run with the
lowest validation loss to ``FOLDER/best/TARGET``, as the published networks were chosen.
``FOLDER/best`` can then be used like any run folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import exit_code
from common.training import checkpoint
from common.training.checkpoint import CheckpointError
from unmix import weights
from unmix.config import in_order

BEST = "best"
PATTERN = "seed*"


class Run(NamedTuple):
    """A training of one target, and the validation loss of its best network."""

    seed: str
    folder: Path
    loss: float


def find(folder: str | Path) -> dict[str, list[Run]]:
    """Find the runs of every target with a saved network.

    Args:
        folder: Holds a run folder for each seed.

    Returns:
        Runs by target, in the order of their seeds.

    Raises:
        CheckpointError: There is no run.
    """
    by_target: dict[str, list[Run]] = {}
    seeds = sorted(Path(folder).glob(PATTERN), key=lambda p: (len(p.name), p.name))
    for seed in seeds:
        for target, run in weights.runs(seed).items():
            loss = _loss(run)
            if loss is not None:
                by_target.setdefault(target, []).append(Run(seed.name, run, loss))
    if not by_target:
        raise CheckpointError(
            f"{folder} holds no finished epoch of a run ({PATTERN}/TARGET/best); "
            "expected the folder of a training with --seeds"
        )
    return {t: by_target[t] for t in in_order(by_target)}


def keep_best(folder: str | Path) -> dict[str, Run]:
    """Link the best run of every target into the folder ``best``.

    Args:
        folder: Holds a run folder for each seed.

    Returns:
        The chosen run by target.

    Raises:
        CheckpointError: There is no run, or another file is in the way.
    """
    chosen = _best(find(folder))
    for target, run in chosen.items():
        _link(Path(folder) / BEST / target, run.folder)
    return chosen


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Format the validation losses: a line for each target, a column for each seed.

    >>> runs = [Run("seed42", Path(), 0.5), Run("seed43", Path(), 0.25)]
    >>> print(table({"bass": runs}))
    target   seed42   seed43   best
    bass     0.5000   0.2500   seed43
    """
    seeds = list(dict.fromkeys(run.seed for group in runs.values() for run in group))
    seeds.sort(key=lambda name: (len(name), name))
    rows = [["target", *seeds, BEST]]
    for target, run in _best(runs).items():
        losses = {run.seed: f"{run.loss:.4f}" for run in runs[target]}
        rows.append([target, *(losses.get(seed, "-") for seed in seeds), run.seed])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Keep the best of several runs, for every target."""
    parser = argparse.ArgumentParser("unmix.seeds", description=main.__doc__)
    parser.add_argument("folder", help="holds a run folder for each seed")
    options = parser.parse_args(argv)
    return exit_code("unmix.seeds", lambda: _main(options.folder))


def _main(folder: str) -> int:
    keep_best(folder)
    sys.stdout.write(f"validation loss\n{table(find(folder))}\n")
    sys.stdout.write(f"best of each target: {Path(folder) / BEST}\n")
    return 0


def _best(runs: Mapping[str, Sequence[Run]]) -> dict[str, Run]:
    """Return the run with the lowest loss by target; the first of equal ones."""
    return {
        target: min(candidates, key=lambda run: run.loss)
        for target, candidates in runs.items()
    }


def _loss(run: Path) -> float | None:
    """Read the validation loss of the best checkpoint, None if there is none yet."""
    scalars = run / "scalars.jsonl"
    try:
        step = int(checkpoint.find(run, "best").name.rpartition("-")[2])
    except CheckpointError:
        return None
    if not scalars.exists():
        return None
    for line in scalars.read_text("utf-8").splitlines():
        values = _values(line)
        if values.get("split") == "validation" and values.get("step") == step:
            return float(values["loss"])
    return None


def _values(line: str) -> dict[str, Any]:
    """Read a line, which may be incomplete after a kill."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def _link(link: Path, run: Path) -> None:
    """Link to a run by a relative path, atomically, so that folders can be moved."""
    if link.exists() and not link.is_symlink():
        raise CheckpointError(
            f"{link} is not a link of a training with --seeds; move it elsewhere"
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{link.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(os.path.relpath(run, link.parent), target_is_directory=True)
    part.replace(link)


if __name__ == "__main__":
    sys.exit(main())
