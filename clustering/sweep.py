"""Runs of every combination: ``python -m clustering.sweep with tiny lr=1e-3,2e-4``.

Each is trained and scored in a process of its own, one after another, and a table over
all of them ends it. ``-p FILE`` sweeps over what stands under ``sweep`` in an
experiment file. Stopped at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clustering import analyze, combinations, experiment_file
from clustering.combinations import Changes
from clustering.config import ClusteringConfig
from clustering.presets import PRESETS
from common.config import ConfigError, load, save, to_dict
from common.errors import exit_code
from common.files import user_path
from common.training.checkpoint import CONFIG
from common.training.loop import say

PRESET_OF_WORDS = "dpcl"
CONFIGURATIONS = "configurations"
NAME_LENGTH = 80

Plan = Mapping[str, tuple[Changes, ClusteringConfig]]
"""Changes and configuration of each run by its name."""
Start = Callable[[Sequence[str]], int]
"""Runs a module of Python with its arguments; returns the exit code."""


def plan(
    found: Sequence[tuple[Changes, ClusteringConfig]], output: Path | None
) -> tuple[Path, Plan]:
    """Name the runs of a sweep and give each its folder.

    Args:
        found: Changes and configuration of each.
        output: Folder of all; none: one named by what is swept.

    Returns:
        The folder and the runs.

    Raises:
        ConfigError: Two are the same, or the output is swept over.
    """
    digests: dict[str, int] = {}
    for number, (changes, config) in enumerate(found):
        if "output" in changes:
            raise ConfigError("output cannot be swept over; name a folder by --output")
        text = json.dumps(to_dict(replace(config, output=None)), sort_keys=True)
        if text in digests:
            raise ConfigError(
                f"the combinations {digests[text] + 1} and {number + 1} are the same "
                "configuration; leave one of the values out"
            )
        digests[text] = number
    whole = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:8]
    usual = Path(os.environ.get("ROOT_DIR") or "runs", "clustering", f"sweep-{whole}")
    folder = user_path(output or usual)
    varied = analyze.differing([changes for changes, _ in found])
    named = {}
    for number, (changes, config) in enumerate(found):
        parts = [f"{key.rpartition('.')[2]}-{changes.get(key)}" for key in varied]
        text = re.sub(r"[^\w.+,-]+", "", "_".join([f"{number:02d}", *parts]))
        name = text[:NAME_LENGTH]
        named[name] = changes, replace(config, output=str(folder / name))
    return folder, named


def run(folder: Path, runs: Plan, start: Start) -> list[str]:
    """Train and score every run that is not done, then write the table.

    Args:
        folder: Folder of the sweep.
        runs: From :func:`plan`.
        start: Runs a command.

    Returns:
        What failed.

    Raises:
        ConfigError: The folder holds a sweep of other configurations.
    """
    files = _write(folder, runs)
    failed = []
    for number, (name, file) in enumerate(files.items(), 1):
        place = folder / name
        if (place / analyze.SUMMARY).exists():
            say(f"{number} of {len(files)}: {name} is done")
            continue
        say(f"{number} of {len(files)}: {name}")
        words = {"clustering.train": str(file), "clustering.evaluate": str(place)}
        for module, argument in words.items():
            code = start([module, argument])
            if code:
                failed.append(f"{name} ({module}, exit code {code})")
                break
    trained = {
        name: folder / name for name in runs if (folder / name / CONFIG).exists()
    }
    if trained:
        table = analyze.rows(trained)
        analyze.write_csv(table, folder / "analysis.csv")
        say(analyze.markdown(table).rstrip())
    return failed


def _write(folder: Path, runs: Plan) -> dict[str, Path]:
    """Write the configurations, or see that they are those which are there."""
    place = folder / CONFIGURATIONS
    files = {name: place / f"{name}.json" for name in runs}
    if place.exists():
        there = {file: load(ClusteringConfig, file) for file in place.glob("*.json")}
        planned = {files[name]: config for name, (_, config) in runs.items()}
        if any(planned.get(file) != config for file, config in there.items()):
            raise ConfigError(
                f"{folder} holds another sweep; name another --output, or remove it"
            )
    place.mkdir(parents=True, exist_ok=True)
    for name, (_, config) in runs.items():
        save(config, files[name])
    return files


def start_python(words: Sequence[str]) -> int:
    """Run a module in a process of its own, whose output is ours."""
    return subprocess.run([sys.executable, "-m", *words], check=False).returncode


def main(argv: Sequence[str] | None = None, start: Start = start_python) -> int:
    """Run a sweep; returns the exit code, 1 where a run failed."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.sweep", lambda: _main(options, start))


def _main(options: argparse.Namespace, start: Start) -> int:
    folder, runs = plan(_found(options), options.output)
    for name, (changes, _) in runs.items():
        told = " ".join(f"{key}={_shown(value)}" for key, value in changes.items())
        say(f"{name}: {told}")
    say(f"{len(runs)} runs in {folder}")
    if options.dry_run:
        return 0
    failed = run(folder, runs, start)
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; what they "
            "said stands above, and the same command tries them again"
        )
    return 0


def _found(options: argparse.Namespace) -> list[tuple[Changes, Any]]:
    if options.file is None:
        return [
            (
                changes,
                combinations.changed_config(
                    PRESETS[_preset(changes.get("preset", PRESET_OF_WORDS))], changes
                ),
            )
            for changes in combinations.of_words(options.words)
        ]
    if options.words:
        raise ConfigError(
            f"-p {options.file} and {options.words[0]!r}: name either a file or keys; "
            "a file holds its keys itself, those to try under sweep"
        )
    return combinations.of_file(
        experiment_file.read_yaml(options.file), str(options.file)
    )


def _preset(name: str) -> str:
    if name not in PRESETS:
        raise ConfigError(f"preset={name!r}: expected one of {', '.join(PRESETS)}")
    return name


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clustering.sweep", description=__doc__)
    add = parser.add_argument
    add("words", nargs="*", help="preset and key=value,value")
    add("-p", dest="file", type=Path, help="experiment file with a sweep")
    add("--output", type=Path, help="folder of the runs")
    add("--dry-run", action="store_true", help="print the runs and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
