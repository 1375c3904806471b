"""Read command lines of trainings into checked configurations; record runs by Sacred.

Two spellings are equivalent: Sacred's ``with umxhq target=vocals lr=5e-4`` and classic
flags, ``--preset umxhq --target vocals --lr 5e-4``; they may be mixed. Sacred only
warns of wrong types, so every value passes through :mod:`common.config` first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

from common.config import (
    Config,
    ConfigError,
    aliases,
    describe,
    from_dict,
    key_types,
    override,
    read_values,
    renamed,
    to_dict,
    unknown_key,
)
from common.errors import exit_code
from common.training import run_folder
from common.training.cluster import is_chief

COLOUR = re.compile(r"\x1b\[\d+m")


@dataclasses.dataclass(frozen=True)
class Vocabulary(Generic[Config]):
    """The presets, keys and flags that a command line may use.

    Attributes:
        name: Program name, such as ``"mixit.train"``.
        presets: Complete configuration by name.
        default: Preset used when the command line names none.
        aliases: Further flags, such as ``{"--data_dir": "data_root"}``.
    """

    name: str
    presets: Mapping[str, Config]
    default: str
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Command(Vocabulary[Config]):
    """The command line of a training.

    Attributes:
        main: Called with the configuration and whether only to check; returns the
            exit code.
        folder: Returns the run folder of a configuration that names no ``output``;
            by default named by package, preset and date.
        without_corpus: Returns the error of a configuration that names no corpus, else
            None; only presets whose names begin with ``tiny`` train without one.
    """

    main: Callable[[Config, bool], int]
    folder: Callable[[Config], str | None] = lambda config: None
    without_corpus: Callable[[Config], str | None] = lambda config: None


@dataclasses.dataclass
class Request:
    """The words of a command line, before any value is checked.

    Attributes:
        preset: Name of the preset, None where there is none.
        updates: Values by dotted key; later words replace those of earlier ones.
        check: Whether it asks for a dry run.
        show: Whether it asks for the configuration.
        usage: Whether it asks for help.
        layers: The same values as they are written: those of a file apart from those
            on the command line before and after it, because one of them may have two
            names for a key, with the same value, but not for two values.
    """

    preset: str | None = None
    updates: dict[str, Any] = dataclasses.field(default_factory=dict)
    check: bool = False
    show: bool = False
    usage: bool = False
    layers: list[dict[str, Any]] = dataclasses.field(default_factory=lambda: [{}])


def run(command: Command[Any], argv: Sequence[str] | None = None) -> int:
    """Read a command line, record the run with Sacred and call the command's main.

    Returns:
        The exit code: 0 on success, 1 after bad input.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    return exit_code(command.name, lambda: _run(command, arguments))


def configure(command: Command[Config], request: Request) -> Config:
    """Apply a request's overrides to its preset.

    Raises:
        ConfigError: A key is unknown or a value has the wrong type.
    """
    preset = command.presets[request.preset or command.default]
    return override(preset, request.updates)


def parse(command: Vocabulary[Any], arguments: Sequence[str]) -> Request:
    """Read both spellings of a command line.

    Raises:
        ConfigError: A word is not a preset, key, flag or configuration file.
    """
    request = Request()
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            request.usage = True
        elif word == "--check":
            request.check = True
        elif word == "print_config":
            request.show = True
        elif word.startswith("-"):
            _flag(command, request, word, words)
        elif "=" in word:
            key, _, value = word.partition("=")
            request.layers[-1][_key(command, key)] = value
        elif word != "with":
            _word(command, request, word)
    base = command.presets[request.preset or command.default]
    for layer in request.layers:
        current = override(base, request.updates)
        request.updates |= renamed(type(base), layer, current)
    return request


def take_option(
    arguments: Sequence[str], name: str, expected: str
) -> tuple[str | None, list[str]]:
    """Remove an option that is not a key of a configuration from a command line.

    Args:
        arguments: The command line.
        name: The option, such as ``"--hosts"``.
        expected: Its value in words, for the error, such as ``"one file"``.

    Returns:
        Its value, None without the option, and the other arguments.

    Raises:
        ConfigError: It has no value, or occurs twice.

    >>> take_option(["with", "tiny", "--hosts=a.txt"], "--hosts", "one file")
    ('a.txt', ['with', 'tiny'])
    """
    values: list[str | None] = []
    others: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == name:
            has_value = words and not words[0].startswith("--")
            values.append(words.pop(0) if has_value else None)
        elif word.startswith(f"{name}="):
            values.append(word.partition("=")[2])
        else:
            others.append(word)
    if len(values) > 1 or not all(values):
        raise ConfigError(f"{name}: expected {expected} after it, and {name} once")
    return (values[0] if values else None), others


def is_file(word: str) -> bool:
    """Return whether a word of a command line names a configuration file.

    >>> is_file("mine.yml"), is_file("lr=1"), is_file("umx")
    (True, False, False)
    """
    return "=" not in word and Path(word).suffix in (".yml", ".yaml", ".json")


def _run(command: Command[Any], arguments: Sequence[str]) -> int:
    request = parse(command, arguments)
    if request.usage:
        sys.stdout.write(usage(command))
        return 0
    config = configure(command, request)
    preset = request.preset or command.default
    experiment = _sacred(command, preset)
    if request.show:
        _show(experiment, config)
        return 0
    lacking = command.without_corpus(config)
    if lacking and not preset.startswith("tiny"):
        raise ConfigError(lacking)
    if request.check:
        return command.main(config, True)
    pillar = command.name.partition(".")[0]
    asked = getattr(config, "output", None) or command.folder(config)
    output = run_folder.name(asked, pillar, preset)
    return _recorded(command, experiment, override(config, {"output": output}))


def _show(experiment: Any, config: Any) -> None:
    """Print the configuration, with Sacred's colours only on a terminal."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        experiment.run("print_config", config_updates=_updates(config))
    shown = text.getvalue()
    sys.stdout.write(shown if sys.stdout.isatty() else COLOUR.sub("", shown))


def _recorded(command: Command[Config], experiment: Any, config: Config) -> int:
    """Run main with a record of Sacred in the run folder."""
    from sacred.observers import FileStorageObserver

    def main(_config: Mapping[str, Any]) -> int:
        values = {key: value for key, value in _config.items() if key in own}
        return command.main(from_dict(type(config), values), False)

    own = to_dict(config)
    folder = Path(own["output"])
    with contextlib.ExitStack() as stack:
        if is_chief():
            stack.enter_context(run_folder.alone(folder))
            run_folder.prepare(folder, config)
            experiment.observers.append(FileStorageObserver(str(folder / "sacred")))
        experiment.main(main)
        return int(experiment.run(config_updates=_updates(config)).result)


def _updates(config: Any) -> dict[str, Any]:
    """Return the values for Sacred, whose own seed is otherwise a random number."""
    values = to_dict(config)
    return values | {"seed": values["train"]["seed"]} if "train" in values else values


def _sacred(command: Command[Any], preset: str) -> Any:
    """Build the Sacred experiment: the presets are its named configurations."""
    from sacred import SETTINGS, Experiment

    # Sacred's capture loses printed lines in short runs: the run keeps its own logs.
    SETTINGS.CAPTURE_MODE = "no"
    experiment = Experiment(command.name, interactive=True, save_git_info=False)
    logger = logging.getLogger(f"sacred.{command.name}")
    logger.setLevel(logging.CRITICAL)  # the command prints better messages itself
    experiment.logger = logger  # type: ignore[assignment]
    experiment.add_config(to_dict(command.presets[preset]))  # type: ignore[no-untyped-call]
    for name, values in command.presets.items():
        experiment.add_named_config(name, to_dict(values))  # type: ignore[no-untyped-call]
    return experiment


def _word(command: Vocabulary[Any], request: Request, word: str) -> None:
    if word in command.presets:
        if request.preset not in (None, word):
            raise ConfigError(
                f"two presets, {request.preset!r} and {word!r}; name one and override "
                "single keys with key=value"
            )
        request.preset = word
    elif is_file(word):
        request.layers += [read_values(word), {}]
    else:
        names = ", ".join(command.presets)
        raise ConfigError(
            f"{word!r} is neither a preset ({names}), nor key=value, nor a .yml or "
            ".json file; several values of a key are separated by commas, key=a,b"
        )


def _flag(
    command: Vocabulary[Any], request: Request, word: str, rest: list[str]
) -> None:
    """Read one classic flag, with its value if it takes one."""
    name, equals, value = word.partition("=")
    if name in ("--preset", "--config"):
        _word(command, request, value if equals else _next(rest, name))
        return
    key = command.aliases.get(name) or name.lstrip("-").replace("-", "_")
    values, types = request.layers[-1], _types(command)
    if key.startswith("no_") and _is_switch(types.get(key[3:])) and not equals:
        values[key[3:]] = False
        return
    key = _key(command, key, word)
    if equals:
        values[key] = value
    elif _is_switch(types[key]) and not _is_truth(rest):
        values[key] = True
    elif _is_list(types[key]):
        values[key] = _several(command, rest, name)
    else:
        values[key] = _next(rest, name)


def _types(command: Vocabulary[Any]) -> dict[str, Any]:
    """Map each key, and each other name of one, to the type of its value."""
    cls = type(command.presets[command.default])
    types = key_types(cls)
    return types | {old: types[new] for old, new in aliases(cls).items()}


def _is_switch(annotation: object) -> bool:
    """Whether the values of a key are true and false, and none at most."""
    return annotation is bool or bool in typing.get_args(annotation)


def _is_list(annotation: object) -> bool:
    types = (annotation, *typing.get_args(annotation))
    return any(typing.get_origin(option) is tuple for option in types)


def _several(command: Vocabulary[Any], rest: list[str], name: str) -> str | list[str]:
    """Take the words up to the next flag, key or preset."""
    words = [_next(rest, name)]
    while rest and not (
        rest[0].startswith("-")
        or "=" in rest[0]
        or rest[0] in ("with", "print_config", *command.presets)
    ):
        words.append(rest.pop(0))
    return words if len(words) > 1 else words[0]


def _is_truth(rest: Sequence[str]) -> bool:
    return bool(rest) and rest[0].lower() in ("true", "false")


def _next(rest: list[str], name: str) -> str:
    if not rest or rest[0].startswith("--"):
        after = f", not {rest[0]}" if rest else ""
        raise ConfigError(f"{name} needs a value after it{after}")
    return rest.pop(0)


def _key(command: Vocabulary[Any], key: str, shown: str | None = None) -> str:
    """Find a key by its dotted name or, if it is unique, by its last part."""
    names = list(_types(command))
    if key in names:
        return key
    same = [name for name in names if name.rpartition(".")[2] == key]
    if len(same) == 1:
        return same[0]
    if len(same) > 1:
        raise ConfigError(f"key {shown or key!r} could be {' or '.join(same)}")
    raise ConfigError(unknown_key(shown or key, names, in_help=True))


def usage(command: Command[Any]) -> str:
    """List presets, options and every key with its default and type."""
    config = command.presets[command.default]
    package = command.name.partition(".")[0]
    lines = [
        f"usage: python -m {command.name} [--check] [with] [PRESET] [FILE.yml]"
        " [key=value | --key value]...",
        "",
        "  --check       build, train two steps, save, restore, compare, then stop",
        "  print_config  show the configuration and stop",
        "",
        f"presets: {', '.join(command.presets)} (default: {command.default})",
        "",
        f"keys, described in {package}/config.py, with the values of "
        f"{command.default}:",
    ]
    others: dict[str, list[str]] = {}
    for old, key in aliases(type(config)).items():
        others.setdefault(key, []).append(old)
    for key, annotation in key_types(type(config)).items():
        text = f"  {key}={_value(config, key)!r}: {describe(annotation)}"
        also = f" (also: {', '.join(others[key])})" if key in others else ""
        lines.append(text + also)
    return "\n".join(lines) + "\n"


def _value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config
