"""Every combination of the values of some keys, as changes of one configuration.

A key with dots is an exact path, a bare one every key of that name; several keys are
tied to one another below a name that begins with ``multiple_parameters``.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clustering import experiment_file
from clustering.config import ClusteringConfig
from clustering.presets import PRESETS
from common.config import ConfigError, from_dict, key_types, to_dict, unknown_key

Changes = dict[str, Any]
"""Values by key, dotted or bare."""

TIED = "multiple_parameters"
CACHE_ONLY = ("populate_cache", "num_cache_workers")
"""Keys of a sweep of cookiecutter-nussl that mean its cache, which there is none of."""
COOKIECUTTER = "model_config"
PRESET = "preset"


def product(sweep: Mapping[str, Any]) -> list[Changes]:
    """Combine each value of each key with all others.

    Args:
        sweep: Values by key; a list is of alternatives. The alternatives of a key that
            begins with ``multiple_parameters`` are mappings of several keys.

    Returns:
        The combinations, the last key changing fastest.

    Raises:
        ConfigError: A list is empty, or alternatives of tied keys are no mappings.

    >>> product({"lr": [1, 2], "kind": "dpcl"})
    [{'lr': 1, 'kind': 'dpcl'}, {'lr': 2, 'kind': 'dpcl'}]
    """
    alternatives = []
    for key, value in sweep.items():
        if key in CACHE_ONLY:
            continue
        values = value if isinstance(value, list) else [value]
        if not values:
            raise ConfigError(f"sweep: {key} has no value to try; expected some")
        if not key.startswith(TIED):
            alternatives.append([{key: each} for each in values])
        elif all(isinstance(each, Mapping) for each in values):
            alternatives.append([dict(each) for each in values])
        else:
            raise ConfigError(
                f"sweep: {key} holds {values[0]!r}; expected a list of mappings, of "
                "which each sets several keys at once"
            )
    return [
        {key: value for changes in combination for key, value in changes.items()}
        for combination in itertools.product(*alternatives)
    ]


def of_words(words: Iterable[str]) -> list[Changes]:
    """Combine what a command line says.

    Args:
        words: Presets and ``key=value,value``. Where a value is a list itself, ``;``
            parts the alternatives; so it does for tied keys, ``key,key=1,2;3,4``.

    Raises:
        ConfigError: A word is neither.

    >>> of_words(["tiny", "lr=1e-3,2e-4"])
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
    return product(sweep)


def of_file(values: Mapping[str, Any], path: str) -> list[tuple[Changes, Any]]:
    """Combine what stands under ``sweep`` in an experiment file.

    Args:
        values: Content of the file.
        path: Its name, for errors.

    Returns:
        The changes, and the configuration with them; one without a sweep.

    Raises:
        ConfigError: A key of the sweep is not there, or a value does not fit.
    """
    base = {key: each for key, each in values.items() if key != "sweep"}
    sweeps = values.get("sweep") or {}
    parts = sweeps if isinstance(sweeps, list) else [sweeps]
    if not all(isinstance(part, Mapping) for part in parts):
        raise ConfigError(f"{path}: sweep holds no mapping of keys to values to try")
    found = []
    for changes in [each for part in parts for each in product(part)]:
        if COOKIECUTTER in base:
            changed = changed_everywhere(base, changes)
            config = experiment_file.translate(changed, path).config
        else:
            preset = {PRESET: changes[PRESET]} if PRESET in changes else {}
            own = experiment_file.translate(base | preset, path).config
            config = changed_config(own, changes)
        found.append((changes, config))
    return found


def changed_config(config: ClusteringConfig, changes: Changes) -> ClusteringConfig:
    """Change a configuration: a key of its own, else every one that ends so.

    Raises:
        ConfigError: There is no such key, or the value does not fit.
    """
    values = to_dict(config)
    for key, value in changes.items():
        if key == PRESET:
            continue
        for full in _resolved(key):
            *path, last = full.split(".")
            _walk(values, path)[last] = value
    return from_dict(ClusteringConfig, values)


def changed_everywhere(values: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Change nested mappings: a dotted key by its path, a bare one wherever it is.

    A bare key that is nowhere changes nothing, because the experiments that people have
    set keys of other networks.

    Raises:
        ConfigError: There is no such path.

    >>> changed_everywhere({"a": {"n": 1}, "b": {"n": 1}}, {"n": 2, "a.m": 3})
    {'a': {'n': 2, 'm': 3}, 'b': {'n': 2}}
    """
    changed = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *path, last = key.split(".")
        if path:
            _walk(changed, path)[last] = value
        else:
            _put(changed, key, value)
    return changed


def _walk(values: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The mapping at a path."""
    for number, name in enumerate(path, 1):
        inner = values.get(name)
        if not isinstance(inner, dict):
            place = ".".join(path[:number])
            raise ConfigError(f"sweep: there is no section {place!r} in the experiment")
        values = inner
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set every key of a name."""
    for each in values.values():
        if isinstance(each, dict):
            _put(each, key, value)
    if key in values:
        values[key] = value


def _resolved(key: str) -> list[str]:
    """Keys of the configuration that a key means."""
    known = list(key_types(ClusteringConfig))
    same = [full for full in known if full.rpartition(".")[2] == key]
    if key not in known and not same:
        raise ConfigError(unknown_key(key, known))
    return [key] if key in known else same


def _is_list(key: str) -> bool:
    """Whether the value of a key is a list itself."""
    if key == PRESET:
        return False
    kinds = key_types(ClusteringConfig)
    return any("tuple" in str(kinds[full]) for full in _resolved(key))


def _tied(keys: str, values: str) -> Changes:
    names, parts = keys.split(","), values.split(",")
    if len(names) != len(parts):
        raise ConfigError(
            f"{keys}={values}: {len(names)} keys and {len(parts)} values; expected one "
            "for each, as in lr,batch_size=1e-3,8;2e-4,16"
        )
    return dict(zip(names, parts, strict=True))
