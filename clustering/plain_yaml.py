"""YAML of plain values and tuples, which makes no object and runs nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from common.config import ConfigError

PYTHON = "tag:yaml.org,2002:python/"
VARIABLE = re.compile(r"\$\{(\w+)\}")


class PlainLoader(yaml.SafeLoader):
    """Loader that knows ``!!python/tuple`` and refuses every other tag of Python."""

    def tuple_of(self, node: Any) -> tuple[Any, ...]:
        """Make a tuple of a sequence."""
        return tuple(self.construct_sequence(node, deep=True))

    def refuse(self, suffix: str, node: Any) -> None:
        """Say which tag stands where."""
        raise ConfigError(
            f"{self.name}, line {node.start_mark.line + 1}: the tag !!python/{suffix} "
            "would make an object of Python; only !!python/tuple is read"
        )

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Make a dictionary, whose keys must differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise ConfigError(
                    f"{self.name}, line {key.start_mark.line + 1}: the key {name!r} "
                    "stands twice in one mapping; expected once"
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


PlainLoader.add_constructor(f"{PYTHON}tuple", PlainLoader.tuple_of)
PlainLoader.add_multi_constructor(PYTHON, PlainLoader.refuse)


def read(path: str | Path) -> dict[str, Any]:
    """Read a file that maps keys to values.

    Args:
        path: The file.

    Returns:
        What stands in it; ``${NAME}`` is left as it is, see :func:`expand`.

    Raises:
        ConfigError: It cannot be read, is no YAML, names a tag of Python other than
            ``!!python/tuple``, or is no mapping.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            # The class is that of SafeLoader with tuples.
            values = yaml.load(file, PlainLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{path} cannot be read ({problem}); expected YAML that maps keys to values"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(
            f"{path} holds no mapping of names to values; expected sections such as "
            "'train_config:', or keys such as 'lr: 0.001'"
        )
    return values


def expand(value: Any, where: str) -> Any:
    """Replace ``${NAME}`` in texts by the variables of the environment.

    Args:
        value: A value, or mappings and lists of values.
        where: Its place, for the error sentence.

    Raises:
        ConfigError: A variable is not set.

    >>> os.environ["SPOT"] = "/data"
    >>> expand({"folder": ["${SPOT}/test", 3]}, "datasets")
    {'folder': ['/data/test', 3]}
    """
    if isinstance(value, Mapping):
        return {key: expand(each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(expand(each, where) for each in value)
    if not isinstance(value, str):
        return value
    for name in VARIABLE.findall(value):
        if name not in os.environ:
            raise ConfigError(
                f"{where} is {value!r} and the environment has no {name}; set it: "
                f"export {name}=..."
            )
    return VARIABLE.sub(lambda found: os.environ[found[1]], value)
