"""Networks of cookiecutter-nussl's experiments: a stack with one head or two.

What nussl calls modules and connections is a graph; those of the experiments lead from
``log_spectrogram`` through a normalisation and a recurrent stack to an embedding, or to
masks that are laid on ``magnitude_spectrogram``. Any other graph is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.config import ConfigError, unknown_key

WHERE = "model_config"
INPUT, MAGNITUDE = "log_spectrogram", "magnitude_spectrogram"
THROUGH = ("MelProjection", "InstanceNorm", "BatchNorm")
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


def settings(config: Any, bins: int) -> dict[str, Any]:
    """Translate the graph of a network.

    Args:
        config: Section ``model_config`` of an experiment.
        bins: Bins of the transform of its data.

    Returns:
        Values by dotted key: the stack and the heads of ``spectral``.

    Raises:
        ConfigError: A module, an argument or a connection has no counterpart here.
    """
    modules, inputs = _parts(config)
    stacks = [n for n in inputs if modules[n].get("class") == "RecurrentStack"]
    if len(stacks) != 1:
        raise ConfigError(f"{WHERE} has {len(stacks)} RecurrentStack; expected one")
    norm = _check_way(stacks[0], modules, inputs)
    stack = _arguments(modules, stacks[0])
    _demand(stacks[0], stack, "num_features", bins)
    found = {f"spectral.recurrent.{STACK[k]}": stack[k] for k in STACK if k in stack}
    width = stack.get("hidden_size", 300) * (2 if stack.get("bidirectional") else 1)
    heads = [n for n in inputs if modules[n].get("class") == "Embedding"]
    masks = _masks(modules, inputs)
    for name in heads:
        if list(inputs[name]) != stacks:
            raise _foreign(f"{name} is fed with {list(inputs[name])}", stacks[0])
        args = _arguments(modules, name)
        _demand(name, args, "num_features", bins)
        _demand(name, args, "num_channels", 1)
        _demand(name, args, "hidden_size", width)
        found |= _head(args, is_mask=name in masks)
    if not heads:
        raise ConfigError(f"{WHERE} has no module of the class Embedding")
    return found | {"spectral.features.norm": norm}


def _parts(config: Any) -> tuple[Modules, Inputs]:
    """Take modules and connections, checked for their form."""
    known = ("class", "modules", "connections", "output")
    for key in config if isinstance(config, Mapping) else ():
        if key not in known:
            raise ConfigError(f"{WHERE}: {unknown_key(str(key), known)}")
    try:
        if config.get("class", "SeparationModel") != "SeparationModel":
            raise _foreign(f"the class is {config['class']}", "SeparationModel")
        modules = {str(name): dict(each) for name, each in config["modules"].items()}
        inputs = {str(name): list(each) for name, each in config["connections"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{WHERE} is no graph ({type(error).__name__}: {error}); expected modules "
            "by name and connections as pairs of a name and a list of names"
        ) from error
    for name in inputs:
        kind = modules.get(name, {}).get("class")
        if kind not in ARGUMENTS:
            raise _foreign(f"{name} is of the class {kind}", ", ".join(ARGUMENTS))
    return modules, inputs


def _check_way(name: str, modules: Modules, inputs: Inputs) -> str:
    """Follow a stack back to the input; tell the normalisation on the way."""
    norm = "none"
    while inputs[name] != [INPUT]:
        before = inputs[name]
        if len(before) != 1 or before[0] not in inputs:
            raise _foreign(f"{name} is fed with {before}", f"a way from {INPUT}")
        name = before[0]
        kind = modules[name]["class"]
        if kind not in THROUGH:
            raise _foreign(f"{name} of the class {kind} is on the way", f"{THROUGH}")
        args = _arguments(modules, name)
        if kind == "MelProjection":
            _demand(name, args, "num_mels", -1)
        elif kind == "BatchNorm":
            _demand(name, args, "use_batch_norm", False)
        elif args.get("use_instance_norm", True):
            norm = "instance"
    return norm


def _masks(modules: Modules, inputs: Inputs) -> set[str]:
    """Name the heads that are laid on the mixture."""
    found = set()
    for name, fed in inputs.items():
        if modules[name]["class"] != "Mask":
            continue
        if len(fed) != 2 or fed[1] != MAGNITUDE:
            raise _foreign(f"{name} is fed with {fed}", f"a head and {MAGNITUDE}")
        found.add(fed[0])
    return found


def _head(args: Mapping[str, Any], is_mask: bool) -> dict[str, Any]:
    size, kind = ("sources", "mask") if is_mask else ("embedding", "embedding")
    activation = [ACTIVATIONS.get(str(a), a) for a in args.get("activation", ())]
    return {
        f"spectral.{size}": args.get("embedding_size", 2 if is_mask else 20),
        f"spectral.{kind}_activation": activation,
    }


def _arguments(modules: Modules, name: str) -> dict[str, Any]:
    args = dict(modules[name].get("args") or {})
    known = ARGUMENTS[modules[name]["class"]]
    for key in args:
        if key not in known:
            raise ConfigError(unknown_key(f"{WHERE}.modules.{name}.args.{key}", known))
    return args


def _demand(name: str, args: Mapping[str, Any], key: str, wanted: Any) -> None:
    if args.get(key, wanted) != wanted:
        raise ConfigError(
            f"{WHERE}.modules.{name}.args.{key} is {args[key]}; expected {wanted}, as "
            "the transform and the other modules have it"
        )


def _foreign(found: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{WHERE}: {found}; expected {expected}, because a network that is nearly the "
        "same has no counterpart here"
    )
