"""Translate experiments of cookiecutter-nussl to keys of our configuration.

An experiment is a mapping with the sections ``model_config``, ``train_config``,
``dataset_config``, ``datasets``, ``algorithm_config`` and ``info``, for nussl before
1.0. A key is translated, or has a single supported value, or is ignored because it has
no meaning here. Any other key is refused.

Modules and connections of nussl form a graph. The graph of ``model_config`` must lead
from ``log_spectrogram`` through a normalisation and a recurrent stack to an embedding,
or to masks of ``magnitude_spectrogram``. Any other graph is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from common.config import ConfigError, flatten, unknown_key

SECTIONS = (
    "model_config",
    "train_config",
    "dataset_config",
    "datasets",
    "algorithm_config",
)
RENAMED = {
    "info.seed": "train.seed",
    "dataset_config.n_fft": "window_samples",
    "dataset_config.hop_length": "hop_samples",
    "dataset_config.sample_rate": "sample_rate",
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
"""Our keys for keys with the same values."""

FIXED: Mapping[str, tuple[Any, ...]] = {
    "dataset_config.format": ("rnn",),
    "dataset_config.num_channels": (1,),
    # That of "msa" is cut off at the mixture in the original.
    "dataset_config.output_type": ("psa",),
    "dataset_config.fraction_of_dataset": (1.0,),
    "dataset_config.use_librosa_stft": (False,),
    "train_config.class": ("Trainer",),
    "algorithm_config.class": ("DeepClustering", "DeepMaskEstimation"),
    "algorithm_config.args.enhancement_amount": (0.0,),
    "algorithm_config.args.mask_type": ("soft", "binary"),
}
"""Supported values of keys."""

TRANSLATED = (
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
"""Keys that separate functions translate."""

IGNORED = (
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
"""Keys that have no meaning here."""

LEVEL = "librosa"
"""Scale of the magnitudes in these experiments."""

FRONTEND = "nussl_old"
"""Their transform."""

LOSSES = {"pit:l1": "l1", "pit:mse": "mse"}

WHERE = "model_config"
INPUT, MAGNITUDE = "log_spectrogram", "magnitude_spectrogram"
BEFORE_STACK = ("MelProjection", "InstanceNorm", "BatchNorm")
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "MelProjection": (
        "sample_rate",
        "num_frequencies",
        "num_mels",
        "direction",
        "trainable",
        "clamp",
    ),
    "InstanceNorm": ("use_instance_norm",),
    "BatchNorm": ("use_batch_norm",),
    "RecurrentStack": (
        "num_features",
        "hidden_size",
        "num_layers",
        "bidirectional",
        "dropout",
        "rnn_type",
    ),
    "Embedding": (
        "num_features",
        "num_channels",
        "hidden_size",
        "embedding_size",
        "activation",
    ),
    "Mask": (),
}
"""Arguments of each class of modules."""
STACK = {
    "hidden_size": "hidden",
    "num_layers": "layers",
    "bidirectional": "bidirectional",
    "dropout": "dropout",
    "rnn_type": "kind",
}
ACTIVATIONS = {"unitnorm": "unit_norm", "l1norm": "l1_norm"}

Modules = Mapping[str, Mapping[str, Any]]
Inputs = Mapping[str, Sequence[str]]


def is_experiment(values: Mapping[str, Any]) -> bool:
    """Return whether values are an experiment of cookiecutter-nussl.

    >>> is_experiment({"train_config": {}}), is_experiment({"preset": "tiny"})
    (True, False)
    """
    return any(name in values for name in SECTIONS)


def ignored(values: Mapping[str, Any]) -> list[str]:
    """List the keys that have no meaning here, a whole section by its name.

    >>> ignored({"info": {"num_gpus": 1, "seed": 0}, "test_config": {"a": 1, "b": 2}})
    ['info.num_gpus', 'test_config']
    """
    names = [key for key in _flat(values) if _is_ignored(key)]
    first = (name.partition(".")[0] for name in names)
    whole = zip(names, first, strict=True)
    return list(dict.fromkeys(f if f == "test_config" else n for n, f in whole))


def translate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translate an experiment, except its data sets and its model file.

    Args:
        values: Content of the file.

    Returns:
        Values by the dotted keys of :class:`clustering.config.ClusteringConfig`.

    Raises:
        ConfigError: A key is unknown, or a value has no counterpart here.
    """
    for name in (*SECTIONS, "info"):
        if not isinstance(values.get(name) or {}, Mapping):
            raise ConfigError(f"{name} is {values[name]!r}; expected keys below it")
    flat = {key: value for key, value in _flat(values).items() if not _is_ignored(key)}
    for key, value in flat.items():
        _check(key, value)
    result = {new: flat[old] for old, new in RENAMED.items() if old in flat}
    result["frontend"] = FRONTEND
    result = _clustering(flat) | result | _lengths(flat)
    if "model_config" in values:
        bins = _whole("dataset_config.n_fft", flat.get("dataset_config.n_fft", 512))
        bins = bins // 2 + 1
        result |= _network(values["model_config"], bins)
        result |= {"spectral.features.bins": bins, "spectral.features.level": LEVEL}
    result |= _losses(flat)
    if "train.epochs" in result:
        # In the original an epoch is the whole data, and there is no early stopping.
        result |= {"train.steps_per_epoch": 0, "patience": result["train.epochs"]}
    return result


def sources(values: Mapping[str, Any]) -> tuple[str, ...]:
    """List the sources of an experiment.

    Args:
        values: Content of the file.

    Returns:
        Names as in ``sources=`` of a configuration; none: those of the corpus.

    Raises:
        ConfigError: The names of some sources are missing.
    """
    section = values.get("dataset_config") or {}
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
    algorithm = (values.get("algorithm_config") or {}).get("args") or {}
    count = algorithm.get("num_sources", len(joined) + 1)
    missing = _whole("algorithm_config.args.num_sources", count) - len(joined)
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
    return flatten(
        {key: value for key, value in values.items() if key not in elsewhere}
    )


def _is_ignored(key: str) -> bool:
    translated = key in RENAMED or key in TRANSLATED
    return not translated and any(fnmatchcase(key, name) for name in IGNORED)


def _check(key: str, value: object) -> None:
    # The type of what ${NAME} stands for is checked where the configuration is made.
    if key in TYPES and not (isinstance(value, str) and "${" in value):
        expected, is_valid = TYPES[key]
        if not is_valid(value):
            raise ConfigError(f"{key} is {value!r}; expected {expected}")
    if key in FIXED:
        if value not in FIXED[key]:
            supported = " or ".join(repr(choice) for choice in FIXED[key])
            raise ConfigError(
                f"{key} is {value!r}; only {supported} has a counterpart here"
            )
    elif key not in RENAMED and key not in TRANSLATED:
        translated = (*RENAMED, *FIXED, *TRANSLATED, *IGNORED)
        raise ConfigError(unknown_key(key, (*translated, *SECTIONS, "info")))


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str | int | float)


def _whole(key: str, value: object) -> int:
    """Return a whole number, which may be a text, as in the environment."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    raise ConfigError(f"{key} is {value!r}; expected a whole number")


def _is_list(value: object) -> bool:
    return value is None or isinstance(value, list | tuple)


def _are_names(value: Any) -> bool:
    return _is_list(value) and all(isinstance(name, str) for name in value or ())


def _are_groups(value: Any) -> bool:
    return _is_list(value) and all(names and _are_names(names) for names in value or ())


TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "info.output_folder": ("a name", _is_name),
    "algorithm_config.args.model_path": ("a string", _is_text),
    "dataset_config.group_sources": ("a list of lists of names", _are_groups),
    "dataset_config.ignore_sources": ("a list of names", _are_names),
    "dataset_config.source_labels": ("a list of names", _are_names),
    "dataset_config.source_folders": ("a list of names", _are_names),
    "train_config.loss_function": ("a list of losses", _is_list),
}
"""Values of keys that are used here before a configuration checks their types."""


def _lengths(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Translate lengths of excerpts, which the original states in frames."""
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
        # In the original no excerpt is longer than dataset_config.length.
        lengths = {epoch: min(frames, length) for epoch, frames in steps.items()}
        result: dict[str, Any] = {"segment_seconds": length * frame}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"dataset_config.length is {length}, in frames; expected hop_length and "
            "sample_rate beside it, whole numbers above 0, and in train_config."
            "curriculum_learning only steps such as {command: set_current_length, "
            "args: [400], num_epoch: 0}"
        ) from error
    if set(lengths.values()) != {length}:
        pairs = sorted(lengths.items())
        result["curriculum"] = [[epoch, frames * frame] for epoch, frames in pairs]
    return result


def _steps(steps: Sequence[Mapping[str, Any]], first: int) -> dict[int, int]:
    """Map each epoch of a curriculum to its length in frames."""
    lengths = {0: first}
    for step in steps:
        if set(step) != {"command", "args", "num_epoch"}:
            raise KeyError(str(step))
        if step["command"] != "set_current_length":
            raise ValueError(step["command"])
        (lengths[step["num_epoch"]],) = step["args"]
    return lengths


def _clustering(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the clustering, in which points are weighted by their magnitude."""
    binary = flat.get("algorithm_config.args.mask_type", "soft") == "binary"
    if flat.get("algorithm_config.class") != "DeepClustering":
        if binary:
            raise ConfigError(
                "algorithm_config.args.mask_type is 'binary'; only 'soft' has a "
                "counterpart here for other classes than DeepClustering"
            )
        return {}
    return {
        # What the original takes where the file names none.
        "cluster.percentile": 0.0,
        "cluster.weighted": True,
        "cluster.mask": "binary" if binary else "posterior",
    }


def _losses(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Translate triples of loss, output and weight, and choose the network."""
    triples = flat.get("train_config.loss_function")
    if triples is None:
        algorithm = flat.get("algorithm_config.class")
        networks = {"DeepClustering": "dpcl", "DeepMaskEstimation": "mask_inference"}
        return {"kind": networks[algorithm]} if algorithm else {}
    losses: dict[str, Any] = {}
    for triple in triples:
        is_triple = isinstance(triple, list | tuple) and len(triple) == 3
        name, _, weight = triple if is_triple else (str(triple), None, None)
        if name == "dpcl" and weight is not None:
            losses |= {"loss.clustering": weight, "loss.clustering_kind": "batch"}
        elif name in LOSSES and weight is not None:
            losses |= {"loss.inference": weight, "loss.inference_kind": LOSSES[name]}
        else:
            raise ConfigError(
                f"train_config.loss_function has {triple}; expected a loss (dpcl, "
                f"{', '.join(LOSSES)}), the output that it is of, and its weight"
            )
    heads = "loss.clustering" in losses, "loss.inference" in losses
    network = {(True, False): "dpcl", (False, True): "mask_inference"}
    return losses | {"kind": network.get(heads, "chimera")}


def _network(config: Any, bins: int) -> dict[str, Any]:
    """Translate the graph of a network.

    Args:
        config: Section ``model_config`` of an experiment.
        bins: Number of bins of its transform.

    Returns:
        Values by dotted key: the stack and the heads of ``spectral``.

    Raises:
        ConfigError: A module, an argument or a connection has no counterpart here.
    """
    modules, inputs = _parts(config)
    stacks = [n for n in inputs if modules[n].get("class") == "RecurrentStack"]
    if len(stacks) != 1:
        raise ConfigError(f"{WHERE} has {len(stacks)} RecurrentStack; expected one")
    norm = _normalisation(stacks[0], modules, inputs)
    stack = _arguments(modules, stacks[0])
    _require(stacks[0], stack, "num_features", bins)
    result = {f"spectral.recurrent.{STACK[k]}": stack[k] for k in STACK if k in stack}
    key = f"{WHERE}.modules.{stacks[0]}.args.hidden_size"
    width = _whole(key, stack.get("hidden_size", 300))
    width *= 2 if stack.get("bidirectional") else 1
    heads = [n for n in inputs if modules[n].get("class") == "Embedding"]
    masks = _masks(modules, inputs)
    for name in heads:
        if list(inputs[name]) != stacks:
            raise _foreign(f"{name} is fed with {list(inputs[name])}", stacks[0])
        args = _arguments(modules, name)
        _require(name, args, "num_features", bins)
        _require(name, args, "num_channels", 1)
        _require(name, args, "hidden_size", width)
        result |= _head(args, is_mask=name in masks)
    if not heads:
        raise ConfigError(f"{WHERE} has no module of the class Embedding")
    return result | {"spectral.features.norm": norm}


def _parts(config: Any) -> tuple[Modules, Inputs]:
    """Split a graph into modules and the inputs of each, and check their format."""
    supported = ("class", "modules", "connections", "output")
    for key in config if isinstance(config, Mapping) else ():
        if key not in supported:
            raise ConfigError(f"{WHERE}: {unknown_key(str(key), supported)}")
    try:
        if config.get("class", "SeparationModel") != "SeparationModel":
            raise _foreign(f"the class is {config['class']}", "SeparationModel")
        modules = {
            str(name): dict(module) for name, module in config["modules"].items()
        }
        inputs = {str(name): list(sources) for name, sources in config["connections"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{WHERE} is no graph ({type(error).__name__}: {error}); expected modules "
            "by name and connections as pairs of a name and a list of names"
        ) from error
    for name in inputs:
        module_class = modules.get(name, {}).get("class")
        if module_class not in ARGUMENTS:
            raise _foreign(
                f"{name} is of the class {module_class}", ", ".join(ARGUMENTS)
            )
    return modules, inputs


def _normalisation(name: str, modules: Modules, inputs: Inputs) -> str:
    """Return the normalisation between the input and a stack."""
    norm = "none"
    while inputs[name] != [INPUT]:
        before = inputs[name]
        if len(before) != 1 or before[0] not in inputs:
            raise _foreign(f"{name} is fed with {before}", f"a way from {INPUT}")
        name = before[0]
        module_class = modules[name]["class"]
        if module_class not in BEFORE_STACK:
            raise _foreign(
                f"{name} of the class {module_class} is on the way", f"{BEFORE_STACK}"
            )
        args = _arguments(modules, name)
        if module_class == "MelProjection":
            _require(name, args, "num_mels", -1)
        elif module_class == "BatchNorm":
            _require(name, args, "use_batch_norm", False)
        elif args.get("use_instance_norm", True):
            norm = "instance"
    return norm


def _masks(modules: Modules, inputs: Inputs) -> set[str]:
    """List the heads that a mask module applies to the mixture."""
    heads = set()
    for name, fed in inputs.items():
        if modules[name]["class"] != "Mask":
            continue
        if len(fed) != 2 or fed[1] != MAGNITUDE:
            raise _foreign(f"{name} is fed with {fed}", f"a head and {MAGNITUDE}")
        heads.add(fed[0])
    return heads


def _head(args: Mapping[str, Any], is_mask: bool) -> dict[str, Any]:
    size, head = ("sources", "mask") if is_mask else ("embedding", "embedding")
    names = args.get("activation", ())
    if not isinstance(names, list | tuple):
        raise ConfigError(
            f"{WHERE}: the activation of a head is {names!r}; expected a list of names"
        )
    activation = [ACTIVATIONS.get(str(name), name) for name in names]
    return {
        f"spectral.{size}": args.get("embedding_size", 2 if is_mask else 20),
        f"spectral.{head}_activation": activation,
    }


def _arguments(modules: Modules, name: str) -> dict[str, Any]:
    args = dict(modules[name].get("args") or {})
    supported = ARGUMENTS[modules[name]["class"]]
    for key in args:
        if key not in supported:
            raise ConfigError(
                unknown_key(f"{WHERE}.modules.{name}.args.{key}", supported)
            )
    return args


def _require(name: str, args: Mapping[str, Any], key: str, expected: object) -> None:
    if args.get(key, expected) != expected:
        raise ConfigError(
            f"{WHERE}.modules.{name}.args.{key} is {args[key]}; expected {expected}, "
            "as the transform and the other modules have it"
        )


def _foreign(problem: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{WHERE}: {problem}; expected {expected}, because a network that is nearly "
        "the same has no counterpart here"
    )
