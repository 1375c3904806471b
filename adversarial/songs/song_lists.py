"""Songs by their part in a training, and the original's dictionary of such lists.

``corpora.function`` names a function that returns the dictionary; it takes the place of
the corpora.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.config import ConfigError
from common.corpora import reading, sound_files
from common.corpora.track import Track

ACCOMPANIMENT, VOCALS, MIXTURE = "accompaniment", "vocals", "mixture"
KEYS = {
    "paired": ("train_sup",),
    "unpaired": ("train_unsup",),
    "valid": ("valid", "train_valid"),
    "test": ("test", "train_test"),
}
"""Keys of the original's dictionary: those of its program, then those of its README."""


class SongLists(NamedTuple):
    """Songs by their part in the training.

    Attributes:
        paired: Songs with their mixture and sources.
        mixtures: Songs whose mixture is used, without its sources.
        accompaniments: Songs whose accompaniment is used.
        vocals: Songs whose vocals are used.
        valid: Paired songs of the validation.
        test: Paired songs of the test.
    """

    paired: list[Track]
    mixtures: list[Track]
    accompaniments: list[Track]
    vocals: list[Track]
    valid: list[Track]
    test: list[Track]


def from_function(function: str) -> SongLists:
    """Read the dictionary of lists that the original documents, of a user's function.

    ``train_sup`` and ``valid`` and ``test`` (or ``train_valid`` and ``train_test``) are
    lists of mixture, accompaniment and vocals; ``train_unsup`` is a list of mixtures,
    one of accompaniments and one of vocals. Each sound is a path, which may be relative
    to the current folder, an object with a ``path``, or a number of seconds, which
    stands for silence.

    Args:
        function: Import path of the function, ``package.module:name``.

    Raises:
        ConfigError: It cannot be imported, or a key is missing, or a value has another
            type.
        CorpusError: A file is missing.
    """
    lists, folder = _call(function), Path.cwd()
    paired, valid, test = (
        _triples(_value(lists, names, function), f"{function}, {names[0]}", folder)
        for names in (KEYS["paired"], KEYS["valid"], KEYS["test"])
    )
    unpaired: Any = lists.get("train_unsup") or ([], [], [])
    if not isinstance(unpaired, list | tuple) or len(unpaired) != 3:
        raise ConfigError(
            f"{function}: train_unsup is no list of three lists; expected mixtures, "
            "accompaniments, vocals"
        )
    mixtures, accompaniments, vocals = (
        _singles(items, role, f"{function}, train_unsup", folder)
        for items, role in zip(unpaired, (MIXTURE, ACCOMPANIMENT, VOCALS), strict=True)
    )
    return SongLists(paired, mixtures, accompaniments, vocals, valid, test)


def _call(function: str) -> Mapping[str, Any]:
    """Import a function by its path and return its dictionary."""
    module, _, name = function.partition(":")
    # The installed command, unlike python -m, does not search the current folder.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"corpora.function={function!r} cannot be imported ({error}); expected "
            "package.module:name of a function, in the current folder or installed"
        ) from error
    lists = target() if callable(target) else target
    if not isinstance(lists, Mapping):
        raise ConfigError(
            f"corpora.function={function!r} gives {type(lists).__name__}; expected a "
            f"dictionary with the keys {_documented_keys()}"
        )
    return lists


def _value(lists: Mapping[str, Any], keys: Sequence[str], origin: str) -> Any:
    for key in keys:
        if key in lists:
            return lists[key]
    raise ConfigError(
        f"{origin} has no {' or '.join(keys)}; expected the keys {_documented_keys()}, "
        f"it has {', '.join(map(str, lists)) or 'none'}"
    )


def _documented_keys() -> str:
    return ", ".join(names[-1] for names in KEYS.values())


def _triples(items: Any, origin: str, folder: Path) -> list[Track]:
    rows: list[tuple[str, dict[str, Path], Path]] = []
    for number, item in enumerate(_iterable(items, origin)):
        if not isinstance(item, list | tuple) or len(item) != 3:
            raise ConfigError(
                f"{origin}: entry {number} is {item!r}; expected mixture, "
                "accompaniment and vocals"
            )
        mix, *sources = (_path(sound, origin, folder) for sound in item)
        if mix is None:
            raise ConfigError(
                f"{origin}: the mixture of entry {number} is a number of seconds; "
                "expected a file, because only sources may be silent"
            )
        named = zip((ACCOMPANIMENT, VOCALS), sources, strict=True)
        present = {name: file for name, file in named if file is not None}
        rows.append((_unique_name(number, mix), present, mix))
    return reading.make_tracks(rows, allow_cut=True)  # checked later


def _iterable(items: Any, origin: str) -> Iterable[Any]:
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise ConfigError(f"{origin} holds {items!r}; expected a list of sounds")
    return items


def _singles(items: Any, role: str, origin: str, folder: Path) -> list[Track]:
    paths = [_path(item, origin, folder) for item in _iterable(items, origin)]
    # Silence as a real example would teach a critic silence.
    named = [
        (f"{role} {_unique_name(number, path)}", path)
        for number, path in enumerate(paths)
        if path is not None
    ]
    if role == MIXTURE:
        return reading.make_tracks((name, {}, path) for name, path in named)
    return reading.make_tracks((name, {role: path}, None) for name, path in named)


def _path(item: object, origin: str, folder: Path) -> Path | None:
    """Return the file of a sound, or None for silence."""
    if isinstance(item, int | float) and not isinstance(item, bool):
        return None
    path = getattr(item, "path", item)
    if not isinstance(path, str | Path):
        raise ConfigError(
            f"{origin}: {item!r} is no path, no object with a path and no number of "
            "seconds"
        )
    return sound_files.listed(str(path), folder)


def _unique_name(number: int, path: Path) -> str:
    # Files of different songs may have one name, as may their folders.
    return f"{number:04d} {path.parent.name}/{path.stem}"
