"""Configuration: frozen dataclasses, complete presets, typed overrides.

A configuration is a frozen dataclass whose fields are numbers, strings, booleans,
tuples, ``Literal`` choices, ``None`` where allowed, or further such dataclasses.
Command lines, YAML files and saved runs are all converted to such a dataclass here, and
a value that does not fit is an error that names the key.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from common.errors import sentence
from common.files import write_json


class Dataclass(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Config = TypeVar("Config", bound=Dataclass)

FORMAT = 4
"""Number of the format of saved configurations; files without one have 1.

It rises when a key is renamed or removed. The class that had the key then names it in
``RENAMED``, a mapping from the old dotted key to the new one, or to None where the key
was removed. Keys are relative to that class. Keys that a saved configuration does not
have keep their defaults.

Command lines and configuration files may use the names in ``RENAMED`` for those of
today. ``RENAMED`` may also hold the name that the original or another package has for
the same thing.

Old keys whose values have to be converted stand in ``CONVERTED`` of the outer class,
mapped to the keys that replace them. Its static function ``converted`` takes values by
dotted key, some of them of old keys, and the configuration that they change; it returns
the values by the keys of today.

Removed choices of a key are in ``REMOVED_CHOICES``, a mapping from the key to a mapping
from the old choice to an equivalent one for separation. Such a run still separates, but
its training cannot continue.
"""

FORMAT_KEY = "format"

MOST_VALUES = 100_000
"""Values in a file that somebody wrote."""
MOST_LISTED = 20
"""Names that fit into a sentence."""


class ConfigError(ValueError):
    """A key that does not exist, or a value of the wrong type."""


def to_dict(config: Dataclass) -> dict[str, Any]:
    """Turn a configuration into plain nested dictionaries and lists, ready for JSON.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Small:
    ...     widths: tuple[int, ...] = (1, 2)
    >>> to_dict(Small())
    {'widths': [1, 2]}
    """
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items()}


def from_dict(cls: type[Config], values: Mapping[str, Any], where: str = "") -> Config:
    """Build a configuration from plain values and check every one of them.

    Args:
        cls: The dataclass to build.
        values: Value by field name; fields left out keep their defaults.
        where: Dotted name of the section with these values, for the message.

    Returns:
        The configuration, with texts turned into the types of their fields.

    Raises:
        ConfigError: A key is unknown or a value has the wrong type.
    """
    types_ = typing.get_type_hints(cls)
    unknown = [key for key in values if key not in types_]
    if unknown:
        raise ConfigError(unknown_key(where + unknown[0], keys(cls, where)))
    return cls(**{k: _typed(types_[k], v, where + k) for k, v in values.items()})


def override(config: Config, updates: Mapping[str, Any]) -> Config:
    """Replace fields by dotted key, with the same checks as :func:`from_dict`.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Small:
    ...     lr: float = 0.1
    >>> override(Small(), {"lr": "5e-4"})
    Small(lr=0.0005)
    """
    return _override(config, updates, "")


def keys(cls: type[Dataclass], where: str = "") -> list[str]:
    """List the dotted keys of a configuration class.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Small:
    ...     lr: float = 0.1
    >>> keys(Small)
    ['lr']
    """
    return [key for key, _ in _leaves(cls, where)]


def key_types(cls: type[Dataclass]) -> dict[str, Any]:
    """Map every dotted key of a configuration class to the type of its value."""
    return dict(_leaves(cls, ""))


def read_values(path: str | Path) -> dict[str, Any]:
    """Read overrides from a YAML or JSON file as a flat mapping of dotted keys.

    Raises:
        ConfigError: The file is missing, or is not a mapping of keys to values.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        refuse_endless(values)
    except OSError as error:
        raise ConfigError(f"configuration file {sentence(error)}") from error
    # What a constructor of YAML meets in a value of a wrong tag.
    except Exception as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"configuration file {path} cannot be read ({problem}); expected YAML or "
            "JSON that maps keys to values"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"configuration file {path} holds a {type(values).__name__}; expected a "
            "mapping of keys to values, such as 'lr: 0.001'"
        )
    values.pop(FORMAT_KEY, None)
    return flatten(values)


def refuse_endless(values: object) -> None:
    """Refuse values that hold themselves, or one another so often that none ends.

    An alias of YAML stands for any number of values in a few bytes.

    Raises:
        ConfigError: There are too many values.

    >>> refuse_endless({"layers": [1, 2]})
    """
    waiting, count = [values], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise ConfigError(
                f"it holds more than {MOST_VALUES} values; write out what its aliases "
                "(*name) stand for"
            )
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value


def flatten(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Turn nested mappings into one mapping with dotted keys.

    >>> flatten({"model": {"layers": 3}, "lr": 0.1})
    {'model.layers': 3, 'lr': 0.1}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{where}{key}."))
        else:
            flat[f"{where}{key}"] = value
    return flat


def save(config: Dataclass, path: str | Path) -> None:
    """Write a configuration as JSON; the file is whole or absent."""
    write_json({FORMAT_KEY: FORMAT, **to_dict(config)}, path)


def load(cls: type[Config], path: str | Path) -> Config:
    """Read a configuration that :func:`save` wrote, in this release or an earlier one.

    Removed choices are replaced, see :data:`FORMAT`.

    Raises:
        ConfigError: The file is missing or broken, does not fit ``cls``, or was saved
            by a later release.
    """
    values, removed = _saved(cls, path)
    known = keys(cls)
    groups = {where.removesuffix(".") for where, _ in _groups(cls)}
    unknown = sorted(values.keys() - {*known, *groups})
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.7)
        raise ConfigError(
            f"{path} has the unknown key {unknown[0]!r}"
            f"{f' (did you mean {near[0]!r}?)' if near else ''}; expected a "
            f"configuration of {cls.__module__.partition('.')[0]} that this release or "
            "an earlier one saved"
        )
    try:
        return from_dict(cls, _nested({**values, **removed}))
    except ValueError as error:  # ConfigError, or that of a group of keys
        raise ConfigError(f"{path}: {error}") from error


def removed_choices(cls: type[Dataclass], path: str | Path) -> dict[str, Any]:
    """Return the choices of a saved configuration that were removed later, by key.

    Raises:
        ConfigError: The file is missing or broken, or was saved by a later release.
    """
    values, removed = _saved(cls, path)
    return {key: values[key] for key in removed}


def _saved(
    cls: type[Dataclass], path: str | Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the values of a file by current keys, with replacements of old choices."""
    try:
        values = dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not a readable configuration ({error}); expected the "
            "config.json of a run folder"
        ) from error
    number = values.pop(FORMAT_KEY, 1)
    if isinstance(number, str) and "package" in values:
        raise ConfigError(
            f"{Path(path).parent} is an export as {number}; python -m "
            f"{values['package']}.light separates with one as onnx, and this command "
            "needs the run or the model that was exported"
        )
    if not isinstance(number, int) or number > FORMAT:
        raise ConfigError(
            f"{path} has format {number}; this release reads up to {FORMAT}, so use "
            "the release that saved it, or a later one"
        )
    try:
        values = renamed(cls, flatten(values))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    table = {
        where + key: choices
        for where, group in _groups(cls)
        for key, choices in getattr(group, "REMOVED_CHOICES", {}).items()
    }
    removed = {
        key: choices[values[key]]
        for key, choices in table.items()
        if isinstance(values.get(key), str) and values[key] in choices
    }
    return values, removed


def aliases(cls: type[Dataclass]) -> dict[str, str]:
    """Map the other names of keys, of earlier releases or packages, to those of today.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Small:
    ...     RENAMED = {"rate": "lr", "tower": None}
    ...     lr: float = 0.1
    >>> aliases(Small)
    {'rate': 'lr'}
    """
    table = {old: new for old, new in _renamed(cls).items() if new is not None}
    return table | dict(getattr(cls, "CONVERTED", {}))


def renamed(
    cls: type[Config], values: Mapping[str, Any], base: Config | None = None
) -> dict[str, Any]:
    """Rename keys of an earlier release, and other aliases, to those of this one.

    Args:
        cls: The configuration class.
        values: Value by dotted key.
        base: Configuration that the values change; none: that of all defaults.

    Returns:
        Value by dotted key of ``cls``, without those of removed keys.

    Raises:
        ConfigError: A key has two values, one under each name.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Small:
    ...     RENAMED = {"rate": "lr", "tower": None}
    ...     lr: float = 0.1
    >>> renamed(Small, {"rate": 0.2, "tower": 3})
    {'lr': 0.2}
    """
    table, types_ = _renamed(cls), key_types(cls)
    new = {key: value for key, value in values.items() if key not in table}
    for old, value in values.items():
        key = table.get(old)
        if key is None:
            continue
        annotation, other = types_[key], new.setdefault(key, value)
        if _typed(annotation, value, old) != _typed(annotation, other, key):
            raise ConfigError(
                f"{old}={value!r} and {key}={other!r} are two values of one key; "
                f"expected {key} alone, of which {old} is another name"
            )
    convert = getattr(cls, "converted", None)
    return convert(new, base or cls()) if convert else new


def _renamed(cls: type[Dataclass]) -> dict[str, str | None]:
    """Map the names in ``RENAMED`` of a class and those within it to keys of today."""
    return {
        where + old: name and where + name
        for where, group in _groups(cls)
        for old, name in getattr(group, "RENAMED", {}).items()
    }


def _groups(cls: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted prefix and the class of a configuration and of its sections."""
    yield where, cls
    for name, annotation in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(annotation):
            yield from _groups(annotation, f"{where}{name}.")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Undo :func:`flatten`."""
    whole: dict[str, Any] = {}
    for key, value in values.items():
        *groups, name = key.split(".")
        inner = whole
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return whole


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _leaves(cls: Any, where: str) -> Iterator[tuple[str, Any]]:
    for name, annotation in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(annotation):
            yield from _leaves(annotation, f"{where}{name}.")
        else:
            yield where + name, annotation


def _override(config: Config, updates: Mapping[str, Any], where: str) -> Config:
    """Replace all fields at once, since one may be valid only beside another."""
    annotations = typing.get_type_hints(type(config))
    new: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, value in updates.items():
        head, _, rest = key.partition(".")
        is_group = dataclasses.is_dataclass(annotations.get(head))
        if head not in annotations or bool(rest) != is_group:
            raise ConfigError(unknown_key(where + key, keys(type(config), where)))
        if rest:
            groups.setdefault(head, {})[rest] = value
        else:
            new[head] = _typed(annotations[head], value, where + key)
    for head, values in groups.items():
        new[head] = _override(getattr(config, head), values, f"{where}{head}.")
    return dataclasses.replace(config, **new)


def _typed(annotation: Any, value: Any, key: str) -> Any:
    """Convert a value to an annotated type, or raise an error with the reason."""
    if dataclasses.is_dataclass(annotation) and isinstance(value, Mapping):
        return from_dict(typing.cast(type, annotation), value, f"{key}.")
    literal = _literal(value)
    candidates = _candidates(annotation)
    if literal is None and type(None) in candidates:
        return None
    for candidate in candidates:
        try:
            return _convert(candidate, value if _is_text(candidate, value) else literal)
        except (TypeError, ValueError, OverflowError):
            continue
    raise ConfigError(f"{key}={value!r}: expected {describe(annotation)}")


def _is_text(annotation: Any, value: object) -> bool:
    """Whether a value stays text, even if it looks like a number or ``none``."""
    choices = (
        typing.get_args(annotation)
        if typing.get_origin(annotation) is typing.Literal
        else ()
    )
    return annotation is str or (isinstance(value, str) and value in choices)


def _literal(value: Any) -> Any:
    """Read a text from the command line as a Python literal if it is one."""
    if not isinstance(value, str):
        return value
    words: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
    if value.lower() in words:
        return words[value.lower()]
    try:
        return ast.literal_eval(value)
    # The parser gives up on a text of thousands of brackets or signs by the latter two.
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return value


def _candidates(annotation: Any) -> tuple[Any, ...]:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _convert(annotation: Any, value: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return _choice(typing.get_args(annotation), value)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        items = [items] if isinstance(items, int | float) else items
        parts = typing.get_args(annotation)
        if Ellipsis not in parts:
            pairs = zip(parts, items, strict=True)
            return tuple(_convert(part, _literal(text)) for part, text in pairs)
        item = parts[0]
        return tuple(_convert(item, i if item is str else _literal(i)) for i in items)
    if isinstance(value, bool) and annotation is not bool:
        raise TypeError
    if annotation is float and isinstance(value, int | float):
        if math.isnan(value):
            raise ValueError
        return float(value)
    if annotation is str and isinstance(value, str | Path | int | float):
        return str(value)
    if annotation in (int, bool) and type(value) is annotation:
        return value
    raise TypeError


def _choice(choices: tuple[Any, ...], value: Any) -> Any:
    if value in choices and not isinstance(value, bool):
        return value
    raise ValueError


def unknown_key(key: str, names: Sequence[str], *, in_help: bool = False) -> str:
    """Return the message for an unknown key, with the most similar one.

    Args:
        key: The key.
        names: All that are known.
        in_help: Whether ``--help`` of the command lists them.

    >>> unknown_key("lrr", ["lr", "epochs"])
    "unknown configuration key 'lrr'; did you mean 'lr'?"
    """
    near = difflib.get_close_matches(key.lstrip("-"), names, n=1, cutoff=0.5)
    hint = f"known: {', '.join(names)}"
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif in_help and len(names) > MOST_LISTED:
        hint = f"--help lists the {len(names)} known ones"
    return f"unknown configuration key {key!r}; {hint}"


def describe(annotation: Any) -> str:
    """Describe in words the values of a field of this type.

    >>> describe(int | None)
    'a whole number or none'
    """
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a string",
        type(None): "none",
    }
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(repr(c) for c in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple and Ellipsis not in typing.get_args(
        annotation
    ):
        parts = [describe(part) for part in typing.get_args(annotation)]
        return f"a list of {len(parts)}: {', '.join(parts)}"
    if typing.get_origin(annotation) is tuple:
        return f"a list, each item {describe(typing.get_args(annotation)[0])}"
    if len(_candidates(annotation)) > 1:
        return " or ".join(describe(c) for c in _candidates(annotation))
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))
