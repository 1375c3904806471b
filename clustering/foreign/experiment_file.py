"""Read experiment files in YAML: of cookiecutter-nussl, or with plain keys.

Files of cookiecutter-nussl have sections such as ``train_config``. Others are a mapping
of ``preset`` and keys of :class:`clustering.config.ClusteringConfig`, and ``model``,
the model to separate with::

    preset: tiny_chimera
    dataset: wham
    data_root: ../wham
    spectral:
      recurrent:
        hidden: 300
    model: runs/chimera
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from clustering import extension
from clustering.config import ClusteringConfig, Dataset
from clustering.foreign import cookiecutter
from clustering.presets import PRESETS
from common.config import (
    ConfigError,
    aliases,
    flatten,
    keys,
    override,
    refuse_endless,
    renamed,
    unknown_key,
)
from common.errors import sentence
from common.experiment import take_option
from common.files import user_path
from common.weights import bundled

SUFFIXES = (".yml", ".yaml")
PYTHON = "tag:yaml.org,2002:python/"
VARIABLE = re.compile(r"\$\{(\w+)\}")
CLASSES = {"Scaper": "scaper", "MixSourceFolder": "mix_folders"}
"""Corpora by the classes of nussl that read them."""
SPLITS = {"train": "train", "val": "valid", "validation": "valid", "valid": "valid"}
"""Splits by the keys of data sets; any other key is a test set."""
SPEAKERS = {"tr": "train", "cv": "valid", "tt": "test"}
CORPUS_KEYS = (
    *("dataset", "data_root", "folders", "sources", "task", "length", "skip"),
    "allow_cut",
)
"""Keys that determine the tracks of a data set."""
SPEAKER_MIXES = {"mix": "wsj0_2mix", "mix_clean": "wham", "mix_both": "wham"}


class Data(NamedTuple):
    """One data set: its configuration and its split."""

    config: ClusteringConfig
    split: str


@dataclass(frozen=True)
class Experiment:
    """The content of an experiment file.

    Attributes:
        path: The file.
        config: Configuration of the training.
        data: Each data set by its key.
        model: Model to separate with: a run folder, a bundled model or one of nussl;
            None if the file names none.
        output: Output folder, as written in the file.
        clustering: Keys of ``cluster`` that replace those of the model.
    """

    path: Path
    config: ClusteringConfig
    data: Mapping[str, Data]
    model: str | None = None
    output: str = "output"
    clustering: Mapping[str, Any] = field(default_factory=dict)


def is_file(name: str | Path) -> bool:
    """Return whether a name is that of an experiment file.

    >>> is_file("best_model/config.yml"), is_file("runs/2030")
    (True, False)
    """
    return Path(name).suffix.lower() in SUFFIXES


def read(path: str | Path) -> Experiment:
    """Read an experiment file, and print the keys that are ignored.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, or a key or a value has no counterpart here.
    """
    values = read_yaml(path)
    experiment = translate(values, path)
    ignored = cookiecutter.ignored(values) if cookiecutter.is_experiment(values) else []
    if ignored:
        sys.stdout.write(f"{path}: without meaning here: {', '.join(ignored)}\n")
    return experiment


def pop_option(arguments: Sequence[str]) -> tuple[Experiment | None, list[str]]:
    """Remove ``-p FILE`` from the arguments of a command line and read the file.

    Args:
        arguments: The arguments.

    Returns:
        The experiment, None without the option, and the other arguments.

    Raises:
        ConfigError: See :func:`read`; or the name of the file is missing or given
            twice.

    >>> pop_option(["with", "tiny"])
    (None, ['with', 'tiny'])
    """
    path, words = take_option(arguments, "-p", "one experiment file (.yml)")
    return (None if path is None else read(path)), words


def translate(values: Mapping[str, Any], path: str | Path) -> Experiment:
    """Translate the values of an experiment file.

    Args:
        values: The values.
        path: The file, for errors and for relative paths.

    Raises:
        ConfigError: A key or a value has no counterpart here.
    """
    path = Path(path)
    try:
        if cookiecutter.is_experiment(values):
            return _of_cookiecutter(values, path)
        return _of_keys(values, path)
    except ConfigError as error:
        swept = "; its sweep is applied by python -m clustering.sweep"
        hint = swept if "sweep" in values else ""
        raise ConfigError(f"{path}: {error}{hint}") from error


def model(experiment: Experiment) -> str:
    """Find the model: a bundled one, beside the file or below the current folder.

    Raises:
        ConfigError: None is named, or a variable of the environment is not set.
    """
    if experiment.model is None:
        raise ConfigError(
            f"{experiment.path} names no model; expected algorithm_config.args."
            "model_path, or model in a file of plain keys"
        )
    name = expand(experiment.model, f"{experiment.path}: the model")
    return str(bundled.find("clustering", name) or locate(name, experiment.path))


def output(experiment: Experiment) -> Path:
    """Return the output folder.

    Raises:
        ConfigError: A variable of the environment is not set.
    """
    where = f"{experiment.path}: the output folder"
    return user_path(expand(experiment.output, where))


def with_data(
    config: ClusteringConfig, experiment: Experiment, split: str
) -> ClusteringConfig:
    """Replace the data of a configuration by those of an experiment file.

    Args:
        config: The configuration of a model.
        experiment: The experiment.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        ConfigError: The file names no data set of that split.
    """
    configs = [data.config for data in experiment.data.values() if data.split == split]
    if not configs:
        raise ConfigError(
            f"{experiment.path} names no data set of the split {split!r}; expected it "
            "below datasets"
        )
    return replace(config, **{name: getattr(configs[0], name) for name in CORPUS_KEYS})


def locate(name: str, beside: Path) -> Path:
    """Find a path relative to the folder of a file, else to the current one.

    >>> str(locate("/data", Path("best_model/config.yml")))
    '/data'
    """
    path = user_path(name)
    near = beside.parent / path
    return near if near.exists() or not path.exists() else path


def _of_keys(values: Mapping[str, Any], path: Path) -> Experiment:
    """Read a file with the keys of the command line."""
    values = expand(values, "value")
    preset = values.get("preset", "dpcl")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ConfigError(f"preset={preset!r}: expected one of {', '.join(PRESETS)}")
    own = ("preset", "model")
    flat = flatten({key: value for key, value in values.items() if key not in own})
    expected = [*keys(ClusteringConfig), *aliases(ClusteringConfig)]
    for key in flat:
        if key not in expected:
            raise ConfigError(unknown_key(key, [*own, *expected]))
    flat = renamed(ClusteringConfig, flat, PRESETS[preset])
    if isinstance(flat.get("data_root"), str):
        flat["data_root"] = str(locate(flat["data_root"], path))
    config = override(PRESETS[preset], flat)
    name = values.get("model", config.output)
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"model={name!r}: expected a string")
    splits = ("train", "valid", "test")
    data = {split: Data(config, split) for split in splits}
    clustering = {k: v for k, v in flat.items() if k.startswith("cluster.")}
    return Experiment(path, config, data, name, clustering=clustering)


def _of_cookiecutter(values: Mapping[str, Any], path: Path) -> Experiment:
    translated = cookiecutter.translate(values)
    base = replace(ClusteringConfig(), sources=cookiecutter.sources(values))
    config = override(base, expand(translated, "value"))
    data = _data(values, config, path)
    trained = [data[key].config for key in data if data[key].split != "test"]
    for other in trained[1:]:
        if (other.dataset, other.data_root) != (
            trained[0].dataset,
            trained[0].data_root,
        ):
            raise ConfigError(
                "datasets.train and datasets.val are of different corpora; expected "
                "two splits of one"
            )
    if trained:
        folders = dict.fromkeys(f for data_set in trained for f in data_set.folders)
        config = replace(trained[0], folders=tuple(folders))
    args = (values.get("algorithm_config") or {}).get("args") or {}
    info = values.get("info") or {}
    clustering = {k: v for k, v in translated.items() if k.startswith("cluster.")}
    return Experiment(
        path,
        config,
        data,
        args.get("model_path"),
        str(info.get("output_folder", "output")),
        clustering,
    )


def _data(
    values: Mapping[str, Any], config: ClusteringConfig, path: Path
) -> dict[str, Data]:
    data = {}
    mix = (values.get("dataset_config") or {}).get("mix_folder")
    for key, entry in (values.get("datasets") or {}).items():
        where, split = f"datasets.{key}", SPLITS.get(key, "test")
        name, folder = _class_and_folder(where, entry)
        if folder is not None:
            # An unused data set may be on a disk of another machine.
            folder = str(locate(str(expand(folder, f"{where}.folder")), path))
        data[key] = Data(_with_corpus(config, name, folder, split, mix), split)
    return data


def _class_and_folder(where: str, entry: Any) -> tuple[str, str | None]:
    """Validate the entry of a data set."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where} is {entry!r}; expected a class and a folder")
    for key in entry:
        if key not in ("class", "folder"):
            names = [f"{where}.class", f"{where}.folder"]
            raise ConfigError(unknown_key(f"{where}.{key}", names))
    name, folder = entry.get("class"), entry.get("folder")
    expected = (*CLASSES, *get_args(Dataset))
    if name not in expected and not extension.is_path(str(name)):
        raise ConfigError(
            f"{where}.class is {name!r}; expected one of {', '.join(expected)}"
        )
    if folder is None and name in CLASSES:
        raise ConfigError(f"{where}.folder is missing; name the folder of the data")
    return str(name), folder


def _with_corpus(
    config: ClusteringConfig,
    name: str,
    folder: str | None,
    split: str,
    mix: str | None,
) -> ClusteringConfig:
    """Set the corpus of a data set: one folder for a split, or a root."""
    if name not in CLASSES:
        return replace(config, dataset=name, data_root=folder)
    path = Path(str(folder))
    is_speakers = SPEAKERS.get(path.name) == split and mix in SPEAKER_MIXES
    if name == "MixSourceFolder" and is_speakers:
        return _with_speakers(config, path, str(mix))
    if name == "MixSourceFolder" and mix not in (None, "mix"):
        raise ConfigError(
            f"dataset_config.mix_folder is {mix!r} and {folder} does not end in the "
            "tr, cv or tt of its split; expected 'mix', or such a folder of WSJ0-2mix "
            "or WHAM!"
        )
    return replace(config, dataset=CLASSES[name], folders=(f"{split}={folder}",))


def _with_speakers(config: ClusteringConfig, split: Path, mix: str) -> ClusteringConfig:
    """Set the root of WSJ0-2mix or WHAM! above the folder of a split."""
    corpus, length = SPEAKER_MIXES[mix], split.parent.name
    if length not in ("min", "max") or not split.parents[1].name.startswith("wav"):
        raise ConfigError(
            f"{split} is no split of {corpus}; expected it to end in wav8k/min/"
            f"{split.name} or the like"
        )
    above = split.parents[2]
    root = above.parent if above.name == "2speakers" else above
    changes = {"dataset": corpus, "data_root": str(root), "length": length}
    if corpus == "wham":
        changes["task"] = mix
    # The sources are those of the task.
    return override(config, {**changes, "sources": ()})


class PlainLoader(yaml.SafeLoader):
    """Loader for YAML of plain values and tuples, which runs no code."""

    def tuple_of(self, node: Any) -> tuple[Any, ...]:
        """Make a tuple of a sequence."""
        return tuple(self.construct_sequence(node, deep=True))

    def refuse(self, suffix: str, node: Any) -> None:
        """Refuse any other tag of Python."""
        raise ConfigError(
            f"{self.name}, line {node.start_mark.line + 1}: the tag !!python/{suffix} "
            "would make an object of Python; only !!python/tuple is read"
        )

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Make a dictionary; its keys must differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise ConfigError(
                    f"{self.name}, line {key.start_mark.line + 1}: the key {name!r} "
                    "occurs twice in one mapping; expected once"
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


PlainLoader.add_constructor(f"{PYTHON}tuple", PlainLoader.tuple_of)
PlainLoader.add_multi_constructor(PYTHON, PlainLoader.refuse)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a file that maps keys to values.

    Args:
        path: The file.

    Returns:
        Its content, without expansion of ``${NAME}``, see :func:`expand`.

    Raises:
        ConfigError: It cannot be read, is not YAML, has a tag of Python other than
            ``!!python/tuple``, or is not a mapping.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            values = yaml.load(file, PlainLoader)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"experiment file {sentence(error)}") from error
    # What a constructor of YAML meets in a value of a wrong tag.
    except Exception as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{path} cannot be read ({problem}); expected YAML that maps keys to values"
        ) from error
    try:
        refuse_endless(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
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
        where: Name of the value, for the error.

    Raises:
        ConfigError: A variable is not set.

    >>> os.environ["SPOT"] = "/data"
    >>> expand({"folder": ["${SPOT}/test", 3]}, "datasets")
    {'folder': ['/data/test', 3]}
    """
    if isinstance(value, Mapping):
        return {key: expand(part, f"{where}.{key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(expand(part, where) for part in value)
    if not isinstance(value, str):
        return value
    for name in VARIABLE.findall(value):
        if name not in os.environ:
            raise ConfigError(
                f"{where} is {value!r} and the environment has no {name}; set it: "
                f"export {name}=..."
            )
    return VARIABLE.sub(lambda match: os.environ[match[1]], value)
