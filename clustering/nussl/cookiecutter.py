"""Settings of cookiecutter-nussl's experiments under the names that they have here.

An experiment is a mapping with the sections ``model_config``, ``train_config``,
``dataset_config``, ``datasets``, ``algorithm_config`` and ``info``, for the nussl of
before 1.0. Every key is translated, has one value that there is a counterpart of, or is
known to mean nothing here; any other is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from clustering.nussl import cookiecutter_model
from common.config import ConfigError, flatten, unknown_key

SECTIONS = (
    "model_config",
    "train_config",
    "dataset_config",
    "datasets",
    "algorithm_config",
)
SAME = {
    "info.seed": "train.seed",
    "dataset_config.n_fft": "window_samples",
    "dataset_config.hop_length": "hop_samples",
    "dataset_config.sample_rate": "sample_rate",
    "dataset_config.output_type": "loss.target",
    "dataset_config.weight_type": "loss.weights",
    "dataset_config.weight_threshold": "loss.threshold_db",
    "dataset_config.excerpt_selection_strategy": "excerpt",
    "train_config.batch_size": "batch_size",
    "train_config.learning_rate": "lr",
    "train_config.learning_rate_decay": "lr_decay_gamma",
    "train_config.patience": "lr_decay_patience",
    "train_config.num_epochs": "train.epochs",
    "train_config.optimizer": "optimizer",
    "train_config.weight_decay": "weight_decay",
    "algorithm_config.args.num_sources": "cluster.sources",
    "algorithm_config.args.percentile": "cluster.percentile",
    "algorithm_config.args.clustering_options.posterior_alpha": "cluster.beta",
}
"""What is the same under another name."""

FIXED: Mapping[str, tuple[Any, ...]] = {
    "dataset_config.format": ("rnn",),
    "dataset_config.num_channels": (1,),
    "dataset_config.fraction_of_dataset": (1.0,),
    "dataset_config.use_librosa_stft": (False,),
    "train_config.class": ("Trainer",),
    "algorithm_config.class": ("DeepClustering", "DeepMaskEstimation"),
    "algorithm_config.args.enhancement_amount": (0.0,),
    "algorithm_config.args.mask_type": ("soft", "binary"),
}
"""Values that there is a counterpart of."""

READ = (
    "info.output_folder",
    "algorithm_config.args.model_path",
    "dataset_config.group_sources",
    "dataset_config.ignore_sources",
    "dataset_config.source_labels",
    "dataset_config.mix_folder",
    "dataset_config.source_folders",
    "dataset_config.length",
    "train_config.initial_length",
    "train_config.curriculum_learning",
    "train_config.loss_function",
)
"""What is translated by a function of its own."""

VOID = (
    "info.*",
    "test_config.*",
    "sweep",
    "dataset_config.cache",
    "dataset_config.overwrite_cache",
    "dataset_config.data_keys_for_training",
    "train_config.num_workers",
    "train_config.device",
    "train_config.data_parallel",
    "train_config.sample_strategy",
    "train_config.use_tensorboard",
    "algorithm_config.args.use_cuda",
)
"""What has no meaning here."""

LEVEL = "librosa"
"""How decibels are taken of magnitudes there."""

LOSSES = {"pit:l1": "l1", "pit:mse": "mse"}


def is_meant(values: Mapping[str, Any]) -> bool:
    """Tell whether values are an experiment of cookiecutter-nussl.

    >>> is_meant({"train_config": {}}), is_meant({"preset": "tiny"})
    (True, False)
    """
    return any(name in values for name in SECTIONS)


def void(values: Mapping[str, Any]) -> list[str]:
    """Name the keys that have no meaning here, a section that has none as one.

    >>> void({"info": {"num_gpus": 1, "seed": 0}, "test_config": {"a": 1, "b": 2}})
    ['info.num_gpus', 'test_config']
    """
    names = [key for key in _flat(values) if _is_void(key)]
    first = (name.partition(".")[0] for name in names)
    whole = zip(names, first, strict=True)
    return list(dict.fromkeys(f if f == "test_config" else n for n, f in whole))


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translate an experiment, but for its data sets and its model file.

    Args:
        values: What stands in the file.

    Returns:
        Values by the dotted keys of :class:`clustering.config.ClusteringConfig`.

    Raises:
        ConfigError: A key is unknown, or a value has no counterpart here.
    """
    flat = {key: value for key, value in _flat(values).items() if not _is_void(key)}
    for key, value in flat.items():
        _check(key, value)
    found = {new: flat[old] for old, new in SAME.items() if old in flat}
    found |= _lengths(flat) | _clustering(flat)
    if "model_config" in values:
        bins = int(flat.get("dataset_config.n_fft", 512)) // 2 + 1
        found |= cookiecutter_model.settings(values["model_config"], bins)
        found |= {"spectral.features.bins": bins, "spectral.features.level": LEVEL}
    found |= _losses(flat)
    if "train.epochs" in found:
        # An epoch of the original is all of the data, and there is no early end.
        found |= {"train.steps_per_epoch": 0, "patience": found["train.epochs"]}
    return found


def sources(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Tell the sources that the data of an experiment are separated into.

    Args:
        values: What stands in the file.

    Returns:
        Names as in ``sources=`` of a configuration; none: those of the corpus.

    Raises:
        ConfigError: The labels do not tell which sources are left.
    """
    section = values.get("dataset_config", {})
    groups = [list(group) for group in section.get("group_sources") or []]
    labels = list(section.get("source_labels") or [])
    ignored = list(section.get("ignore_sources") or [])
    if ignored and not labels:
        raise ConfigError(
            f"dataset_config.ignore_sources is {ignored} and source_labels is empty; "
            "name the sources that are left in source_labels"
        )
    if not groups and not labels:
        return tuple(section.get("source_folders") or ())
    grouped = [name for group in groups for name in group]
    single = [name for name in labels if name not in (*grouped, *ignored)]
    joined = ["+".join(group) for group in groups]
    algorithm = values.get("algorithm_config", {}).get("args", {})
    missing = algorithm.get("num_sources", len(joined) + 1) - len(joined)
    if not labels and missing > 1:
        raise ConfigError(
            f"dataset_config.group_sources leaves {missing} sources without a name; "
            "name them in dataset_config.source_labels"
        )
    rest = ["*"] if not labels and missing == 1 else []
    return (*single, *rest, *(name for name in joined if name not in single))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten all sections that are not translated elsewhere."""
    elsewhere = ("model_config", "datasets")
    return flatten({key: each for key, each in values.items() if key not in elsewhere})


def _is_void(key: str) -> bool:
    translated = key in SAME or key in READ
    return not translated and any(fnmatchcase(key, name) for name in VOID)


def _check(key: str, value: Any) -> None:
    if key in FIXED:
        if value not in FIXED[key]:
            known = " or ".join(repr(each) for each in FIXED[key])
            raise ConfigError(
                f"{key} is {value!r}; only {known} has a counterpart here"
            )
    elif key not in SAME and key not in READ:
        known_keys = [*SAME, *FIXED, *READ, *VOID, "model_config", "datasets", "info"]
        raise ConfigError(unknown_key(key, known_keys))


def _lengths(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Translate lengths of excerpts, which the original counts in frames."""
    length = flat.get("dataset_config.length")
    if length is None:
        return {}
    try:
        hop, rate = (
            flat[f"dataset_config.{name}"] for name in ("hop_length", "sample_rate")
        )
        if min(hop, rate, length) < 1:
            raise ValueError(f"{hop}, {rate}, {length}")
        frame = hop / rate
        first = flat.get("train_config.initial_length", length)
        steps = _steps(flat.get("train_config.curriculum_learning") or [], first)
        # No excerpt of the original is longer than dataset_config.length.
        lengths = {epoch: min(frames, length) for epoch, frames in steps.items()}
        found: dict[str, Any] = {"segment_seconds": length * frame}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"dataset_config.length is {length}, in frames; expected hop_length and "
            "sample_rate beside it, whole numbers above 0, and in train_config."
            "curriculum_learning only steps such as {command: set_current_length, "
            "args: [400], num_epoch: 0}"
        ) from error
    if set(lengths.values()) != {length}:
        pairs = sorted(lengths.items())
        found["curriculum"] = [[epoch, frames * frame] for epoch, frames in pairs]
    return found


def _steps(steps: Sequence[Mapping[str, Any]], first: int) -> dict[int, int]:
    """Tell the length from each epoch on, in frames."""
    found = {0: first}
    for step in steps:
        if set(step) != {"command", "args", "num_epoch"}:
            raise KeyError(str(step))
        if step["command"] != "set_current_length":
            raise ValueError(step["command"])
        (found[step["num_epoch"]],) = step["args"]
    return found


def _clustering(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Translate how masks are made of embeddings, points weighted by magnitude."""
    if flat.get("algorithm_config.class") != "DeepClustering":
        return {}
    binary = flat.get("algorithm_config.args.mask_type", "soft") == "binary"
    return {
        "cluster.weighted": True,
        "cluster.mask": "binary" if binary else "posterior",
    }


def _losses(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Translate triples of loss, output and weight, and the kind of the network."""
    triples = flat.get("train_config.loss_function")
    if triples is None:
        algorithm = flat.get("algorithm_config.class")
        kinds = {"DeepClustering": "dpcl", "DeepMaskEstimation": "mask_inference"}
        return {"kind": kinds[algorithm]} if algorithm else {}
    found: dict[str, Any] = {}
    for triple in triples:
        name, _, weight = triple if len(triple) == 3 else (triple, None, None)
        if name == "dpcl" and weight is not None:
            found |= {"loss.clustering": weight, "loss.clustering_kind": "batch"}
        elif name in LOSSES and weight is not None:
            found |= {"loss.inference": weight, "loss.inference_kind": LOSSES[name]}
        else:
            raise ConfigError(
                f"train_config.loss_function has {triple}; expected a loss (dpcl, "
                f"{', '.join(LOSSES)}), the output that it is of, and its weight"
            )
    heads = "loss.clustering" in found, "loss.inference" in found
    kinds_of = {(True, False): "dpcl", (False, True): "mask_inference"}
    return found | {"kind": kinds_of.get(heads, "chimera")}
