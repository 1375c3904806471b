"""A table over runs: ``python -m clustering.analyze RUN...``, or a folder of runs.

One row for each run: what differs between their configurations, how long they were
trained, the best loss on the validation, and the scores of ``clustering.evaluate``.
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

from clustering.config import ClusteringConfig
from common.config import ConfigError, flatten, load, to_dict
from common.errors import exit_code
from common.files import user_path, write_text
from common.training.checkpoint import CONFIG
from common.training.logs import read_scalars

SUMMARY = Path("evaluation", "summary.json")
OVERALL = "all"
SCORES = {"SI-SDR": "si_sdr", "SI-SDRi": "si_sdr_improvement"}
IGNORED = ("output",)
NOT_EVALUATED = "not evaluated"

Row = dict[str, Any]
"""Values by column; a column that is not there is empty."""


def find(places: Iterable[Path]) -> dict[str, Path]:
    """Find run folders, those named and all below a folder that is none itself.

    Args:
        places: Run folders and folders of them.

    Returns:
        Run folders by a name of their own, in order.

    Raises:
        ConfigError: There is no run in a place.
    """
    runs: dict[str, Path] = {}
    for place in places:
        folder = user_path(place)
        inside = {file.parent for file in folder.rglob(CONFIG)}
        # Sacred keeps configurations of its own inside a run.
        found = sorted(each for each in inside if not inside & set(each.parents))
        if not found:
            raise ConfigError(
                f"{place} holds no run (no {CONFIG} at any depth); expected run "
                "folders of clustering.train, or a folder of them"
            )
        for run in found:
            name = run.name if run == folder else str(run.relative_to(folder))
            runs[str(run) if name in runs and runs[name] != run else name] = run
    return runs


def rows(runs: Mapping[str, Path]) -> list[Row]:
    """Collect what is known of runs.

    Args:
        runs: Run folders by name.

    Returns:
        A row for each, with the columns ``run``, the keys that differ, ``steps``,
        ``validation loss``, ``SI-SDR`` and ``SI-SDRi`` in dB, and the SI-SDR of each
        source by its name.

    Raises:
        ConfigError: A file of a run is damaged.
    """
    configs = [
        flatten(to_dict(load(ClusteringConfig, run / CONFIG))) for run in runs.values()
    ]
    keys = differing(configs)
    return [
        {"run": name}
        | {key: _shown(config.get(key)) for key in keys}
        | _training(run)
        | _scores(run)
        for (name, run), config in zip(runs.items(), configs, strict=True)
    ]


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the keys that not all configurations have with the same value.

    >>> differing([{"lr": 0.1, "kind": "dpcl"}, {"lr": 0.2, "kind": "dpcl"}])
    ['lr']
    """
    every = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in every
        if key not in IGNORED
        and any(config.get(key) != configs[0].get(key) for config in configs)
    ]


def markdown(table: Sequence[Row]) -> str:
    """Write rows as a table of Markdown, and name the runs without scores."""
    columns = _columns(table)
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in table:
        cells = [_cell(row.get(column, "")) for column in columns]
        lines.append(f"| {' | '.join(cells)} |")
    bare = [row["run"] for row in table if row["SI-SDR"] == NOT_EVALUATED]
    if bare:
        hint = "python -m clustering.evaluate RUN"
        lines += ["", f"Not evaluated: {', '.join(bare)} ({hint})"]
    return "\n".join(lines) + "\n"


def write_csv(table: Sequence[Row], path: Path) -> None:
    """Write rows as a file of comma-separated values, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(table), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def _columns(table: Sequence[Row]) -> list[str]:
    """All columns, those of the sources last."""
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
    """Means over all sources, and the SI-SDR of each."""
    if not (run / SUMMARY).exists():
        return dict.fromkeys(SCORES, NOT_EVALUATED)
    means = _read(run / SUMMARY)
    overall = means.get(OVERALL)
    if not isinstance(overall, dict):
        raise ConfigError(
            f"{run / SUMMARY} has no means of all; evaluate the run again"
        )
    told = {column: overall.get(name, "") for column, name in SCORES.items()}
    for name, each in means.items():
        if name != OVERALL:
            told[f"{name} SI-SDR"] = each.get("si_sdr", "")
    return told


def _shown(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value).replace("|", "\\|")
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table over runs; returns the exit code."""
    parser = argparse.ArgumentParser("clustering.analyze", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run folders, or their folder"
    )
    parser.add_argument("--csv", type=Path, help="file to write the same to")
    options = parser.parse_args(argv)
    return exit_code("clustering.analyze", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    table = rows(find(options.runs))
    if options.csv:
        write_csv(table, options.csv)
    sys.stdout.write(markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
