"""What is known of a corpus, kept as JSON; and the pickle that the original kept.

A manifest holds the lists of songs with the size and time of every file and the time of
every folder, so that it is used again only while nothing has changed. A pickle is code:
one that the original wrote is read only if it holds nothing but lists of samples.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import common
from adversarial.config import AdversarialConfig
from adversarial.lists import Lists
from common import files
from common.config import ConfigError
from common.corpora import reading, waveforms
from common.corpora.track import Channel, Sound, Sum, Track
from common.files import user_path, write_json

SCHEMA = 1
FILE = "manifest.json"
Stamps = list[list[Any]]
"""Path, size in bytes and time in ns of each file."""


class Sample:
    """A sound as the original kept it: with a path, and whatever else it had."""


def place(config: AdversarialConfig) -> Path:
    """Tell where the manifest of a configuration is kept."""
    if config.corpora.records is not None:
        return user_path(config.corpora.records) / FILE
    text = json.dumps(_settings(config), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return files.cache_folder("adversarial", f"manifest-{digest}.json")


def save(found: Lists, config: AdversarialConfig, path: Path) -> None:
    """Write the lists of a run, whole or not at all.

    Args:
        found: The lists; their sounds lie in files.
        config: What they were made by.
        path: The file; its folder is made.
    """
    every = [track for tracks in found for track in tracks]
    files = list(dict.fromkeys(file for track in every for file in _files(track)))
    numbers = {file: number for number, file in enumerate(files)}
    values = {
        "schema": SCHEMA,
        "settings": _settings(config),
        "files": _stamps(files),
        "folders": [
            [str(each), each.stat().st_mtime_ns] for each in _around(files, config)
        ],
        "lists": {
            name: [_track(track, numbers) for track in tracks]
            for name, tracks in zip(found._fields, found, strict=True)
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(values, path)


def load(config: AdversarialConfig, path: Path) -> Lists | None:
    """Read the lists of a run again.

    Args:
        config: What they must have been made by.
        path: The file.

    Returns:
        The lists; None where there is no manifest, or it is of another version,
        another configuration, or of files that have changed since.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        same = values["schema"] == SCHEMA and values["settings"] == _settings(config)
        if not same or not _unchanged(values):
            return None
        files = [Path(name) for name, *_ in values["files"]]
        return Lists(
            *(
                [_read_track(each, files) for each in values["lists"][name]]
                for name in Lists._fields
            )
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def read_pickle(path: Path) -> Mapping[str, Any]:
    """Read the dictionary of lists that the original keeps as ``dataset.pkl``.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, or it holds more than samples, numbers, texts
            and lists of such.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file).load()
    except ConfigError:
        raise
    # Whatever bytes these are, a pickle of them may fail in any way.
    except Exception as error:
        raise ConfigError(
            f"{path} cannot be read as a pickle ({error!r}); expected the dataset.pkl "
            "that the original program wrote"
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path} holds {type(found).__name__}; expected the dictionary of lists "
            "that the original program wrote"
        )
    return found


class _Unpickler(pickle.Unpickler):
    """Reads samples and plain containers, and refuses all else by name."""

    def __init__(self, file: IO[bytes]) -> None:
        # Texts of Python 2 are bytes; those of paths come back as they were.
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.name = file.name

    def find_class(self, module: str, name: str) -> Any:
        """Give the few classes that are allowed."""
        if name == "Sample" and module.rpartition(".")[2] in ("Sample", "__main__"):
            return Sample
        # So Python 2 writes objects of every class.
        if (module, name) in (
            ("copy_reg", "_reconstructor"),
            ("copyreg", "_reconstructor"),
        ):
            return _reconstruct
        if (module, name) in (("__builtin__", "object"), ("builtins", "object")):
            return object
        raise ConfigError(
            f"{self.name} names {module}.{name}, which is not read because a pickle "
            "runs the code that it names; expected lists of the original's Sample; "
            "give a function with corpora.function=package.module:name instead"
        )


def _reconstruct(kind: type, base: type, state: None) -> Sample:
    if kind is not Sample or base is not object or state is not None:
        raise ValueError("an object that is no sample")
    return Sample()


def _settings(config: AdversarialConfig) -> dict[str, Any]:
    """All that decides which songs there are."""
    rate = config.model_config.expected_sr
    version = common.__version__
    # Through JSON, so that what is compared is what was read.
    values = {**asdict(config.corpora), "sample_rate": rate, "version": version}
    # How songs are stored does not decide which there are.
    del values["records_encoding"]
    return json.loads(json.dumps(values))


def _files(track: Track) -> Iterable[Path]:
    sounds = [*track.sources.values()]
    sounds += [track.mixture] if track.mixture is not None else []
    for sound in sounds:
        yield from waveforms.files(sound)


def _stamps(files: Iterable[Path]) -> Stamps:
    return [[str(f), (s := f.stat()).st_size, s.st_mtime_ns] for f in files]


def _around(files: Iterable[Path], config: AdversarialConfig) -> list[Path]:
    """Folders whose time tells that a song was added."""
    named = (config.corpora.root, config.corpora.unpaired_root)
    roots = [user_path(each) for each in named if each is not None]
    folders = {each for root in roots for each in (root, *reading.subfolders(root))}
    for file in files:
        folders.update(file.parents[:2])
        above = [each for each in file.parents if any(r in each.parents for r in roots)]
        folders.update(above)
    return sorted(folders)


def _unchanged(values: Mapping[str, Any]) -> bool:
    files = [Path(name) for name, *_ in values["files"]]
    folders = [[name, Path(name).stat().st_mtime_ns] for name, _ in values["folders"]]
    return _stamps(files) == values["files"] and folders == values["folders"]


def _track(track: Track, numbers: Mapping[Path, int]) -> dict[str, Any]:
    sources = {name: _sound(each, numbers) for name, each in track.sources.items()}
    mixture = None if track.mixture is None else _sound(track.mixture, numbers)
    plain = {"name": track.name, "sample_rate": track.sample_rate}
    return {**plain, "samples": track.samples, "sources": sources, "mixture": mixture}


def _sound(sound: Sound, numbers: Mapping[Path, int]) -> Any:
    """A file as its number, a sum as a list, a channel as a dictionary."""
    if isinstance(sound, Sum):
        return [_sound(part, numbers) for part in sound.parts]
    if isinstance(sound, Channel):
        return {"file": numbers[sound.file], "channel": sound.channel}
    if isinstance(sound, Path):
        return numbers[sound]
    raise TypeError("an array has no file that a manifest could name")


def _read_track(values: Mapping[str, Any], files: list[Path]) -> Track:
    sources = {name: _read_sound(s, files) for name, s in values["sources"].items()}
    mixture = values["mixture"]
    return Track(
        values["name"],
        values["sample_rate"],
        values["samples"],
        sources,
        None if mixture is None else _read_sound(mixture, files),
    )


def _read_sound(value: Any, files: list[Path]) -> Any:
    if isinstance(value, list):
        return Sum(tuple(_read_sound(part, files) for part in value))
    if isinstance(value, dict):
        return Channel(files[value["file"]], value["channel"])
    return files[value]
