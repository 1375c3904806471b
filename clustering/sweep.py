"""Train every combination: ``python -m clustering.sweep with tiny lr=1e-3,2e-4``.

The runs are trained and scored one after another, each in its own process. The sweep
ends with a table of all runs. ``-p FILE`` sweeps over the values under ``sweep``
in an experiment file. After an interruption the same command continues.

A key with dots is an exact path, a bare key every key of that name; a name that begins
with ``multiple_parameters`` holds mappings that set several keys at once.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clustering import analyze
from clustering.config import ClusteringConfig
from clustering.foreign import experiment_file
from clustering.presets import PRESETS
from common.config import (
    ConfigError,
    aliases,
    key_types,
    load,
    override,
    renamed,
    save,
    to_dict,
    unknown_key,
)
from common.errors import exit_code
from common.files import user_path
from common.training.checkpoint import CONFIG
from common.training.loop import say

Changes = dict[str, Any]
"""Values by key, dotted or bare."""
Combination = tuple[Changes, ClusteringConfig]
"""Changes of one run, and its configuration with these changes."""
Plan = Mapping[str, Combination]
"""Combinations by the name of their run."""
Start = Callable[[Sequence[str]], int]
"""Function that runs a module with its arguments and returns the exit code."""

DEFAULT_PRESET = "dpcl"
CONFIGURATIONS = "configurations"
NAME_LENGTH = 80
TIED = "multiple_parameters"
CACHE_KEYS = ("populate_cache", "num_cache_workers")
"""Keys in a sweep of cookiecutter-nussl for its cache, which does not exist here."""
COOKIECUTTER = "model_config"
PRESET = "preset"


def combine(sweep: Mapping[str, Any]) -> list[Changes]:
    """Combine each value of each key with all others.

    Args:
        sweep: Values by key; a list holds alternatives. The alternatives of a key that
            begins with ``multiple_parameters`` are mappings of several keys.

    Returns:
        The combinations, with the last key varying fastest.

    Raises:
        ConfigError: A list is empty, or alternatives of tied keys are no mappings.

    >>> combine({"lr": [1, 2], "kind": "dpcl"})
    [{'lr': 1, 'kind': 'dpcl'}, {'lr': 2, 'kind': 'dpcl'}]
    """
    alternatives = []
    for key, value in sweep.items():
        if key in CACHE_KEYS:
            continue
        values = value if isinstance(value, list) else [value]
        if not values:
            raise ConfigError(f"sweep: {key} has no value to try; expected some")
        if not key.startswith(TIED):
            alternatives.append([{key: choice} for choice in values])
        elif all(isinstance(choice, Mapping) for choice in values):
            alternatives.append([dict(choice) for choice in values])
        else:
            raise ConfigError(
                f"sweep: {key} holds {values[0]!r}; expected a list of mappings that "
                "set several keys at once"
            )
    return [
        {key: value for changes in combination for key, value in changes.items()}
        for combination in itertools.product(*alternatives)
    ]


def parse_words(words: Iterable[str]) -> list[Changes]:
    """Combine the values on a command line.

    Args:
        words: Presets and ``key=value,value``. If values are lists, ``;`` separates
            the alternatives, as for tied keys, ``key,key=1,2;3,4``.

    Raises:
        ConfigError: A word is neither.

    >>> parse_words(["tiny", "lr=1e-3,2e-4"])
    [{'preset': 'tiny', 'lr': '1e-3'}, {'preset': 'tiny', 'lr': '2e-4'}]
    """
    sweep: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if word in PRESETS:
            sweep[PRESET] = [*sweep.get(PRESET, []), word]
        elif equals and "," in key:
            sweep[f"{TIED} {key}"] = [_tied(key, part) for part in text.split(";")]
        elif equals:
            sweep[key] = text.split(";" if _is_list(key) or ";" in text else ",")
        elif word != "with":
            raise ConfigError(
                f"{word!r} is neither a preset ({', '.join(PRESETS)}) nor key=value; "
                "a file comes after -p"
            )
    return combine(sweep)


def from_words(words: Iterable[str]) -> list[Combination]:
    """Build the configurations of a sweep on a command line.

    Raises:
        ConfigError: A word, a preset or a key is unknown, or a value does not fit.
    """
    combinations = []
    for changes in parse_words(words):
        name = changes.get(PRESET, DEFAULT_PRESET)
        if name not in PRESETS:
            raise ConfigError(f"preset={name!r}: expected one of {', '.join(PRESETS)}")
        combinations.append((changes, change_config(PRESETS[name], changes)))
    return combinations


def from_file(values: Mapping[str, Any], path: str) -> list[Combination]:
    """Build the configurations of the sweep in an experiment file.

    Args:
        values: Content of the file.
        path: Its name, for errors.

    Returns:
        The combinations; a single one for a file without ``sweep``.

    Raises:
        ConfigError: A key of the sweep does not exist, or a value does not fit.
    """
    base = {key: value for key, value in values.items() if key != "sweep"}
    sweeps = values.get("sweep") or {}
    parts = sweeps if isinstance(sweeps, list) else [sweeps]
    if not all(isinstance(part, Mapping) for part in parts):
        raise ConfigError(f"{path}: sweep holds no mapping of keys to values to try")
    combinations = []
    for changes in [changes for part in parts for changes in combine(part)]:
        if COOKIECUTTER in base:
            changed = change_everywhere(base, changes)
            config = experiment_file.translate(changed, path).config
        else:
            preset = {PRESET: changes[PRESET]} if PRESET in changes else {}
            own = experiment_file.translate(base | preset, path).config
            config = change_config(own, changes)
        combinations.append((changes, config))
    return combinations


def change_config(config: ClusteringConfig, changes: Changes) -> ClusteringConfig:
    """Set the key of a full name, or else every key that ends in the name.

    Raises:
        ConfigError: There is no such key, or the value does not fit.
    """
    values: Changes = {}
    for key, value in changes.items():
        if key != PRESET:
            values |= dict.fromkeys(_full_keys(key), value)
    return override(config, renamed(ClusteringConfig, values, config))


def change_everywhere(values: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Set keys of nested mappings: dotted keys by path, bare ones at every level.

    A missing bare key is ignored, because published experiments also set keys of other
    networks.

    Raises:
        ConfigError: There is no such path.

    >>> change_everywhere({"a": {"n": 1}, "b": {"n": 1}}, {"n": 2, "a.m": 3})
    {'a': {'n': 2, 'm': 3}, 'b': {'n': 2}}
    """
    changed = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *path, last = key.split(".")
        if path:
            _section(changed, path)[last] = value
        else:
            _set_everywhere(changed, key, value)
    return changed


def plan(combinations: Sequence[Combination], output: Path | None) -> tuple[Path, Plan]:
    """Name the runs of a sweep and give each its folder.

    Args:
        combinations: From :func:`from_words` or :func:`from_file`.
        output: Folder of all runs; none: a folder named by a digest of the sweep.

    Returns:
        The folder and the runs.

    Raises:
        ConfigError: Two runs are the same, or ``output`` is swept over.
    """
    digests: dict[str, int] = {}
    for number, (changes, config) in enumerate(combinations):
        if "output" in changes:
            raise ConfigError("output cannot be swept over; name a folder by --output")
        text = json.dumps(to_dict(replace(config, output=None)), sort_keys=True)
        if text in digests:
            raise ConfigError(
                f"the combinations {digests[text] + 1} and {number + 1} are the same "
                "configuration; leave one of the values out"
            )
        digests[text] = number
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:8]
    runs = Path(os.environ.get("ROOT_DIR") or "runs", "clustering")
    folder = user_path(output or runs / f"sweep-{digest}")
    varied = analyze.differing([changes for changes, _ in combinations])
    named = {}
    for number, (changes, config) in enumerate(combinations):
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
        start: Function that runs a command.

    Returns:
        A description of each run that failed.

    Raises:
        ConfigError: The folder holds a sweep of other configurations.
    """
    files = _write_configurations(folder, runs)
    failed = []
    for number, (name, file) in enumerate(files.items(), 1):
        output = folder / name
        if (output / analyze.SUMMARY).exists():
            say(f"{number} of {len(files)}: {name} is done")
            continue
        say(f"{number} of {len(files)}: {name}")
        steps = {"clustering.train": str(file), "clustering.evaluate": str(output)}
        for module, argument in steps.items():
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


def run_module(words: Sequence[str]) -> int:
    """Run a module in its own process that shares the standard output."""
    return subprocess.run([sys.executable, "-m", *words], check=False).returncode


def _section(values: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Return the mapping at a path."""
    for number, name in enumerate(path, 1):
        inner = values.get(name)
        if not isinstance(inner, dict):
            section = ".".join(path[:number])
            raise ConfigError(
                f"sweep: there is no section {section!r} in the experiment"
            )
        values = inner
    return values


def _set_everywhere(values: dict[str, Any], key: str, value: Any) -> None:
    for inner in values.values():
        if isinstance(inner, dict):
            _set_everywhere(inner, key, value)
    if key in values:
        values[key] = value


def _full_keys(key: str) -> list[str]:
    """Return the keys of the configuration that a key of a sweep sets."""
    keys = [*key_types(ClusteringConfig), *aliases(ClusteringConfig)]
    same = [full for full in keys if full.rpartition(".")[2] == key]
    if key not in keys and not same:
        raise ConfigError(unknown_key(key, keys))
    return [key] if key in keys else same


def _is_list(key: str) -> bool:
    """Whether the value of a key is a list."""
    if key == PRESET:
        return False
    types = key_types(ClusteringConfig)
    return any("tuple" in str(types.get(full)) for full in _full_keys(key))


def _tied(keys: str, values: str) -> Changes:
    names, parts = keys.split(","), values.split(",")
    if len(names) != len(parts):
        raise ConfigError(
            f"{keys}={values}: {len(names)} keys and {len(parts)} values; expected one "
            "for each, as in lr,batch_size=1e-3,8;2e-4,16"
        )
    return dict(zip(names, parts, strict=True))


def _write_configurations(folder: Path, runs: Plan) -> dict[str, Path]:
    """Write the configurations, or check that the folder already holds the same."""
    configurations = folder / CONFIGURATIONS
    files = {name: configurations / f"{name}.json" for name in runs}
    planned = {files[name]: config for name, (_, config) in runs.items()}
    for file in configurations.glob("*.json"):
        if planned.get(file) != load(ClusteringConfig, file):
            raise ConfigError(
                f"{folder} holds another sweep; name another --output, or remove it"
            )
    configurations.mkdir(parents=True, exist_ok=True)
    for file, config in planned.items():
        save(config, file)
    return files


def main(argv: Sequence[str] | None = None, start: Start = run_module) -> int:
    """Run a sweep; return the exit code, 1 if a run failed."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.sweep", lambda: _main(options, start))


def _main(options: argparse.Namespace, start: Start) -> int:
    folder, runs = plan(_combinations(options), options.output)
    for name, (changes, _) in runs.items():
        words = " ".join(f"{key}={_text(value)}" for key, value in changes.items())
        say(f"{name}: {words}")
    say(f"{len(runs)} runs in {folder}")
    if options.dry_run:
        return 0
    failed = run(folder, runs, start)
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; their "
            "messages are above, and the same command tries them again"
        )
    return 0


def _combinations(options: argparse.Namespace) -> list[Combination]:
    if options.file is None:
        return from_words(options.words)
    if options.words:
        raise ConfigError(
            f"-p {options.file} and {options.words[0]!r}: name either a file or keys; "
            "a file holds its keys itself, those to try under sweep"
        )
    return from_file(experiment_file.read_yaml(options.file), str(options.file))


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clustering.sweep", description=__doc__)
    add = parser.add_argument
    add("words", nargs="*", help="preset and keys, such as lr=1e-3,2e-4")
    add("-p", dest="file", type=Path, help="experiment file with a sweep")
    add("--output", type=Path, help="folder of the runs")
    add("--dry-run", action="store_true", help="print the runs and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
