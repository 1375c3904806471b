"""Experiments in YAML files: those of cookiecutter-nussl, and plain keys of our own.

Of the first kind is what has sections such as ``train_config``. The second is a mapping
of ``preset`` and any keys of :class:`clustering.config.ClusteringConfig`, besides
``model``, which names what separates::

    preset: tiny_chimera
    dataset: wham
    root: ../wham
    spectral:
      recurrent:
        hidden: 300
    model: runs/chimera
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from clustering import extension, plain_yaml
from clustering.bundled import FOLDER
from clustering.config import ClusteringConfig, Dataset
from clustering.nussl import cookiecutter
from clustering.presets import PRESETS
from common.config import ConfigError, flatten, keys, override, unknown_key
from common.files import user_path
from common.training.loop import say
from common.weights import bundled

SUFFIXES = (".yml", ".yaml")
CLASSES = {"Scaper": "scaper", "MixSourceFolder": "mix_folders"}
"""Kinds of corpora by the classes that nussl reads them with."""
SPLITS = {"train": "train", "val": "valid", "validation": "valid", "valid": "valid"}
"""Splits by the keys of data sets; any other key is a test set."""
SPEAKERS = {"tr": "train", "cv": "valid", "tt": "test"}
SPEAKER_MIXES = {"mix": "wsj0_2mix", "mix_clean": "wham", "mix_both": "wham"}


class Data(NamedTuple):
    """One data set: a configuration that names it, and the split of it."""

    config: ClusteringConfig
    split: str


@dataclass(frozen=True)
class Experiment:
    """What an experiment file tells.

    Attributes:
        path: The file.
        config: Configuration of the training.
        data: Each data set by its key.
        model: What separates: a run folder, a model of the package or of nussl; None
            where none is named.
        output: Folder of what is made, as it stands in the file.
        masks: Keys of ``cluster`` that hold for the model, whatever it was trained for.
    """

    path: Path
    config: ClusteringConfig
    data: Mapping[str, Data]
    model: str | None = None
    output: str = "output"
    masks: Mapping[str, Any] = field(default_factory=dict)


def is_file(name: str | Path) -> bool:
    """Tell whether a name is that of an experiment file.

    >>> is_file("best_model/config.yml"), is_file("runs/2030")
    (True, False)
    """
    return Path(name).suffix.lower() in SUFFIXES


def read(path: str | Path) -> Experiment:
    """Read an experiment file; say in one line which of its keys mean nothing here.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, or a key or a value has no counterpart here.
    """
    values = plain_yaml.read(path)
    experiment = translate(values, path)
    void = cookiecutter.void(values) if cookiecutter.is_meant(values) else []
    if void:
        say(f"{path}: without meaning here: {', '.join(void)}")
    return experiment


def taken(arguments: Sequence[str]) -> tuple[Experiment | None, list[str]]:
    """Take ``-p FILE`` out of the words of a command line.

    Args:
        arguments: The words.

    Returns:
        What the file tells, None without one, and the other words.

    Raises:
        ConfigError: See :func:`read`; or the name of the file is missing, or stands
            there twice.

    >>> taken(["with", "tiny"])
    (None, ['with', 'tiny'])
    """
    words = list(arguments)
    if "-p" not in words:
        return None, words
    place = words.index("-p")
    if words.count("-p") > 1 or place + 1 == len(words):
        raise ConfigError("-p needs one experiment file (.yml) after it")
    return read(words[place + 1]), words[:place] + words[place + 2 :]


def translate(values: Mapping[str, Any], path: str | Path) -> Experiment:
    """Translate what stands in an experiment file.

    Args:
        values: Its content.
        path: The file, for errors and for the names that are relative to it.

    Raises:
        ConfigError: A key or a value has no counterpart here.
    """
    path = Path(path)
    try:
        if cookiecutter.is_meant(values):
            return _of_cookiecutter(values, path)
        return _of_keys(values, path)
    except ConfigError as error:
        swept = "; its sweep is applied by python -m clustering.sweep"
        hint = swept if "sweep" in values else ""
        raise ConfigError(f"{path}: {error}{hint}") from error


def model(experiment: Experiment) -> str:
    """Find what separates: beside the file, below the current folder, or by its name.

    Raises:
        ConfigError: None is named, or a variable of the environment is not set.
    """
    if experiment.model is None:
        raise ConfigError(
            f"{experiment.path} names no model; expected algorithm_config.args."
            "model_path, or model in a file of plain keys"
        )
    name = plain_yaml.expand(experiment.model, f"{experiment.path}: the model")
    return str(bundled.find(FOLDER, name) or locate(name, experiment.path))


def output(experiment: Experiment) -> Path:
    """Tell the folder of what is made.

    Raises:
        ConfigError: A variable of the environment is not set.
    """
    where = f"{experiment.path}: the output folder"
    return user_path(plain_yaml.expand(experiment.output, where))


def with_data(
    config: ClusteringConfig, experiment: Experiment, split: str
) -> ClusteringConfig:
    """Give a configuration the data of an experiment file.

    Args:
        config: That of a model.
        experiment: What the file tells.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        ConfigError: The file names no data set of that split.
    """
    found = [data.config for data in experiment.data.values() if data.split == split]
    if not found:
        raise ConfigError(
            f"{experiment.path} names no data set of the split {split!r}; expected it "
            "below datasets"
        )
    names = ("dataset", "root", "folders", "sources", "task", "length", "skip")
    return replace(config, **{name: getattr(found[0], name) for name in names})


def locate(name: str, beside: Path) -> Path:
    """Find a path relative to the folder of a file, else to the current one.

    >>> str(locate("/data", Path("best_model/config.yml")))
    '/data'
    """
    path = user_path(name)
    near = beside.parent / path
    return near if near.exists() or not path.exists() else path


def _of_keys(values: Mapping[str, Any], path: Path) -> Experiment:
    """Read the simple form, whose keys are those of the command line."""
    values = plain_yaml.expand(values, "value")
    preset = values.get("preset", "dpcl")
    if preset not in PRESETS:
        raise ConfigError(f"preset={preset!r}: expected one of {', '.join(PRESETS)}")
    own = ("preset", "model")
    flat = flatten({key: each for key, each in values.items() if key not in own})
    known = keys(ClusteringConfig)
    for key in flat:
        if key not in known:
            raise ConfigError(unknown_key(key, [*own, *known]))
    if isinstance(flat.get("root"), str):
        flat["root"] = str(locate(flat["root"], path))
    config = override(PRESETS[preset], flat)
    name = values.get("model", config.output)
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"model={name!r}: expected a text")
    splits = ("train", "valid", "test")
    data = {split: Data(config, split) for split in splits}
    masks = {k: v for k, v in flat.items() if k.startswith("cluster.")}
    return Experiment(path, config, data, name, masks=masks)


def _of_cookiecutter(values: Mapping[str, Any], path: Path) -> Experiment:
    found = cookiecutter.settings(values)
    base = replace(ClusteringConfig(), sources=cookiecutter.sources(values))
    config = override(base, plain_yaml.expand(found, "value"))
    data = _data(values, config, path)
    trained = [data[key].config for key in data if data[key].split != "test"]
    for other in trained[1:]:
        if (other.dataset, other.root) != (trained[0].dataset, trained[0].root):
            raise ConfigError(
                "datasets.train and datasets.val are of different corpora; expected "
                "two splits of one"
            )
    if trained:
        folders = dict.fromkeys(f for each in trained for f in each.folders)
        config = replace(trained[0], folders=tuple(folders))
    args = values.get("algorithm_config", {}).get("args") or {}
    info = values.get("info") or {}
    masks = {key: each for key, each in found.items() if key.startswith("cluster.")}
    return Experiment(
        path,
        config,
        data,
        args.get("model_path"),
        str(info.get("output_folder", "output")),
        masks,
    )


def _data(
    values: Mapping[str, Any], config: ClusteringConfig, path: Path
) -> dict[str, Data]:
    found = {}
    mix = values.get("dataset_config", {}).get("mix_folder")
    for key, each in (values.get("datasets") or {}).items():
        where = f"datasets.{key}"
        if not isinstance(each, Mapping):
            raise ConfigError(f"{where} is {each!r}; expected a class and a folder")
        for name in each:
            if name not in ("class", "folder"):
                names = [f"{where}.class", f"{where}.folder"]
                raise ConfigError(unknown_key(f"{where}.{name}", names))
        known = (*CLASSES, *get_args(Dataset))
        own = extension.is_path(str(each.get("class")))
        if each.get("class") not in known and not own:
            raise ConfigError(
                f"{where}.class is {each.get('class')!r}; expected one of "
                f"{', '.join(known)}"
            )
        name, folder = each["class"], each.get("folder")
        if folder is None and name in CLASSES:
            raise ConfigError(f"{where}.folder is missing; name where the data lie")
        if folder is not None:
            # A data set that is not used may lie on a disk of another machine.
            folder = str(plain_yaml.expand(folder, f"{where}.folder"))
            folder = str(locate(folder, path))
        split = SPLITS.get(key, "test")
        found[key] = Data(_placed(config, name, folder, (split, mix)), split)
    return found


def _placed(
    config: ClusteringConfig, name: str, folder: str | None, of: tuple[str, str | None]
) -> ClusteringConfig:
    """Name the corpus of a data set: one folder for a split, or a root."""
    split, mix = of
    if name not in CLASSES:
        return replace(config, dataset=name, root=folder)
    place = Path(str(folder))
    speakers = SPEAKERS.get(place.name) == split and mix in SPEAKER_MIXES
    if name == "MixSourceFolder" and speakers:
        return _speakers(config, place, str(mix))
    if name == "MixSourceFolder" and mix not in (None, "mix"):
        raise ConfigError(
            f"dataset_config.mix_folder is {mix!r} and {folder} does not end in the "
            "tr, cv or tt of its split; expected 'mix', or such a folder of WSJ0-2mix "
            "or WHAM!"
        )
    corpus: Any = CLASSES[name]
    return replace(config, dataset=corpus, folders=(f"{split}={folder}",))


def _speakers(config: ClusteringConfig, place: Path, mix: str) -> ClusteringConfig:
    """Take the root of WSJ0-2mix or WHAM! out of the folder of a split."""
    kind: Any = SPEAKER_MIXES[mix]
    length: Any = place.parent.name
    if length not in ("min", "max") or not place.parents[1].name.startswith("wav"):
        raise ConfigError(
            f"{place} is no split of {kind}; expected it to end in wav8k/min/"
            f"{place.name} or the like"
        )
    above = place.parents[2]
    root = above.parent if above.name == "2speakers" else above
    changed = replace(config, dataset=kind, root=str(root), length=length)
    if kind == "wham":
        changed = replace(changed, task=mix)  # type: ignore[arg-type]
    # The sources are those of the task.
    return replace(changed, sources=())
