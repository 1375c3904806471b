"""A table over runs: ``python -m clustering.analyze RUN...``, or a folder of runs.

Each run has a row: the keys in which their configurations differ, the steps of
training, the best loss on the validation, and the scores and confidences of
``clustering.evaluate``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clustering.clusterers.confidence import MEASURES as CONFIDENCES
from clustering.config import ClusteringConfig
from common.config import ConfigError, flatten, load, to_dict
from common.errors import exit_code
from common.evaluation import table as tables
from common.files import user_path, write_text
from common.training.checkpoint import CONFIG
from common.training.logs import read_scalars

SUMMARY = Path("evaluation", "summary.json")
OVERALL = "all"
CONFIDENCE = "confidence"
SCORES = {"SI-SDR": "si_sdr", "SI-SDRi": "si_sdr_improvement"}
IGNORED = ("output",)
NOT_EVALUATED = "not evaluated"

Row = dict[str, Any]
"""Values by column; a missing column is empty."""


def find_runs(paths: Iterable[Path]) -> dict[str, Path]:
    """List run folders, and all runs below other folders.

    Args:
        paths: Run folders and folders of them.

    Returns:
        Run folders by a unique name, in order.

    Raises:
        ConfigError: A path holds no run.
    """
    runs: dict[str, Path] = {}
    for path in paths:
        folder = user_path(path)
        candidates = {file.parent for file in folder.rglob(CONFIG)}
        # Sacred stores its own configurations inside a run.
        run_folders = sorted(c for c in candidates if not candidates & set(c.parents))
        if not run_folders:
            raise ConfigError(
                f"{path} holds no run (no {CONFIG} at any depth); expected run "
                "folders of clustering.train, or a folder of them"
            )
        for run in run_folders:
            name = run.name if run == folder else str(run.relative_to(folder))
            runs[str(run) if name in runs and runs[name] != run else name] = run
    return runs


def rows(runs: Mapping[str, Path]) -> list[Row]:
    """Collect the row of each run.

    Args:
        runs: Run folders by name.

    Returns:
        Rows with the columns ``run``, the keys that differ, ``steps``, ``validation
        loss``, ``SI-SDR`` and ``SI-SDRi`` in dB, the SI-SDR of each source by its name,
        and each measured confidence.

    Raises:
        ConfigError: A file of a run is damaged.
    """
    configs = [
        flatten(to_dict(load(ClusteringConfig, run / CONFIG))) for run in runs.values()
    ]
    keys = differing(configs)
    return [
        {"run": name}
        | {key: _joined(config.get(key)) for key in keys}
        | _training(run)
        | _scores(run)
        for (name, run), config in zip(runs.items(), configs, strict=True)
    ]


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the keys whose values differ between configurations.

    >>> differing([{"lr": 0.1, "kind": "dpcl"}, {"lr": 0.2, "kind": "dpcl"}])
    ['lr']
    """
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in keys
        if key not in IGNORED
        and any(config.get(key) != configs[0].get(key) for config in configs)
    ]


def markdown(table: Sequence[Row]) -> str:
    """Format rows as a table of Markdown, and name the runs without scores."""
    columns = _columns(table)
    cells = [[_cell(row.get(column, "")) for column in columns] for row in table]
    text = tables.markdown(columns, cells)
    unscored = [row["run"] for row in table if row["SI-SDR"] == NOT_EVALUATED]
    if unscored:
        hint = "python -m clustering.evaluate RUN"
        text += f"\nNot evaluated: {', '.join(unscored)} ({hint})\n"
    return text


def write_csv(table: Sequence[Row], path: Path) -> None:
    """Write rows as a file of comma-separated values, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(table), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def _columns(table: Sequence[Row]) -> list[str]:
    """Return all columns, those of the sources last."""
    longest = max(table, key=len)
    return list(dict.fromkeys([*longest, *(key for row in table for key in row)]))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); remove it, or make it again"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping of names to values; make it again")
    return values


def _training(run: Path) -> Row:
    lines = read_scalars(run)
    losses = [
        line["loss"]
        for line in lines
        if line.get("split") == "validation" and "loss" in line
    ]
    steps = max((line["step"] for line in lines), default=0)
    return {"steps": steps, "validation loss": min(losses, default="")}


def _scores(run: Path) -> Row:
    """Return means over all sources, the SI-SDR of each, and the confidences."""
    file = run / SUMMARY
    if not file.exists():
        return dict.fromkeys(SCORES, NOT_EVALUATED)
    means = _read(file)
    overall = means.pop(OVERALL, None)
    if not isinstance(overall, dict):
        raise ConfigError(
            f"{file} has no means under {OVERALL!r}; evaluate the run again"
        )
    confidence = means.pop(CONFIDENCE, {})
    row = {column: overall.get(name, "") for column, name in SCORES.items()}
    row |= {f"{name} SI-SDR": mean.get("si_sdr", "") for name, mean in means.items()}
    return row | {
        f"{name} confidence": confidence[name]
        for name in CONFIDENCES
        if name in confidence
    }


def _joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table over runs; return the exit code."""
    parser = argparse.ArgumentParser("clustering.analyze", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run folders, or their folder"
    )
    parser.add_argument("--csv", type=Path, help="also write the table to this file")
    options = parser.parse_args(argv)
    return exit_code("clustering.analyze", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    table = rows(find_runs(options.runs))
    if options.csv:
        write_csv(table, options.csv)
    sys.stdout.write(markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
